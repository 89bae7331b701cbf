"""CIFAR-10 (Krizhevsky, 2009): found, or downloaded, checked and unpacked."""

import tarfile
import warnings
from pathlib import Path

import torch

from plain_vs_residual.data.identity import CIFAR10_ARCHIVE, CIFAR10_CLASSES
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.records.files import ROOT

DEFAULT_FOLDER = ROOT / "data"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"


def cifar10_here(image_size: int) -> Dataset:
    """Load CIFAR-10 from the repository's folder ``data/``; it has one size."""
    return cifar10(DEFAULT_FOLDER)


def cifar10(folder: Path) -> Dataset:
    """Load CIFAR-10 from its original batches, downloaded by torchvision if they are not there.

    Raises:
        FileNotFoundError: if the batches are not there and cannot be downloaded.
    """
    from plain_vs_residual.data.torchvision_import import torchvision

    root = folder.parent if folder.name == "cifar-10-batches-py" else folder
    parts = []
    try:
        # Each batch file is checked against its md5 before it is unpickled.
        torchvision.datasets.CIFAR10(root, download=False)
    except RuntimeError:
        _unpack_cifar10(root)
    for train in (True, False):
        with warnings.catch_warnings():
            # The batches were pickled by an old numpy, which newer ones warn about.
            warnings.filterwarnings("ignore", message=".*align should be passed")
            part = torchvision.datasets.CIFAR10(root, train=train, download=False)
        parts.append(Images(torch.from_numpy(part.data), torch.tensor(part.targets)))
    training, validation = parts
    return Dataset(IMAGE_KINDS["cifar10"].name, CIFAR10_CLASSES, training, validation, validation_name="test")


def _unpack_cifar10(folder: Path) -> None:
    """Unpack the archive, downloaded if it is not there; a file with another md5 is neither opened nor kept."""
    from plain_vs_residual.data.torchvision_import import torchvision

    try:
        # torchvision looks at the md5 of a file that is there already, and again after a download.
        torchvision.datasets.utils.download_url(
            torchvision.datasets.CIFAR10.url, folder, CIFAR10_ARCHIVE, CIFAR10_MD5
        )
        with tarfile.open(folder / CIFAR10_ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, RuntimeError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"CIFAR-10 is not in {folder} and could not be downloaded ({reason}); put "
            f"{CIFAR10_ARCHIVE} (md5 {CIFAR10_MD5}) there, or give --data FOLDER, "
            "or train without it: bash run_all.sh --setting digits"
        ) from error
