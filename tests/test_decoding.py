"""Both decoders give the same bytes, and what only one of them can read is read all the same."""

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from plain_vs_residual.data import decoding
from plain_vs_residual.data.decoding import decode_image, decoder


def by_pillow(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def jpegs(folder: Path) -> list[Path]:
    """Write a photograph in several sizes, qualities and ways to store colours."""
    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    paths = []
    for size, quality, subsampling, progressive in product(
        ((500, 375), (333, 251), (31, 17)), (35, 75, 95), (0, 1, 2), (False, True)
    ):
        paths.append(folder / f"{size[0]}-{quality}-{subsampling}-{progressive}.jpg")
        photograph.resize(size).save(paths[-1], quality=quality, subsampling=subsampling, progressive=progressive)
    for mode in ("L", "CMYK"):
        paths.append(folder / f"{mode}.jpg")
        photograph.convert(mode).save(paths[-1])
    return paths


def test_simplejpeg_gives_pillows_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
    assert decoder().startswith("simplejpeg ")
    paths = jpegs(tmp_path)
    assert len(paths) == 56
    for path in paths:
        assert np.array_equal(np.asarray(decode_image(path)), by_pillow(path)), path.name
    monkeypatch.setattr(Image, "open", None)  # Pillow decodes none of the ordinary ones
    for path in paths[:-1]:
        decode_image(path)


def test_without_simplejpeg_pillow_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert decoder().startswith("Pillow ")
    for path in jpegs(tmp_path)[::9]:
        assert np.array_equal(np.asarray(decode_image(path)), by_pillow(path))


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.jpg"
    buffer = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: int(kept * buffer.tell())])
    with pytest.raises(ValueError, match=r"unreadable image .*cut\.jpg: .*; replace or delete it"):
        decode_image(path)


def test_an_error_without_words_is_named_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise AttributeError

    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(ValueError, match=r"unreadable image .*x\.png: Pillow cannot read it \(AttributeError\);"):
        decode_image(tmp_path / "x.png")
