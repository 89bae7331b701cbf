"""From the bytes of an image file to pixels: simplejpeg for JPEG where it is installed, else Pillow.

The two give the same bytes (tests/test_decoding.py), simplejpeg sooner: both call libjpeg-turbo.
"""

import importlib
import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from plain_vs_residual.data.listing import readable


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


simplejpeg = _installed("simplejpeg")
JPEG = b"\xff\xd8"
PHOTOMETRIC = 262  # the tag of TIFF that says whether 0 is black
SAMPLE_FORMAT, SIGNED = 339, 2  # the one that says what numbers the values are
ORIENTATION = 0x112  # of EXIF
EXIF = b"Exif\0\0"
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")  # Pillow's modes with transparency
# How files begin that are no images, in small letters, and what they are; and how some images begin.
NO_IMAGES = {
    b"version https://git-lfs": "a pointer of git LFS instead of the file",
    b"<!doctype html": "HTML",
    b"<html": "HTML",
    b"<?xml": "XML",
    b"<svg": "SVG",
    b"%pdf": "PDF",
    b"pk\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93numpy": "a NumPy array",
}
CUT_OFF = ("truncated", "broken", "not enough", "end of", "eof", "unrecognized data", "create decoder", "crc")
IMAGES = (JPEG, b"\x89png", b"gif8", b"bm", b"riff", b"ii*", b"mm\0*")


class UnreadableImage(ValueError):
    """An image file cannot be read.

    Attributes:
        what: what it is instead, or what is wrong with it; empty if the error names several files.
    """

    what = ""


def unreadable_image(path: Path, what: str) -> UnreadableImage:
    """Return the error that names one file."""
    error = UnreadableImage(f"unreadable image {readable(path)}: {what}; replace or delete it")
    error.what = what
    return error


class Original(NamedTuple):
    """What an image is in its file.

    Attributes:
        mode: Pillow's name for it, such as ``LA``.
        size: width and height in pixels.
        properties: of ``transparent``, ``12 bits``, ``16 bits``, ``several pictures`` and ``turned`` (EXIF says
            how a viewer turns it) those it has.
        largest: the largest value of a grey image of more than 8 bits; 0 for others.
        brightest: the largest of the upper 8 bits of an image of more; 255 for others.
    """

    mode: str
    size: tuple[int, int]
    properties: tuple[str, ...] = ()
    largest: int = 0
    brightest: int = 255


class Decoded(NamedTuple):
    """An image in RGB, 8 bits in each of three channels, and what it was in its file."""

    image: Image.Image
    original: Original


def decoder() -> str:
    """Name what decodes JPEG files here, for the record."""
    return f"simplejpeg {version('simplejpeg')}" if simplejpeg else f"Pillow {version('pillow')}"


def decode_image(path: Path) -> Image.Image:
    """Decode the image at ``path`` in RGB; see :func:`decode`."""
    return decode(path).image


def decode(path: Path) -> Decoded:
    """Decode the image at ``path`` in RGB.

    Transparency is dropped, as by torchvision: colours stay what they are below it. Of 16 bits the upper 8 are
    taken, as Pillow itself does with colours. Of several pictures in a file the first is taken.

    Raises:
        UnreadableImage: if it cannot be read, or has values that no 8 bits can stand for; names it.
    """
    content = b""
    try:
        content = path.read_bytes()
        decoded = _decode_jpeg(content) if simplejpeg and content.startswith(JPEG) else None
        return decoded or _by_pillow(content)
    except MemoryError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise unreadable_image(path, _what_is_wrong(content, error)) from None


def look_at(path: Path) -> Original:
    """Say what an image is in its file, without decoding it: all but its largest values."""
    with Image.open(path) as image:
        return Original(image.mode, image.size, _properties(image))


def _by_pillow(content: bytes) -> Decoded:
    image = Image.open(io.BytesIO(content))
    original = Original(image.mode, image.size, _properties(image))
    bits = next((int(name[:2]) for name in original.properties if name.endswith("bits")), 8)
    if image.mode.startswith("I") and bits > 8:
        values = np.asarray(image).astype(np.uint16)  # convert() would take all above 255 for white
        if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
            values = 2**bits - 1 - values  # white is 0, which Pillow heeds in 8 bits alone
        largest = int(values.max())
        upper = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
        original = original._replace(largest=largest, brightest=largest >> (bits - 8))
        return Decoded(upper.convert("RGB"), original)
    if image.mode in ("I", "F"):
        kind = "integers beyond 16 bits, or with a sign" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its mode is {image.mode} ({kind}), and nothing says which is white; convert it")
    if image.format == "TIFF" and SIGNED in np.atleast_1d(image.tag_v2.get(SAMPLE_FORMAT, 1)):  # type: ignore[attr-defined]
        raise ValueError(f"its mode is {image.mode} (with a sign), and nothing says which is white; convert it")
    image.load()
    image.info.pop("transparency", None)  # a palette's, of which Pillow would warn; the colours are the same
    colours = (image.convert("LA") if image.mode == "La" else image).convert("RGB")
    return Decoded(colours, original._replace(brightest=int(np.asarray(colours).max()) if bits > 8 else 255))


def _properties(image: ImageFile.ImageFile) -> tuple[str, ...]:
    """Say what of an opened image is lost in 8 bits of RGB; see :class:`Original`."""
    raw = str(image.tile[0][3]) if image.tile else ""  # how values are stored, such as RGB;16B
    of_12_bits = "I;12" in raw
    grey = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    found = {
        "transparent": image.mode in ALPHA or "transparency" in image.info,
        "12 bits": of_12_bits,
        "16 bits": not of_12_bits and (grey or bool(re.search(r";16(?![A-Z]?S)", raw))) and image.mode != "F",
        "several pictures": getattr(image, "n_frames", 1) > 1,
        "turned": "exif" in image.info and image.getexif().get(ORIENTATION, 1) != 1,
    }
    return tuple(name for name, present in found.items() if present)


def _decode_jpeg(content: bytes) -> Decoded | None:
    """Decode a JPEG file by simplejpeg; None if that is left to Pillow."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        # The two convert print colours (CMYK) differently; and Pillow refuses images that exhaust the memory.
        if colours in ("CMYK", "YCCK") or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        image = Image.fromarray(simplejpeg.decode_jpeg(content, colorspace="RGB"))
        properties = _properties(Image.open(io.BytesIO(content))) if EXIF in content[:65536] else ()
        return Decoded(image, Original("L" if colours == "Gray" else "RGB", image.size, properties))
    except ValueError:  # Pillow reads some that it does not read, and names the fault of the others
        return None


def _what_is_wrong(content: bytes, error: Exception) -> str:
    """Say what a file is that could not be read, in words that name no object of a program."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    head = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    reason = " ".join(str(error).split()) or type(error).__name__
    if not content:
        what = "it has zero bytes"
    elif no_image := next((what for start, what in NO_IMAGES.items() if head.startswith(start)), ""):
        what = f"it is {no_image}"
    elif reason.startswith("its mode is"):
        what = reason
    elif any(word in reason.lower() for word in CUT_OFF):
        what = f"it is cut off or damaged ({reason})"
    elif "cannot identify image file" not in reason:
        what = f"Pillow cannot read it ({reason})"
    elif head.startswith(IMAGES):
        what = "it is cut off or damaged near its beginning, or of a kind that Pillow does not read"
    else:
        what = "it is text" if head.isascii() and b"\0" not in head else "it is no image that Pillow reads"
    return what
