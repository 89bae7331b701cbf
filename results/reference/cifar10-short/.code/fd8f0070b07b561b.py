"""Images in memory or on disk, and the data sets that are made of them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import numpy as np
from torch import Tensor


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

    paths: Sequence[Path]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class PackedPaths(Sequence[Path]):
    """Paths below a folder, in one array of bytes: a million take tens of megabytes instead of hundreds.

    Processes that decode images inherit the array without copying it; each path as an object of its own would be
    copied as soon as it is counted.

    Args:
        folder: common to all.
        names: below it.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        self.names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self.folder / os.fsdecode(self.names[index])


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
        validation_name: what the validation images are called: ``test`` where they are the data set's test images.
        test: images that are looked at once, at the end, where validation images are held out of training.
    """

    name: str
    classes: tuple[str, ...]
    training: Images | ImageFiles
    validation: Images | ImageFiles
    variant: str = ""
    caveat: str = ""
    validation_name: Literal["validation", "test"] = "validation"
    test: Images | None = None

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.training.pixels.shape[-1] if isinstance(self.training, Images) else 3

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of classes, shapes, pixels and labels; of paths and sizes for files."""
        digest = hashlib.sha256(repr(self.classes).encode())
        parts = (self.training, self.validation, *((self.test,) if self.test else ()))
        for part in parts:
            if isinstance(part, Images):
                digest.update(repr(tuple(part.pixels.shape)).encode())
                digest.update(np.ascontiguousarray(part.pixels.numpy()).data)
            else:
                for path in part.paths:
                    digest.update(f"{path.parent.name}/{path.name}:{path.stat().st_size}\n".encode())
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()[:16]
