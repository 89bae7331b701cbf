"""The images of Fashion-MNIST that are kept in the repository."""

from pathlib import Path

import numpy as np
import pytest

from plain_vs_residual.data import fashion as module
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.fashion import ARCHIVE, fashion
from plain_vs_residual.data.images import Images
from plain_vs_residual.settings import FASHION


def test_there_are_300_training_and_100_test_images_of_each_class() -> None:
    dataset = load_dataset(FASHION)
    for part, num in ((dataset.training, 300), (dataset.validation, 100)):
        assert isinstance(part, Images)
        assert part.pixels.shape == (10 * num, 14, 14, 1)
        assert part.labels.bincount().tolist() == [num] * 10
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "ankle boot"


def test_they_are_the_first_of_their_class_in_the_official_order() -> None:
    with np.load(ARCHIVE) as arrays:
        for part, num in (("train", 300), ("test", 100)):
            index, labels = arrays[f"{part}_index"], arrays[f"{part}_labels"]
            assert (np.diff(index) > 0).all()
            # Of 300 first images of each of ten classes, the last comes soon after the 3,000th.
            assert index[-1] < 1.15 * 10 * num
            assert np.bincount(labels).tolist() == [num] * 10


def test_images_are_halved_by_averaging_squares() -> None:
    whole, halved = fashion(28), fashion(14)
    assert isinstance(whole.training, Images)
    assert isinstance(halved.training, Images)
    pixels = whole.training.pixels[7, :, :, 0].double()
    for row, column in ((0, 0), (6, 7), (13, 13)):
        square = pixels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert abs(halved.training.pixels[7, row, column, 0].item() - square.mean().item()) <= 0.5
    assert whole.fingerprint != halved.fingerprint


@pytest.mark.parametrize("size", [0, 3, 16, 56])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="it divides 28"):
        fashion(size)


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "images.npz"
    damaged.write_bytes(ARCHIVE.read_bytes()[:-1])
    monkeypatch.setattr(module, "ARCHIVE", damaged)
    with pytest.raises(ValueError, match=r"images\.npz: damaged"):
        fashion(14)


def test_the_licence_is_kept_beside_the_images() -> None:
    assert "Zalando SE" in (ARCHIVE.parent / "LICENSE").read_text(encoding="utf-8")
