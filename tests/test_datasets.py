"""Data sets: fixed splits, folders of images, and clear messages when something is wrong."""

import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from plain_vs_residual.data.datasets import load_dataset, loader_of, split
from plain_vs_residual.data.identity import CIFAR10_CLASSES, images_variant
from plain_vs_residual.data.images import Dataset, Images, PackedPaths
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.settings import CIFAR10, DIGITS, IMAGENET, SETTINGS


def test_digits_are_1437_and_360_stratified_images() -> None:
    dataset = load_dataset(DIGITS)
    assert (len(dataset.training), len(dataset.validation)) == (1437, 360)
    assert isinstance(dataset.training, Images)
    assert dataset.training.pixels.shape == (1437, 16, 16, 1)
    counts = dataset.validation.labels.bincount()
    assert counts.max() - counts.min() <= 3
    assert dataset.fingerprint == load_dataset(DIGITS).fingerprint


def test_what_is_known_of_each_kind_of_images_is_true_of_them() -> None:
    assert all(callable(loader_of(kind)) for kind in IMAGE_KINDS)
    assert IMAGE_KINDS.keys() >= {setting.data for setting in SETTINGS.values()}
    for kind, size in (("digits", 16), ("fashion", 14)):  # cifar10 is not here, imagenet has none of its own
        dataset = loader_of(kind)(size)
        assert IMAGE_KINDS[kind][:3] == (dataset.channels, len(dataset.classes), dataset.name)


@pytest.mark.parametrize("loader", ["datasets.digts", "digts.digits"])
def test_a_kind_of_images_without_a_loader_is_named(monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    monkeypatch.setitem(IMAGE_KINDS, "digits", IMAGE_KINDS["digits"]._replace(loader=loader))
    with pytest.raises(ValueError, match=rf"data digits: recipe\.py names '{loader}' in data/ as its loader \("):
        load_dataset(DIGITS)


def test_an_unknown_kind_of_images_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match="data cannot be 'letters': accepted are fashion, digits, cifar10, imagenet"
    ):
        DIGITS.with_changes({"data": "letters"})


def test_the_fingerprint_changes_with_one_pixel(tiny_dataset: Dataset) -> None:
    assert isinstance(tiny_dataset.training, Images)
    pixels = tiny_dataset.training.pixels.clone()
    pixels[0, 0, 0, 0] ^= 1
    other = replace(tiny_dataset, training=Images(pixels, tiny_dataset.training.labels))
    assert other.fingerprint != tiny_dataset.fingerprint


def test_the_papers_split_holds_a_tenth_out_of_the_training_images() -> None:
    whole = load_dataset(DIGITS)
    held_out = split(whole, "45k/5k")
    assert (len(held_out.training), len(held_out.validation)) == (1437 - 143, 143)
    assert isinstance(whole.training, Images)
    assert isinstance(held_out.training, Images)
    assert isinstance(held_out.validation, Images)
    joined = torch.cat([held_out.training.labels, held_out.validation.labels])
    assert torch.equal(joined.bincount(), whole.training.labels.bincount())
    assert held_out.test is whole.validation
    assert split(whole, "test") is whole


def test_a_folder_of_images_is_read_and_resized(image_folder: Path) -> None:
    dataset = load_dataset(CIFAR10, image_folder)
    assert dataset.name == "images"
    assert dataset.classes == ("ant", "bee", "cat")
    assert isinstance(dataset.training, Images)
    assert dataset.training.pixels.shape == (24, 32, 32, 3)
    assert dataset.training.labels.bincount().tolist() == [8, 8, 8]
    assert dataset.variant == images_variant(CIFAR10, image_folder)
    assert dataset.variant.startswith("images-")
    assert dataset.validation_name == "validation"


def test_jpeg_copies_of_cifar10_are_called_what_they_are(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / part / name / "0.jpg")
    dataset = load_dataset(CIFAR10, tmp_path)
    assert dataset.name == "CIFAR-10 (JPEG re-encoded)"
    assert "not comparable" in dataset.caveat
    assert dataset.validation_name == "test"


