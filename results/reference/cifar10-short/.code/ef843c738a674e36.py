"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 4,000 images, kept beside this module with their licence."""

import hashlib
import io
from pathlib import Path

import numpy as np
import torch

from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.recipe import IMAGE_KINDS

ARCHIVE = Path(__file__).parent / "fashion_mnist" / "images.npz"
SHA256 = "d7574086825589f81a5d2a6cd60817035945302f53187de6c1e8bdbf8fc2f20a"
SIDE = 28
CLASSES = (
    *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def fashion(image_size: int) -> Dataset:
    """Load 3,000 training and 1,000 test images, balanced by class, made smaller by averaging.

    They are the first 300 and 100 of each class in the official training and test sets, in their order.

    Args:
        image_size: side in pixels: 28, 14, 7, 4, 2 or 1.

    Raises:
        ValueError: if the images cannot have that size, or the file is not the one that belongs there.
    """
    if image_size < 1 or SIDE % image_size:
        raise ValueError(f"image_size {image_size}: Fashion-MNIST is averaged down from 28 px, so it divides 28")
    content = ARCHIVE.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{ARCHIVE}: damaged, it does not match its SHA-256; restore it with git checkout")
    with np.load(io.BytesIO(content)) as arrays:
        training, test = (
            Images(
                torch.from_numpy(_averaged(arrays[f"{part}_images"], image_size)),
                torch.from_numpy(arrays[f"{part}_labels"]).long(),
            )
            for part in ("train", "test")
        )
    return Dataset(IMAGE_KINDS["fashion"].name, CLASSES, training, test, validation_name="test")


def _averaged(pixels: np.ndarray, side: int) -> np.ndarray:
    """Average uint8 images (N, 28, 28) over squares: uint8 (N, side, side, 1)."""
    square = SIDE // side
    means = pixels.reshape(-1, side, square, side, square).mean(axis=(2, 4))
    smaller: np.ndarray = means.round().astype(np.uint8)[..., None]
    return smaller
