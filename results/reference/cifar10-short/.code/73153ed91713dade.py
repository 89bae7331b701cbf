"""From the bytes of an image file to pixels: simplejpeg for JPEG where it is installed, else Pillow.

The two give the same bytes (tests/test_decoding.py), simplejpeg sooner: both call libjpeg-turbo.
"""

import importlib
import io
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


simplejpeg = _installed("simplejpeg")
JPEG = b"\xff\xd8"


def decoder() -> str:
    """Name what decodes JPEG files here, for the record."""
    return f"simplejpeg {version('simplejpeg')}" if simplejpeg else f"Pillow {version('pillow')}"


def decode_image(path: Path) -> Image.Image:
    """Decode the image at ``path`` in RGB.

    Raises:
        ValueError: if it cannot be read; names it.
    """
    try:
        content = path.read_bytes()
        image = _decode_jpeg(content) if simplejpeg and content.startswith(JPEG) else None
        return image or Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"unreadable image {path}: {reason}; replace or delete it") from error


def _decode_jpeg(content: bytes) -> Image.Image | None:
    """Decode a JPEG file by simplejpeg; None if that is left to Pillow."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        # The two convert print colours (CMYK) differently; and Pillow refuses images that exhaust the memory.
        if colours in ("CMYK", "YCCK") or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        return Image.fromarray(simplejpeg.decode_jpeg(content, colorspace="RGB"))
    except ValueError:  # Pillow reads some that it does not read, and names the fault of the others
        return None
