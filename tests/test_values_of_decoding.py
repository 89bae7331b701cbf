"""What is noted of an image of 16 bits while it is decoded: its largest value, whole and as 8 bits keep it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from plain_vs_residual.data.conversions import conversions_of_files
from plain_vs_residual.data.decoding import decode
from plain_vs_residual.data.images import ImageFiles


def test_the_largest_of_16_bits_is_noted_whole_and_as_it_is_kept(tmp_path: Path) -> None:
    values = np.full((4, 5), 300, dtype=np.uint16)
    values[1, 2], values[3, 4] = 40_000, 7
    Image.fromarray(values).save(tmp_path / "grey.png")
    image, original = decode(tmp_path / "grey.png")
    assert (original.largest, original.brightest) == (40_000, 40_000 // 256)
    assert np.array_equal(np.asarray(image)[..., 0], values // 256)


def test_an_unreadable_image_does_not_hide_what_is_said_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    Image.new("CMYK", (4, 4)).save(tmp_path / "b.jpg")
    (said,) = conversions_of_files([ImageFiles([tmp_path / "a.png", tmp_path / "b.jpg"], torch.tensor([0, 1]))])
    assert "1 CMYK" in said
