"""What was changed of the images of a folder when they were read, counted, and said once."""

from collections import Counter
from collections.abc import Iterable, Sequence

from plain_vs_residual.data.batches import evenly_spaced
from plain_vs_residual.data.decoding import Original, look_at
from plain_vs_residual.data.images import ImageFiles

LOOKED_AT = 500  # files of each part whose beginnings are read where none is decoded
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")
DIM = 128  # whose colours have values below this in the upper 8 bits may hold fewer than 16


def conversions(originals: Sequence[Original], side: int | None = None) -> tuple[str, ...]:
    """Say what was changed in how many images; nothing of what was not.

    Args:
        originals: what the images are in their files.
        side: to which all are scaled whatever their proportions; None if they are not.
    """

    def among(changed: Iterable[Original]) -> str:
        modes = Counter(one.mode for one in changed)
        named = ", ".join(f"{number:,} {mode}" for mode, number in modes.most_common())
        return f"in {modes.total():,} of {len(originals):,} images ({named})"

    def having(name: str) -> list[Original]:
        return [one for one in originals if name in one.properties]

    said = []
    if transparent := having("transparent"):
        said.append(f"transparency was dropped {among(transparent)}")
    for bits in ("12 bits", "16 bits"):
        if deep := having(bits):
            most = max(one.largest for one in deep)
            largest = f"; the largest value in grey ones is {most:,} of {2 ** int(bits[:2]) - 1:,}" if most else ""
            said.append(f"of {bits}, the upper 8 were taken {among(deep)}{largest}{_darkness(deep)}")
    if several := having("several pictures"):
        said.append(f"of several pictures in a file, the first was taken {among(several)}")
    if grey := [one for one in originals if one.mode in GREY]:
        said.append(f"grey was made three equal channels {among(grey)}")
    if coloured := [one for one in originals if one.mode in OTHER_COLOURS]:
        said.append(f"colours were converted to RGB without their profile {among(coloured)}")
    if turned := having("turned"):
        said.append(f"the note on how to turn a picture (EXIF) was not followed {among(turned)}")
    if side and (others := [one.size for one in originals if one.size != (side, side)]):
        said.append(f"{len(others):,} of {len(originals):,} images were scaled to {side} px {_from(others)}")
    return tuple(said)


def conversions_of_files(parts: Iterable[ImageFiles]) -> tuple[str, ...]:
    """Say what will be changed in images that are decoded later, by a look at evenly spaced ones."""
    originals = []
    for files in parts:
        for number in evenly_spaced(len(files), LOOKED_AT).tolist():
            try:
                originals.append(look_at(files.paths[number]))
            except Exception:  # whoever decodes it will name it
                continue
    return conversions(originals)


def _darkness(deep: Sequence[Original]) -> str:
    """Say of images of more than 8 bits what looks as if they held fewer than their files are made for."""
    black = sum(one.brightest == 0 for one in deep)
    brightest = max((one.brightest for one in deep if not one.largest), default=255)
    dim = f"; the largest of these 8 in coloured ones is {brightest} of 255" if brightest < DIM else ""
    if black == len(deep):
        return f"{dim}, so that nothing but black is left"
    return dim + (f"; {black:,} of them came out black" if black else "")


def _from(sizes: Sequence[tuple[int, int]]) -> str:
    """Say from which sizes images were scaled, and whether their proportions changed."""
    smallest, largest = (f"{width}x{height}" for width, height in (min(sizes), max(sizes)))
    said = f"from {smallest}" if smallest == largest else f"from {smallest} to {largest}"
    squeezed = sum(width != height for width, height in sizes)
    return f"{said}; {squeezed:,} of them were not square" if squeezed else said
