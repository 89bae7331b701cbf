"""Images in folders, one per class: checked, listed, decoded."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from plain_vs_residual.data.decoding import decode_image
from plain_vs_residual.data.identity import (
    CIFAR10_AS_JPEG,
    class_names,
    files_of_class,
    images_variant,
    name_of,
    part_folders,
)
from plain_vs_residual.data.images import Dataset, ImageFiles, Images, PackedPaths
from plain_vs_residual.recipe import Recipe

PARTS = ("training", "validation")


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
    train, validation_folder = part_folders(folder)
    training, classes = _image_files(train)
    validation, validation_classes = _image_files(validation_folder)
    if classes != validation_classes:
        differing = sorted(set(classes) ^ set(validation_classes))
        raise ValueError(f"--data {folder}: classes in only one of train and validation: {differing}")
    name, caveat = name_of(folder), ""
    if name == CIFAR10_AS_JPEG:
        caveat = "JPEG copies of CIFAR-10 lose detail: error rates are not comparable with the original's"
    called: Literal["validation", "test"] = "test" if validation_folder.name == "test" else "validation"
    if not in_memory:
        return Dataset(name, classes, training, validation, caveat=caveat, validation_name=called)
    return Dataset(
        name,
        classes,
        _decode(training, setting.image_size) if "training" in decoded else training,
        _decode(validation, setting.image_size) if "validation" in decoded else validation,
        variant=images_variant(setting, folder),
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
    classes = class_names(folder)
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = list(files_of_class(folder / name))
        names += [str(path.relative_to(folder)) for path in found]
        labels += [label] * len(found)
    return ImageFiles(PackedPaths(folder, names), torch.tensor(labels)), classes
