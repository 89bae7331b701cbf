"""Images in memory or on disk, and the data sets that are made of them."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, overload

import numpy as np
from torch import Tensor

from plain_vs_residual.data.batches import evenly_spaced

MOST_READ = 1000  # files whose content is part of a fingerprint


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
        remarks: what loading left out or changed, a line each, for the person who started it.
    """

    name: str
    classes: tuple[str, ...]
    training: Images | ImageFiles
    validation: Images | ImageFiles
    variant: str = ""
    caveat: str = ""
    validation_name: Literal["validation", "test"] = "validation"
    test: Images | None = None
    remarks: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.training.pixels.shape[-1] if isinstance(self.training, Images) else 3

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of classes, shapes, pixels and labels.

        Of files: of names and sizes, and of the content of a thousand evenly spaced ones.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        parts = (self.training, self.validation, *((self.test,) if self.test else ()))
        for part in parts:
            if isinstance(part, Images):
                digest.update(repr(tuple(part.pixels.shape)).encode())
                digest.update(np.ascontiguousarray(part.pixels.numpy()).data)
            else:
                for known in _known_of_files(part.paths):
                    digest.update(known)
            digest.update(part.labels.numpy().tobytes())
        return digest.hexdigest()[:16]


def _known_of_files(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield what is known of files without reading all of them; names alike in all Unicode forms."""
    for path in paths:
        folder, name = os.path.split(path)
        shown = f"{os.path.basename(folder)}/{name}"
        shown = shown if shown.isascii() else unicodedata.normalize("NFC", shown)
        yield os.fsencode(f"{shown}:{os.stat(path).st_size}\n")
    for number in evenly_spaced(len(paths), MOST_READ).tolist():
        yield hashlib.sha256(paths[number].read_bytes()).digest()
