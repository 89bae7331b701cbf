"""Feeds: the vectorised crop compared with a slow one, normalisation, digests, and worker processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from plain_vs_residual.data.augmentation import crop_and_flip
from plain_vs_residual.data.batches import Batch, Feed, evenly_spaced
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.settings import IMAGENET, Setting

CPU = torch.device("cpu")


def batches_of(feed: Feed, start: int, stop: int) -> Iterator[Batch]:
    return (feed.batch(*inputs) for inputs in feed.inputs(start, stop))


def slow_view(pixels: np.ndarray, mean: np.ndarray, crop: list[int], flip: bool, padding: int) -> np.ndarray:
    """Augment one image as the paper describes: subtract the mean, pad with zeros, crop, mirror."""
    size = pixels.shape[0]
    padded = np.zeros((size + 2 * padding, size + 2 * padding, pixels.shape[2]), dtype=np.float32)
    padded[padding : padding + size, padding : padding + size] = (pixels.astype(np.float32) - mean) / 255
    view = padded[crop[0] : crop[0] + size, crop[1] : crop[1] + size]
    return view[:, ::-1] if flip else view


def test_the_fast_view_equals_the_slow_one_image_by_image(tiny_setting: Setting, tiny_dataset: Dataset) -> None:
    setting = tiny_setting.with_changes({"crop_padding": 2})
    feed = ResidentFeed(tiny_dataset, setting, seed=0, device=CPU)
    drawn = feed.stream.segment(0, 6)
    assert isinstance(tiny_dataset.training, Images)
    pixels = tiny_dataset.training.pixels.numpy()
    mean = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
    assert drawn["flips"].any()
    for step, (images, labels) in enumerate(batches_of(feed, 0, 6)):
        assert images.shape == (8, 1, 8, 8)
        for row, index in enumerate(drawn["indices"][step].tolist()):
            crop, flip = drawn["crops"][step, row].tolist(), bool(drawn["flips"][step, row])
            expected = slow_view(pixels[index], mean, crop, flip, padding=2)
            np.testing.assert_allclose(images[row].permute(1, 2, 0).numpy(), expected, atol=1e-6)
            assert labels[row] == tiny_dataset.training.labels[index]


def test_images_come_in_channels_last_order(tiny_setting: Setting, image_folder: Path) -> None:
    dataset = load_dataset(tiny_setting, image_folder)
    images, _ = next(batches_of(ResidentFeed(dataset, tiny_setting, 0, CPU), 0, 1))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_sees_every_image_once_centred(tiny_setting: Setting, tiny_dataset: Dataset) -> None:
    feed = ResidentFeed(tiny_dataset, tiny_setting, 0, CPU)
    images, labels = next(iter(feed.evaluation_batches("validation")))
    assert isinstance(tiny_dataset.training, Images)
    assert isinstance(tiny_dataset.validation, Images)
    mean = tiny_dataset.training.pixels.double().mean(dim=0)
    expected = (tiny_dataset.validation.pixels.double() - mean) / 255
    torch.testing.assert_close(images.double(), expected.permute(0, 3, 1, 2), atol=1e-6, rtol=0)
    assert torch.equal(labels, tiny_dataset.validation.labels)


def test_a_limited_evaluation_takes_evenly_spaced_images() -> None:
    assert evenly_spaced(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly_spaced(3, 5).tolist() == [0, 1, 2]
    assert evenly_spaced(4, None).tolist() == [0, 1, 2, 3]


def digest_after(feed: ResidentFeed, stop: int = 4) -> dict[str, str]:
    for _ in batches_of(feed, 0, stop):
        pass
    return feed.digest.state()


def test_two_members_consume_the_same(tiny_setting: Setting, tiny_dataset: Dataset) -> None:
    first, second = (digest_after(ResidentFeed(tiny_dataset, tiny_setting, 5, CPU)) for _ in range(2))
    assert first == second
    assert set(first) == {"indices", "crops", "flips", "pixels"}


def test_a_digest_goes_on_where_another_stopped(tiny_setting: Setting, tiny_dataset: Dataset) -> None:
    whole = digest_after(ResidentFeed(tiny_dataset, tiny_setting, 5, CPU), stop=6)
    feed = ResidentFeed(tiny_dataset, tiny_setting, 5, CPU)
    digest_after(feed, stop=2)
    resumed = ResidentFeed(tiny_dataset, tiny_setting, 5, CPU)
    resumed.digest.restore(feed.digest.state())
    for _ in batches_of(resumed, 2, 6):
        pass
    assert resumed.digest.state() == whole


@pytest.mark.parametrize("change", ["swap", "shift", "label", "flip bit"])
def test_the_pixel_digest_notices(change: str) -> None:
    pixels = torch.randint(0, 256, (4, 6, 6, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = torch.tensor([0, 1, 2, 3])
    changed: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
        "swap": lambda: (pixels[[1, 0, 2, 3]], labels[[1, 0, 2, 3]]),
        "shift": lambda: (pixels.roll(1, dims=2), labels),
        "label": lambda: (pixels, torch.tensor([0, 1, 3, 2])),
        "flip bit": lambda: (pixels ^ torch.eye(1, dtype=torch.uint8), labels),
    }
    states = []
    for seen in ((pixels, labels), changed[change]()):
        digest = ConsumptionDigest(CPU)
        digest.add_pixels(*seen)
        states.append(digest.state())
    assert states[0] != states[1]


def test_crop_and_flip_mirrors_left_to_right() -> None:
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3, 1)
    mean = torch.zeros(3, 3, 1)
    view, _ = crop_and_flip(
        image, mean, torch.tensor([0]), torch.zeros(1, 2, dtype=torch.int64), torch.tensor([True]), 3
    )
    assert view[0, :, :, 0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


@pytest.fixture
def small_imagenet() -> Setting:
    return IMAGENET.with_changes(
        {"image_size": 28, "batch_size": 4, "iterations": 4, "epochs": None, "stem_width": 4, "evaluations": 2}
    )


def test_the_loader_gives_the_same_batches_with_and_without_workers(
    small_imagenet: Setting, image_folder: Path
) -> None:
    dataset = load_dataset(small_imagenet, image_folder)
    feeds = [LoaderFeed(dataset, small_imagenet, 0, CPU) for _ in range(2)]
    feeds[1].num_workers = 1
    assert feeds[0].num_workers == 0  # few images
    for (images, labels), (same_images, same_labels) in zip(*(batches_of(f, 0, 2) for f in feeds), strict=True):
        assert images.shape == (4, 3, 28, 28)
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    assert feeds[0].digest.state() == feeds[1].digest.state()


def test_the_loader_evaluates_every_image_once(small_imagenet: Setting, image_folder: Path) -> None:
    feed = LoaderFeed(load_dataset(small_imagenet, image_folder), small_imagenet, 0, CPU)
    labels = torch.cat([labels for _, labels in feed.evaluation_batches("training")])
    assert labels.bincount().tolist() == [8, 8, 8]
