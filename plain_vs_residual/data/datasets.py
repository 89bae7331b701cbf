"""Data sets: the digits that scikit-learn ships, CIFAR-10, any folder of images."""

import hashlib
import os
import re
import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from sklearn.model_selection import train_test_split
from torch import Tensor

from plain_vs_residual.settings import Setting

DEFAULT_FOLDER = Path(__file__).parent.parent.parent / "data"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True)
class Images:
    """Images in memory: ``pixels`` uint8 (N, H, W, C), ``labels`` int64 (N)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageFiles:
    """Images on disk, decoded when they are needed: ``paths`` and ``labels`` int64 (N)."""

    paths: tuple[Path, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A training and a validation set with the name that every record and figure carries.

    Attributes:
        name: such as ``CIFAR-10 (JPEG re-encoded)``.
        classes: names of the classes, in the order of the labels.
        training: what is trained on.
        validation: what is evaluated on beside it.
        variant: sets the runs apart where this is not the setting's own data set.
        caveat: what a reader must know about it.
        test: images that are looked at once, at the end, where validation images are held out of training.
    """

    name: str
    classes: tuple[str, ...]
    training: Images | ImageFiles
    validation: Images | ImageFiles
    variant: str = ""
    caveat: str = ""
    test: Images | None = None

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.training.pixels.shape[-1] if isinstance(self.training, Images) else 3

    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of all pixels and labels; of paths and sizes for images on disk."""
        digest = hashlib.sha256()
        parts = (self.training, self.validation, *((self.test,) if self.test else ()))
        for part in parts:
            if isinstance(part, Images):
                digest.update(np.ascontiguousarray(part.pixels.numpy()).data)
            else:
                for path in part.paths:
                    digest.update(f"{path.parent.name}/{path.name}:{path.stat().st_size}\n".encode())
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()[:16]


def load_dataset(setting: Setting, path: Path | None = None) -> Dataset:
    """The images of a setting.

    Args:
        setting: says which data, how large, and how it is split.
        path: other images of the setting's kind: a folder with CIFAR-10's original batches or archive, or
            a folder with ``train/`` and ``val/`` or ``test/`` that hold one folder a class.

    Raises:
        ValueError: if ``path`` does not hold such images; says what is wrong with which file.
        FileNotFoundError: if CIFAR-10 is neither here nor to be downloaded.
    """
    if setting.data == "imagenet":
        if path is None:
            raise ValueError("setting imagenet: no images; give --data FOLDER with train/ and val/ in it")
        dataset = image_folder(path, setting, in_memory=False)
    elif setting.data == "cifar10" and (path is None or _has_cifar10(path)):
        dataset = cifar10(path or DEFAULT_FOLDER)
    elif path is not None:
        dataset = image_folder(path, setting, in_memory=True)
    else:
        dataset = digits(setting.image_size)
    return dataset


def digits(image_size: int) -> Dataset:
    """The 1,797 8x8 digits of scikit-learn (Alpaydin & Kaynak, 1998), enlarged; 1,437 train, 360 validate."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    enlarged = [
        np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.BILINEAR))
        for image in (bunch.images * (255 / 16)).round().astype(np.uint8)
    ]
    images = Images(torch.from_numpy(np.stack(enlarged)[..., None]), torch.from_numpy(bunch.target).long())
    training, validation = _stratified(images, 360)
    return Dataset("digits (scikit-learn)", tuple("0123456789"), training, validation)


def cifar10(folder: Path) -> Dataset:
    """CIFAR-10 (Krizhevsky, 2009) from its original batches, downloaded by torchvision if they are not there.

    Raises:
        FileNotFoundError: if the batches are not there and cannot be downloaded.
    """
    from plain_vs_residual.torchvision_import import torchvision

    root = folder.parent if folder.name == "cifar-10-batches-py" else folder
    parts = []
    try:
        # Each batch file is checked against its md5 before it is unpickled.
        torchvision.datasets.CIFAR10(root, download=False)
    except RuntimeError:
        _unpack_cifar10(root)
    for train in (True, False):
        with warnings.catch_warnings():
            # The batches were pickled by an old numpy, which newer ones remark upon.
            warnings.filterwarnings("ignore", message=".*align should be passed")
            part = torchvision.datasets.CIFAR10(root, train=train, download=False)
        parts.append(Images(torch.from_numpy(part.data), torch.tensor(part.targets)))
    training, validation = parts
    return Dataset("CIFAR-10", CIFAR10_CLASSES, training, validation)


