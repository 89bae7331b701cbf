"""Which images a folder holds, said before any is decoded: a run's name needs that. Imports no torch."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from plain_vs_residual.data.cifar_files import find_cifar, what_else
from plain_vs_residual.data.listing import MOST_NAMES, Listing, is_address, list_images, readable
from plain_vs_residual.recipe import Recipe

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR10_AS_JPEG = "CIFAR-10 (JPEG re-encoded)"
JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
# Runs on these files are recorded under a name without a fingerprint: results/reference/cifar10-short.
NAMED_BEFORE = {"9e12c6fe9fbb6cba": "cifar-10-jpeg-re-encoded"}


def images_variant(recipe: Recipe, path: Path | None) -> str:
    """Return what sets runs on the images in ``path`` apart from runs on the setting's own; empty for its own.

    The images decide, not the name of their folder: the same images are staged under one name today and under
    another tomorrow, and many folders are called ``images``.

    >>> from plain_vs_residual.settings import DIGITS
    >>> images_variant(DIGITS, None)
    ''

    Args:
        recipe: says which kind of images is its own.
        path: as given by ``--data``.

    Raises:
        ValueError: if the folder holds no images in classes.
    """
    if path is None or recipe.data == "imagenet" or find_cifar(path, recipe.data):
        return ""
    return variant_of(list_parts(path, recipe.data))


def variant_of(parts: Sequence[Listing], hashes: Sequence[Sequence[bytes]] | None = None) -> str:
    """Return what sets runs on listed images apart: what they are, as far as that is known, and a fingerprint.

    Args:
        parts: the images.
        hashes: of their content, where they are known already, see :func:`content_hashes`.
    """
    fingerprint = files_fingerprint(parts, hashes)
    kind = "cifar-10-jpeg-re-encoded" if is_jpeg_cifar10(parts[0]) else "images"
    return NAMED_BEFORE.get(fingerprint, f"{kind}-{fingerprint[:8]}")


def files_fingerprint(parts: Sequence[Listing], hashes: Sequence[Sequence[bytes]] | None = None) -> str:
    """Return a SHA-256 (first 16 digits) of classes, labels and the bytes of all files, in order; not of names."""
    digest = hashlib.sha256()
    for part, own in zip(parts, hashes or content_hashes(parts), strict=True):
        digest.update(repr((part.classes, part.labels)).encode())
        for one in own:
            digest.update(one)
    return digest.hexdigest()[:16]


def content_hashes(parts: Sequence[Listing]) -> list[list[bytes]]:
    """Return the SHA-256 of each file's bytes, part by part; empty of files that cannot be read."""
    return [[_content_hash(f"{part.folder}{os.sep}{name}") for name in part.names] for part in parts]


def copies(training: Listing, validation: Listing, hashes: Sequence[Sequence[bytes]]) -> str:
    """Say how many files are there twice with the same bytes, where that changes what a number means.

    Args:
        training: images.
        validation: images; one that was trained on tells nothing of others.
        hashes: of the content of both, see :func:`content_hashes`.
    """
    classes: defaultdict[bytes, set[int]] = defaultdict(set)
    for part, own in zip((training, validation), hashes, strict=True):
        for label, one in zip(part.labels, own, strict=True):
            classes[one].add(label)
    both = [one for own in hashes for one in own if one]
    seen = set(hashes[0]) - {b""}
    known = sum(one in seen for one in hashes[1])
    unclear = sum(len(classes[one]) > 1 for one in both)
    again = sum(len(named) - len(set(named)) for named in ([one for one in own if one] for own in hashes))
    said = (
        f"{known:,} of {len(validation.names):,} validation images are training images as well" if known else "",
        f"{unclear:,} of {len(both):,} are in several classes" if unclear else "",
        f"{again:,} are there once more in the same part" if again else "",
    )
    return f"copies, byte for byte: {', '.join(filter(None, said))}" if any(said) else ""


def _content_hash(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:  # whoever decodes the images names all that cannot be read
        return b""


def name_of(folder: Path, training: Listing) -> str:
    """Return the name of a folder's images for people: the folder's, but for JPEG copies of CIFAR-10."""
    return CIFAR10_AS_JPEG if is_jpeg_cifar10(training) else readable(folder.resolve().name) or "images"


def is_jpeg_cifar10(training: Listing) -> bool:
    """Say whether images are copies of CIFAR-10 with JPEG's losses, by classes and the first hundred files."""
    first = training.names[:100]
    return training.classes == CIFAR10_CLASSES and all(name.lower().endswith(JPEG_ENDINGS) for name in first)


def list_parts(folder: Path, kind: str) -> tuple[Listing, Listing]:
    """List the training and the validation images in ``train/`` and ``val/``, or else ``test/``.

    Args:
        folder: as given by ``--data``.
        kind: of the images that are wanted.

    Raises:
        ValueError: if a folder is missing or empty, or the classes of the two parts differ.
    """
    training, validation = map(list_images, part_folders(folder, kind))
    if training.classes != validation.classes:
        differing = sorted(set(training.classes) ^ set(validation.classes))
        raise ValueError(f"--data {readable(folder)}: classes in only one of train and validation: {differing}")
    return training, validation


def part_folders(folder: Path, kind: str) -> tuple[Path, Path]:
    """Return where training and validation images are: ``train/``, and ``val/`` or else ``test/``.

    Raises:
        ValueError: if one of them is missing; says so if CIFAR-10 or CIFAR-100 is there instead.
    """
    if not folder.is_dir():
        if is_address(folder):
            raise ValueError(f"--data {readable(folder)}: an address; download and unpack what is there first")
        if folder.exists():
            raise ValueError(f"--data {readable(folder)}: no folder; if it is an archive, unpack it first")
        raise ValueError(
            f"--data {readable(folder)}: no such folder; give one with train/ and val/ or test/ in it, "
            "each with one folder per class"
        )
    validation = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
    if not (folder / "train").is_dir() or validation is None:
        raise ValueError(
            f"--data {readable(folder)}: needs the folders train/ and val/ (or test/), one folder per class"
            f"{what_else(folder, kind) or _holds(folder)}"
        )
    return folder / "train", validation


def _holds(folder: Path) -> str:
    """Say what is in a folder instead, and in which folder directly below it the two parts are."""
    names = sorted(readable(path.name) for path in folder.iterdir() if not path.name.startswith("."))
    inner = next((path for path in sorted(folder.glob("*/train")) if path.is_dir()), None)
    if inner:
        return f"; they seem to be in {readable(inner.parent)}: --data {readable(inner.parent)}"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"; it holds {', '.join(names[:MOST_NAMES])}{more}" if names else "; it is empty"
