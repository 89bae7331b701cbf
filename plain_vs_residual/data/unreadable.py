"""Image files that cannot be read: all of them at once, each with what it is."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plain_vs_residual.data.decoding import UnreadableImage, decode_image, unreadable_image
from plain_vs_residual.data.listing import readable

SECONDS = 60.0  # that a search for more unreadable files takes at most, once one has stopped a run


def unreadable_among(paths: Sequence[Path], numbers: Iterable[int], seconds: float) -> tuple[int, dict[Path, str]]:
    """Decode files for a trial, several at once.

    Args:
        paths: of image files.
        numbers: of those to decode, in order.
        seconds: after which no more are begun.

    Returns:
        How many were decoded or tried, and what is wrong with those that cannot be.
    """
    stop = time.monotonic() + seconds

    def fault(number: int) -> tuple[Path, str] | None:
        if time.monotonic() > stop:
            return None
        try:
            decode_image(paths[number])
        except UnreadableImage as error:
            return paths[number], error.what
        return paths[number], ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = [found for found in pool.map(fault, numbers) if found]
    return len(tried), {path: what for path, what in tried if what}


def unreadable_images(faults: Mapping[Path, str]) -> UnreadableImage:
    """Return the error that names several files, those of one kind together."""
    if len(faults) == 1:
        return unreadable_image(*next(iter(faults.items())))
    folder = os.path.commonpath([path.parent for path in faults])
    kinds = defaultdict(list)
    for path, what in faults.items():
        kinds[what].append(readable(path.relative_to(folder)))
    said = "; ".join(f"{', '.join(names)}: {what}" for what, names in kinds.items())
    return UnreadableImage(
        f"{len(faults):,} unreadable images in {readable(folder)}: {said}; replace or delete them"
    )


def look_for_others(parts: Sequence[Sequence[Path]], met: UnreadableImage) -> UnreadableImage:
    """Return an error that names all unreadable files, where the first that was met stops a run."""
    tried, faults = 0, dict[Path, str]()
    stop = time.monotonic() + SECONDS
    for paths in parts:
        more, found = unreadable_among(paths, range(len(paths)), stop - time.monotonic())
        tried, faults = tried + more, faults | found
    if not faults:
        return met
    everything = sum(map(len, parts))
    seen = "" if tried == everything else f"; {tried:,} of {everything:,} files were looked at"
    return UnreadableImage(f"{unreadable_images(faults)}{seen}")