def _unpack_cifar10(folder: Path) -> None:
    """Unpacks the archive, downloaded if it is not there; what is not its md5 is neither opened nor kept."""
    from plain_vs_residual.torchvision_import import torchvision

    try:
        # Looks at the md5 of a file that is there already, and again after a download.
        torchvision.datasets.utils.download_url(
            torchvision.datasets.CIFAR10.url, folder, CIFAR10_ARCHIVE, CIFAR10_MD5
        )
        with tarfile.open(folder / CIFAR10_ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise FileNotFoundError(
            f"CIFAR-10 is not in {folder} and could not be downloaded ({_one_line(error)}); put "
            f"{CIFAR10_ARCHIVE} (md5 {CIFAR10_MD5}) there, or give --data FOLDER, "
            "or train without it: bash run_all.sh --setting digits"
        ) from error


def image_folder(folder: Path, setting: Setting, *, in_memory: bool) -> Dataset:
    """Images in ``folder/train/<class>/`` and ``folder/val/<class>/`` (or ``test/``).

    Raises:
        ValueError: if a folder is missing or empty, if there is only one class, if the classes of the two
            parts differ, or if an image cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(
            f"--data {folder}: no such folder; give one with train/ and val/ or test/ in it, "
            "each with one folder a class"
        )
    validation_folder = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if not (folder / "train").is_dir() or validation_folder is None:
        raise ValueError(f"--data {folder}: needs the folders train/ and val/ (or test/), one folder a class")
    training, classes = _image_files(folder / "train")
    validation, validation_classes = _image_files(validation_folder)
    if classes != validation_classes:
        differing = sorted(set(classes) ^ set(validation_classes))
        raise ValueError(f"--data {folder}: classes in only one of train and validation: {differing}")
    name, caveat = folder.resolve().name, ""
    jpeg = all(path.suffix.lower() in (".jpg", ".jpeg") for path in training.paths[:100])
    if classes == CIFAR10_CLASSES and jpeg:
        name = "CIFAR-10 (JPEG re-encoded)"
        caveat = "JPEG copies of CIFAR-10 lose detail: error rates are not comparable with the original's"
    if not in_memory:
        return Dataset(name, classes, training, validation, caveat=caveat)
    size = setting.image_size
    return Dataset(name, classes, _decode(training, size), _decode(validation, size), _slug(name), caveat)


def decode_image(path: Path) -> Image.Image:
    """The image at ``path`` in RGB.

    Raises:
        ValueError: if it cannot be read; names it.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"unreadable image {path}: {_one_line(error)}; replace or delete it") from error


def _decode(files: ImageFiles, image_size: int) -> Images:
    def pixels(path: Path) -> np.ndarray:
        image = decode_image(path)
        if image.size != (image_size, image_size):
            image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
        return np.asarray(image)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = np.stack(list(pool.map(pixels, files.paths, chunksize=256)))
    return Images(torch.from_numpy(decoded), files.labels)


def _image_files(folder: Path) -> tuple[ImageFiles, tuple[str, ...]]:
    classes = tuple(sorted(child.name for child in folder.iterdir() if child.is_dir()))
    if len(classes) < 2:
        raise ValueError(f"--data: {folder} holds {len(classes)} class folders; at least 2 are needed")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"--data: {folder / name} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        paths += found
        labels += [label] * len(found)
    return ImageFiles(tuple(paths), torch.tensor(labels)), classes


def split(dataset: Dataset, how: str) -> Dataset:
    """The data set as ``test`` leaves it, or with a tenth of the training images held out (``45k/5k``).

    Raises:
        ValueError: if images on disk are to be split.
    """
    if how == "test":
        return dataset
    if not isinstance(dataset.training, Images):
        raise ValueError("--split 45k/5k: only for images held in memory (cifar10, digits)")
    training, validation = _stratified(dataset.training, len(dataset.training) // 10)
    test = dataset.validation if isinstance(dataset.validation, Images) else None
    return replace(dataset, training=training, validation=validation, test=test)


def _stratified(images: Images, num_validation: int) -> tuple[Images, Images]:
    kept, held_out = train_test_split(
        np.arange(len(images)), test_size=num_validation, random_state=0, stratify=images.labels.numpy()
    )
    kept, held_out = np.sort(kept), np.sort(held_out)
    return tuple(Images(images.pixels[part], images.labels[part]) for part in (kept, held_out))  # type: ignore[return-value]


def _has_cifar10(path: Path) -> bool:
    names = (CIFAR10_ARCHIVE, "cifar-10-batches-py", "data_batch_1")
    return any((path / name).exists() for name in names)


def _slug(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "images"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
