"""Images in folders, one per class: checked, listed, decoded."""

import os
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from plain_vs_residual.data.cifar10 import CIFAR10_CLASSES
from plain_vs_residual.data.decoding import decode_image
from plain_vs_residual.data.images import Dataset, ImageFiles, Images, PackedPaths
from plain_vs_residual.recipe import Recipe

PARTS = ("training", "validation")
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


def image_folder(folder: Path, setting: Recipe, *, in_memory: bool, decoded: Collection[str] = PARTS) -> Dataset:
    """List or decode the images in ``folder/train/<class>/`` and ``folder/val/<class>/`` (or ``test/``).

    Args:
        folder: where they are.
        setting: gives the size to which they are scaled in memory.
        in_memory: whether they are decoded; else they are listed as files.
        decoded: the parts that are needed in memory; the other is listed.

    Raises:
        ValueError: if a folder is missing or empty, if there is only one class, if the classes of the two
            parts differ, or if an image cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(
            f"--data {folder}: no such folder; give one with train/ and val/ or test/ in it, "
            "each with one folder per class"
        )
    validation_folder = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if not (folder / "train").is_dir() or validation_folder is None:
        raise ValueError(f"--data {folder}: needs the folders train/ and val/ (or test/), one folder per class")
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
    called: Literal["validation", "test"] = "test" if validation_folder.name == "test" else "validation"
    if not in_memory:
        return Dataset(name, classes, training, validation, caveat=caveat, validation_name=called)
    return Dataset(
        name,
        classes,
        _decode(training, setting.image_size) if "training" in decoded else training,
        _decode(validation, setting.image_size) if "validation" in decoded else validation,
        variant=_slug(name),
        caveat=caveat,
        validation_name=called,
    )


def sample_files(files: ImageFiles, most: int) -> tuple[int, list[str]]:
    """Decode evenly spaced files for a trial, several at once.

    Returns:
        How many were decoded or tried, and what is wrong with those that cannot be.
    """
    num = min(most, len(files))

    def fault(number: int) -> str:
        try:
            decode_image(files.paths[len(files) * number // num])
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return num, list(filter(None, pool.map(fault, range(num))))


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
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"--data: {folder / name} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        names += [str(path.relative_to(folder)) for path in found]
        labels += [label] * len(found)
    return ImageFiles(PackedPaths(folder, names), torch.tensor(labels)), classes


def _slug(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "images"
