"""Images in folders, one per class: checked, listed, decoded."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from plain_vs_residual.data.batches import evenly_spaced
from plain_vs_residual.data.conversions import conversions, conversions_of_files
from plain_vs_residual.data.decoding import Original, UnreadableImage, decode, unreadable_image
from plain_vs_residual.data.identity import (
    CIFAR10_AS_JPEG,
    content_hashes,
    copies,
    list_parts,
    name_of,
    variant_of,
)
from plain_vs_residual.data.images import Dataset, ImageFiles, Images, PackedPaths
from plain_vs_residual.data.listing import Listing, what_was_left_out
from plain_vs_residual.data.unreadable import unreadable_among, unreadable_images
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
            parts differ, or if images cannot be read: names all that cannot.
    """
    listings = list_parts(folder, setting.data)
    name, remarks = name_of(folder, listings[0]), [what_was_left_out(listings), _second_part(folder, listings[1])]
    hashes = content_hashes(listings) if in_memory else None
    remarks.append(copies(*listings, hashes) if hashes else _same_folder(*listings))
    files = {part: _files(listing) for part, listing in zip(PARTS, listings, strict=True)}
    parts: dict[str, Images | ImageFiles] = {**files}
    if in_memory:
        wanted = [part for part in PARTS if part in decoded]
        images, originals = _decode([files[part] for part in wanted], setting.image_size)
        parts |= zip(wanted, images, strict=True)
        remarks += conversions(originals, setting.image_size)
    else:
        remarks += conversions_of_files(files.values())
    caveat = "JPEG copies of CIFAR-10 lose detail: error rates are not comparable with the original's"
    called: Literal["validation", "test"] = "test" if listings[1].folder.name == "test" else "validation"
    return Dataset(
        name,
        listings[0].classes,
        parts["training"],
        parts["validation"],
        variant=variant_of(listings, hashes) if in_memory else "",
        caveat=caveat if name == CIFAR10_AS_JPEG else "",
        validation_name=called,
        remarks=tuple(filter(None, remarks)),
    )


def sample_files(files: ImageFiles, most: int) -> tuple[int, list[str]]:
    """Decode evenly spaced files for a trial, several at once.

    Returns:
        How many were decoded or tried, and what is wrong with those that cannot be.
    """
    numbers = evenly_spaced(len(files), most).tolist()
    tried, faults = unreadable_among(files.paths, numbers, seconds=float("inf"))
    return tried, [str(unreadable_image(path, what)) for path, what in faults.items()]


def _decode(parts: list[ImageFiles], side: int) -> tuple[list[Images], list[Original]]:
    """Decode and scale all images; return them, and what they are in their files."""

    def pixels(path: Path) -> tuple[np.ndarray, Original] | UnreadableImage:
        try:
            image, original = decode(path)
        except UnreadableImage as error:
            return error
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(image), original

    images, originals, faults = [], list[Original](), dict[Path, str]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for files in parts:
            arrays = []
            for path, read in zip(files.paths, pool.map(pixels, files.paths), strict=True):
                if isinstance(read, UnreadableImage):
                    faults[path] = read.what
                else:
                    arrays.append(read[0])
                    originals.append(read[1])
            if not faults:
                images.append(Images(torch.from_numpy(np.stack(arrays)), files.labels))
    if faults:
        raise unreadable_images(faults)
    return images, originals


def _second_part(folder: Path, validation: Listing) -> str:
    """Say which images are validated on where there are two such folders."""
    two = validation.folder.name == "val" and (folder / "test").is_dir()
    return "validation images are those in val/; those in test/ are not looked at" if two else ""


def _same_folder(training: Listing, validation: Listing) -> str:
    """Say that both parts are one folder, by a link."""
    same = os.path.samefile(training.folder, validation.folder)
    return "training and validation images are the same folder, by a link" if same else ""


def _files(listing: Listing) -> ImageFiles:
    return ImageFiles(PackedPaths(listing.folder, listing.names), torch.tensor(listing.labels))
