"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): found or downloaded, checked, and read as they are."""

import hashlib
import pickle
import tarfile
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from plain_vs_residual.data.cifar_files import CIFAR_FILES, find_cifar
from plain_vs_residual.data.identity import CIFAR10_CLASSES
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.listing import readable
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.records.files import ROOT

DEFAULT_FOLDER = ROOT / "data"
# What the batches and the file with the classes' names call the labels of each kind.
LABELS = {"cifar10": "labels", "cifar100": "fine_labels", "cifar100-coarse": "coarse_labels"}
NAMES = {"cifar100": "fine_label_names", "cifar100-coarse": "coarse_label_names"}


class Published(NamedTuple):
    """What the authors published, as torchvision knows it: names and MD5 sums of the files."""

    url: str
    archive: str
    archive_md5: str
    training: Sequence[tuple[str, str]]
    test: Sequence[tuple[str, str]]
    meta: tuple[str, str]


def cifar10(image_size: int) -> Dataset:
    """Load CIFAR-10 where no ``--data`` is given; it has one size. This and the next are loaders in recipe.py."""
    return cifar("cifar10", DEFAULT_FOLDER, download=True)


def cifar100(image_size: int) -> Dataset:
    """Load CIFAR-100 with its fine labels, likewise."""
    return cifar("cifar100", DEFAULT_FOLDER, download=True)


def cifar100_coarse(image_size: int) -> Dataset:
    """Load CIFAR-100 with its coarse labels, likewise."""
    return cifar("cifar100-coarse", DEFAULT_FOLDER, download=True)


def cifar(kind: str, path: Path, *, download: bool = False) -> Dataset:
    """Load CIFAR-10, or CIFAR-100 with its 100 fine or 20 coarse labels.

    Args:
        kind: ``cifar10``, ``cifar100`` or ``cifar100-coarse``.
        path: the folder of its batches, its archive, or a folder above one of them.
        download: whether its archive is downloaded to ``path`` if it is not there.

    Raises:
        ValueError: if a file is missing, or not the one that was published; says which.
        FileNotFoundError: if it cannot be downloaded.
    """
    published, found = _published(kind), find_cifar(path, kind)
    # An archive under its own name may be what an interrupted download left.
    if found is None or (download and found.name == published.archive):
        found = _downloaded(CIFAR_FILES[kind].name, published, path)
    wanted = dict([*published.training, *published.test, *([published.meta] if kind in NAMES else [])])
    try:
        contents = _read(found, published, wanted)
        _check(contents, wanted)
    except (ValueError, tarfile.TarError) as error:
        raise ValueError(f"{CIFAR_FILES[kind].name} is not in {readable(found)}: {error}") from None
    entries = {name: _unpickled(content) for name, content in contents.items()}
    classes = tuple(entries[published.meta[0]][NAMES[kind]]) if kind in NAMES else CIFAR10_CLASSES
    training, test = (
        _images([entries[name] for name, _ in part], LABELS[kind]) for part in (published.training, published.test)
    )
    return Dataset(IMAGE_KINDS[kind].name, classes, training, test, validation_name="test")


def _published(kind: str) -> Published:
    from plain_vs_residual.data.torchvision_import import torchvision

    known = torchvision.datasets.CIFAR10 if kind == "cifar10" else torchvision.datasets.CIFAR100
    meta = (known.meta["filename"], known.meta["md5"])
    return Published(known.url, known.filename, known.tgz_md5, known.train_list, known.test_list, meta)


def _read(found: Path, published: Published, names: Collection[str]) -> dict[str, bytes]:
    """Read those of the files that are there; another archive is not opened, and none is unpacked."""
    if found.is_dir():
        return {name: (found / name).read_bytes() for name in names if (found / name).is_file()}
    with found.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    # Of an archive that was unzipped no sum is published, only those of the files in it.
    if md5 != published.archive_md5 and found.suffix != ".tar":
        raise ValueError(
            f"it is corrupted or another file, with md5 {md5} where {published.archive} has "
            f"{published.archive_md5}; replace it, or unpack it if it holds images of your own"
        )
    contents = {}
    with tarfile.open(found) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in names and (inside := archive.extractfile(member)):
                contents[name] = inside.read()
    return contents


def _check(contents: Mapping[str, bytes], wanted: Mapping[str, str]) -> None:
    """Compare files with their MD5 sums: nothing else is unpickled."""
    found = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [
        f"{name} has md5 {found[name]}, not {md5}" for name, md5 in wanted.items() if found.get(name, md5) != md5
    ]
    if faults:
        raise ValueError(f"{'; '.join(faults)}; replace what is wrong")


def _unpickled(content: bytes) -> Any:
    with warnings.catch_warnings():
        # The batches were pickled by an old numpy, which newer ones warn about.
        warnings.filterwarnings("ignore", message=".*align should be passed")
        return pickle.loads(content, encoding="latin1")


def _images(entries: Sequence[Any], labels: str) -> Images:
    """Join batches, whose pixels are rows of 3 x 32 x 32 bytes."""
    rows = np.concatenate([entry["data"] for entry in entries])
    pixels = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Images(torch.from_numpy(pixels), torch.tensor([one for entry in entries for one in entry[labels]]))


def _downloaded(name: str, published: Published, folder: Path) -> Path:
    """Download an archive, if it is not there whole; a file with another MD5 is not kept."""
    from plain_vs_residual.data.torchvision_import import torchvision

    try:
        torchvision.datasets.utils.download_url(published.url, folder, published.archive, published.archive_md5)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"{name} is not in {folder} and could not be downloaded ({reason}); put "
            f"{published.archive} (md5 {published.archive_md5}) there, or give --data FOLDER, "
            "or train without it: bash run_all.sh --setting digits"
        ) from error
    return folder / published.archive
