"""Which images a folder holds, said before any is read: a run's name needs that. Imports no torch."""

import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from plain_vs_residual.recipe import Recipe

CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR10_AS_JPEG = "CIFAR-10 (JPEG re-encoded)"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


def images_variant(recipe: Recipe, path: Path | None) -> str:
    """Return what sets runs on the images in ``path`` apart from runs on the setting's own; empty for its own.

    >>> from plain_vs_residual.settings import DIGITS
    >>> images_variant(DIGITS, None)
    ''

    Args:
        recipe: says which kind of images is its own.
        path: as given by ``--data``.

    Raises:
        ValueError: if the folder holds no images in classes.
    """
    if path is None or recipe.data == "imagenet" or (recipe.data == "cifar10" and has_cifar10(path)):
        return ""
    return "-".join(re.findall(r"[a-z0-9]+", name_of(path).lower())) or "images"


def has_cifar10(path: Path) -> bool:
    """Say whether a folder holds CIFAR-10's archive or its batches."""
    names = (CIFAR10_ARCHIVE, "cifar-10-batches-py", "data_batch_1")
    return any((path / name).exists() for name in names)


def name_of(folder: Path) -> str:
    """Return the name of the images in a folder: the folder's, but for copies of CIFAR-10 with JPEG's losses.

    Raises:
        ValueError: if the folder holds no images in classes.
    """
    training, _ = part_folders(folder)
    classes = class_names(training)
    if classes == CIFAR10_CLASSES:
        first = islice(chain.from_iterable(files_of_class(training / name) for name in classes), 100)
        if all(path.suffix.lower() in (".jpg", ".jpeg") for path in first):
            return CIFAR10_AS_JPEG
    return folder.resolve().name


def part_folders(folder: Path) -> tuple[Path, Path]:
    """Return where training and validation images are: ``train/``, and ``val/`` or else ``test/``.

    Raises:
        ValueError: if one of them is missing.
    """
    if not folder.is_dir():
        raise ValueError(
            f"--data {folder}: no such folder; give one with train/ and val/ or test/ in it, "
            "each with one folder per class"
        )
    validation = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if not (folder / "train").is_dir() or validation is None:
        raise ValueError(f"--data {folder}: needs the folders train/ and val/ (or test/), one folder per class")
    return folder / "train", validation


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes of a part, sorted: those of the folders in it.

    Raises:
        ValueError: if there are fewer than two.
    """
    classes = tuple(sorted(child.name for child in folder.iterdir() if child.is_dir()))
    if len(classes) < 2:
        raise ValueError(f"--data: {folder} holds {len(classes)} class folders; at least 2 are needed")
    return classes


def files_of_class(folder: Path) -> Iterator[Path]:
    """Yield the image files of a class, sorted.

    Raises:
        ValueError: if there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ValueError(f"--data: {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    yield from found