def test_what_a_folder_is_called_is_known_before_its_images_are_read(image_folder: Path, tmp_path: Path) -> None:
    own = image_folder.rename(tmp_path / "My images, 2nd")
    for setting in (CIFAR10, DIGITS):
        loaded = load_dataset(setting, own)
        assert loaded.name == "My images, 2nd"
        assert images_variant(setting, own) == loaded.variant
        assert re.fullmatch("images-[0-9a-f]{8}", loaded.variant)
    for part in ("train", "val"):
        for name in CIFAR10_CLASSES:
            (tmp_path / "copies" / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "copies" / part / name / "0.jpg")
    assert images_variant(CIFAR10, tmp_path / "copies").startswith("cifar-10-jpeg-re-encoded-")
    Image.new("RGB", (8, 8)).save(tmp_path / "copies" / "train" / "truck" / "1.png")
    assert images_variant(CIFAR10, tmp_path / "copies") == load_dataset(CIFAR10, tmp_path / "copies").variant
    assert images_variant(CIFAR10, tmp_path / "copies").startswith("images-")
    (tmp_path / "copies" / "cifar-10-batches-py").mkdir()
    assert images_variant(CIFAR10, tmp_path / "copies") == images_variant(CIFAR10, None) == ""
    assert images_variant(IMAGENET, own) == load_dataset(IMAGENET, own).variant == ""
    with pytest.raises(ValueError, match="no such folder"):
        images_variant(DIGITS, tmp_path / "nowhere")


def test_naming_images_imports_no_torch() -> None:
    code = "import sys, plain_vs_residual.data.identity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def broken(folder: Path, how: str) -> None:
    if how == "unreadable":
        (folder / "train" / "bee" / "3.png").write_bytes(b"not an image")
    if how == "truncated":
        path = folder / "train" / "bee" / "3.png"
        path.write_bytes(path.read_bytes()[:400])
    if how == "one class":
        for part in ("train", "val"):
            for name in ("bee", "cat"):
                (folder / part / name).rename(folder / f"{part}-{name}")
    if how == "no validation":
        (folder / "val").rename(folder / "other")
    if how == "empty class":
        for path in (folder / "train" / "cat").iterdir():
            path.unlink()
    if how == "classes differ":
        (folder / "val" / "cat").rename(folder / "val" / "dog")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("unreadable", r"unreadable image .*train/bee/3\.png"),
        ("truncated", r"unreadable image .*train/bee/3\.png"),
        ("one class", "at least 2"),
        ("no validation", r"needs the folders train/ and val/"),
        ("empty class", "train/cat holds no images"),
        ("classes differ", r"\['cat', 'dog'\]"),
    ],
)
def test_a_bad_folder_is_named(image_folder: Path, how: str, said: str) -> None:
    broken(image_folder, how)
    with pytest.raises(ValueError, match=said):
        load_dataset(CIFAR10, image_folder)


def test_a_missing_folder_and_missing_imagenet_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        load_dataset(CIFAR10, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--data FOLDER"):
        load_dataset(IMAGENET)


def test_cifar10_that_cannot_be_had_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plain_vs_residual.data.torchvision_import import torchvision

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("<urlopen error\n no route>")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", unreachable)
    monkeypatch.setattr("plain_vs_residual.data.cifar.DEFAULT_FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        load_dataset(CIFAR10)
    for part in (str(tmp_path), "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", "--setting digits"):
        assert part in str(raised.value)


def test_a_million_paths_take_no_more_than_their_names(tmp_path: Path) -> None:
    names = [f"n{number % 1000:08}/n{number % 1000:08}_{number:07}.JPEG" for number in range(100_000)]
    paths = PackedPaths(tmp_path, names)
    assert len(pickle.dumps(paths)) < 40 * len(names)
    assert paths[7] == tmp_path / names[7]
    assert paths[-2:] == [tmp_path / name for name in names[-2:]]
    assert len(paths) == len(names)
    assert PackedPaths(tmp_path, ["é/ü.jpg"])[0] == tmp_path / "é/ü.jpg"
