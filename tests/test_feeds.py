"""Feeds: the vectorised crop compared with a slow one, normalisation, digests, and worker processes."""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.data import loader
from plain_vs_residual.data.augmentation import crop_and_flip
from plain_vs_residual.data.batches import Batch, Feed, Part, evaluating_group, evenly_spaced
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, ImageFiles, Images
from plain_vs_residual.data.loader import CHANNEL_MEAN, CHANNEL_STD, AugmentedFiles, CentredFiles, LoaderFeed
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.store import read_final
from plain_vs_residual.run import Job, Run
from plain_vs_residual.settings import IMAGENET, Setting
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.place import Place
from tests.conftest import Silent, network_of

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


def chained(batches: Iterable[Batch]) -> str:
    """Chain pixels and labels by hand: places weigh what the generator draws, a label 31 times, batches follow."""
    value = 0
    for pixels, labels in batches:
        sums = []
        for values in (pixels, labels):
            drawn = keyed_generator(0, "checksum weights")
            weights = torch.randint(1, 2**23, (values.numel(),), dtype=torch.int32, generator=drawn)
            sums.append(int((values.reshape(-1).long() * weights.long()).sum()))
        value = value * 1_000_003 + sums[0] + 31 * sums[1]
    return f"{value % 2**64:016x}"


def test_the_chains_of_what_was_consumed_are_those_by_hand(tiny_setting: Setting, tiny_dataset: Dataset) -> None:
    """Kept records hold such hashes: the same images must give them in every version."""
    feed = ResidentFeed(tiny_dataset, tiny_setting, 5, CPU)
    drawn, given = feed.stream.segment(0, 3), []
    images, evaluated = tiny_dataset.training, tiny_dataset.validation
    assert isinstance(images, Images)
    assert isinstance(evaluated, Images)
    for step, _ in enumerate(batches_of(feed, 0, 3)):
        indices, crops, flips = (drawn[name][step] for name in ("indices", "crops", "flips"))
        pixels, _ = crop_and_flip(feed.pixels["training"], feed.mean, indices, crops, flips, feed.image_size)
        given.append((pixels, images.labels[indices]))
    assert feed.digest.state()["pixels"] == chained(given)
    feed.evaluation_batch = 3
    assert len(list(feed.evaluation_batches("validation"))) > 1
    parts = zip(evaluated.pixels.split(3), evaluated.labels.split(3), strict=True)
    whole = sha256(chained(parts).encode()).hexdigest()[:16]
    assert feed.digest.state()["evaluated_validation"] == whole


@pytest.mark.parametrize("rank", [0, 1])
def test_of_a_limited_evaluation_every_process_of_a_group_takes_all_images(
    tiny_setting: Setting, tiny_dataset: Dataset, rank: int
) -> None:
    alone, member = (ResidentFeed(tiny_dataset, tiny_setting, 0, CPU, group) for group in (ALONE, Group(rank, 2)))
    alone.evaluation_batch = member.evaluation_batch = 3
    (expected, found) = (list(feed.evaluation_batches("training", 10)) for feed in (alone, member))
    assert [len(labels) for _, labels in found] == [3, 3, 3, 1]
    for one, other in zip(expected, found, strict=True):
        assert all(map(torch.equal, one, other))
    assert evaluating_group(Group(rank, 2), None) == Group(rank, 2)


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


def test_a_chain_of_draws_holds_every_batch_and_not_only_the_last() -> None:
    digest = ConsumptionDigest(CPU)
    for crops in ([[0, 1]], [[2, 3]]):
        digest.add_draws({"crops": torch.tensor(crops)})
    first = sha256(struct.pack("<2q", 0, 1)).hexdigest()[:16]
    both = sha256(first.encode() + struct.pack("<2q", 2, 3)).hexdigest()[:16]
    assert digest.state()["crops"] == both


@pytest.mark.parametrize("state", ["7fffffffffffffff", "8000000000000000", "ffffffffffffffff"])
def test_a_pixel_digest_of_any_sign_is_restored(state: str) -> None:
    digest = ConsumptionDigest(CPU)
    digest.restore({"pixels": state})
    assert digest.state() == {"pixels": state}


def test_a_chain_of_evaluations_holds_every_evaluation_and_every_batch() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).reshape(4, 2, 3, 1)
    labels = torch.tensor([0, 1, 2, 3])
    digest, expected = ConsumptionDigest(CPU), ""
    for order in ([0, 1, 2, 3], [2, 3, 0, 1]):
        batches = [(pixels[one], labels[one]) for one in torch.tensor(order).split(2)]
        weights = torch.randint(
            1, 2**23, (12,), dtype=torch.int32, generator=keyed_generator(0, "checksum weights")
        )
        few = torch.randint(1, 2**23, (2,), dtype=torch.int32, generator=keyed_generator(0, "checksum weights"))
        chain = 0
        for images, of_batch in batches:
            own = sum(int(a) * int(b) for a, b in zip(images.flatten(), weights, strict=True))
            chain = chain * 1_000_003 + own + 31 * sum(int(a) * int(b) for a, b in zip(of_batch, few, strict=True))
        assert len(list(digest.evaluated("evaluated_training", batches, 2, ALONE))) == 2
        expected = sha256(f"{expected}{chain % 2**64:016x}".encode()).hexdigest()[:16]
        assert digest.state()["evaluated_training"] == expected


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
        {"image_size": 28, "batch_size": 4, "norm_batch": None, "iterations": 4, "epochs": None}
        | {"stem_width": 4, "evaluations": 2}
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


@pytest.fixture
def numbered_pixels(tmp_path: Path) -> tuple[ImageFiles, np.ndarray]:
    """Return an image of 32 rows and 48 columns as a file, and its pixels, each of which is another."""
    rows, columns = np.indices((32, 48))
    pixels = np.stack((rows * 5, columns * 5, rows + columns), axis=-1).astype(np.uint8)
    path = tmp_path / "numbered.png"
    Image.fromarray(pixels).save(path)
    return ImageFiles([path], torch.tensor([7])), pixels


@pytest.mark.parametrize(
    ("crops", "top", "left"),
    [((0.0, 0.0), 0, 0), ((0.999, 0.0), 4, 0), ((0.0, 0.999), 0, 20), ((0.45, 0.6), 2, 12)],
)
@pytest.mark.parametrize("flip", [False, True])
def test_a_training_image_from_a_file_is_cropped_and_mirrored_as_was_drawn(
    numbered_pixels: tuple[ImageFiles, np.ndarray], crops: tuple[float, float], top: int, left: int, flip: bool
) -> None:
    """Its shorter side is 32 already; the drawn fractions are of the 5 rows and 21 columns of room there are."""
    files, pixels = numbered_pixels
    drawn = {"indices": 0, "sides": 32, "crops": list(crops), "flips": flip, "colours": [1.0, 2.0, 3.0]}
    found, label, colours = AugmentedFiles(files, 28)[drawn]
    expected = pixels[top : top + 28, left : left + 28]
    assert np.array_equal(found.numpy(), expected[:, ::-1] if flip else expected)
    assert (label.item(), colours.tolist()) == (7, [1, 2, 3])


def test_an_evaluated_image_from_a_file_is_the_centre_of_one_a_seventh_larger(
    numbered_pixels: tuple[ImageFiles, np.ndarray],
) -> None:
    files, pixels = numbered_pixels
    found, _ = CentredFiles(files, 28)[0]  # 256 / 224 * 28 = 32, which its shorter side is already
    assert np.array_equal(found.numpy(), pixels[2:30, 10:38])


def test_the_seconds_that_training_waited_for_images_are_added_up(
    small_imagenet: Setting, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = LoaderFeed(load_dataset(small_imagenet, image_folder), small_imagenet, 0, CPU)
    clock = iter([100.0, 101.0, 110.0, 112.0, 120.0, 124.0])
    monkeypatch.setattr(loader, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert len(list(feed.inputs(0, 3))) == 3
    assert feed.waited_seconds == 1 + 2 + 4


def test_evaluated_images_from_files_are_those_of_their_part_normalised_and_not_mirrored(
    small_imagenet: Setting, image_folder: Path
) -> None:
    dataset = load_dataset(small_imagenet, image_folder)
    feed = LoaderFeed(dataset, small_imagenet, 0, CPU)
    parts: tuple[tuple[Part, Any], ...] = (("training", dataset.training), ("validation", dataset.validation))
    for part, files in parts:
        found = torch.cat([images for images, _ in feed.evaluation_batches(part)])
        labels = torch.cat([labels for _, labels in feed.evaluation_batches(part)])
        assert len(found) == len(files)
        assert torch.equal(labels, files.labels)
        for number, image in enumerate(found):
            pixels, _ = CentredFiles(files, 28)[number]
            channels = zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
            expected = [(pixels[:, :, place] / 255 - mean) / std for place, (mean, std) in enumerate(channels)]
            torch.testing.assert_close(image, torch.stack(expected), atol=1e-5, rtol=0)


def test_ten_views_are_those_of_the_images_of_their_part(small_imagenet: Setting, image_folder: Path) -> None:
    dataset = load_dataset(small_imagenet, image_folder)
    feed = LoaderFeed(dataset, small_imagenet, 0, CPU)
    parts: tuple[tuple[Part, Any], ...] = (("training", dataset.training), ("validation", dataset.validation))
    for part, files in parts:
        batches = list(feed.ten_crop_batches(part))
        views = torch.cat([pixels for pixels, _ in batches]).unflatten(0, (-1, 10))
        assert torch.equal(torch.cat([labels for _, labels in batches]), files.labels)
        centres = torch.cat([images for images, _ in feed.evaluation_batches(part)])
        for number, centre in enumerate(centres):
            assert sum(torch.equal(view, centre) for view in views[number]) == 1


def test_colours_are_shifted_along_the_principal_components_and_normalised_as_torchvision_does(
    small_imagenet: Setting, image_folder: Path
) -> None:
    published = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    assert list(published.mean) == list(CHANNEL_MEAN)
    assert list(published.std) == list(CHANNEL_STD)
    feed = LoaderFeed(load_dataset(small_imagenet, image_folder), small_imagenet, 0, CPU)
    pixels = torch.full((4, 28, 28, 3), 51, dtype=torch.uint8)  # a fifth of 255
    shifts = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, -0.2]])
    images, _ = feed.batch(pixels, torch.arange(4), shifts)
    by_hand = (
        (0.0, 0.0, 0.0),
        (0.1 * 0.2175 * -0.5675, 0.1 * 0.2175 * -0.5808, 0.1 * 0.2175 * -0.5836),
        (0.1 * 0.0188 * 0.7192, 0.1 * 0.0188 * -0.0045, 0.1 * 0.0188 * -0.6948),
        (-0.2 * 0.0045 * 0.4009, -0.2 * 0.0045 * -0.8140, -0.2 * 0.0045 * 0.4203),
    )
    for image, shift in zip(images, by_hand, strict=True):
        means = zip(shift, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
        expected = [(0.2 + added - mean) / deviation for added, mean, deviation in means]
        assert image.amax(dim=(1, 2)).tolist() == pytest.approx(expected, abs=1e-5)
        assert image.amin(dim=(1, 2)).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_colours_of_a_training_image_are_drawn_with_a_deviation_of_a_tenth() -> None:
    colours = DataStream(20_000, 1_000, 0, draws_of(IMAGENET)).segment(0, 20)["colours"]
    assert colours.shape == (20, 1_000, 3)
    assert colours.std(dim=(0, 1)).tolist() == pytest.approx([0.1] * 3, rel=0.03)
    assert colours.mean(dim=(0, 1)).tolist() == pytest.approx([0.0] * 3, abs=0.003)


def test_images_of_a_folder_are_averaged_when_they_are_made_smaller(tmp_path: Path, tiny_setting: Setting) -> None:
    """Columns of black and white in turn are grey at half the size; every second one would be black or white."""
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "stripes" / part / name).mkdir(parents=True)
            Image.fromarray(stripes).save(tmp_path / "stripes" / part / name / "0.png")
    training = load_dataset(tiny_setting, tmp_path / "stripes").training
    assert isinstance(training, Images)
    assert training.pixels.shape == (2, 8, 8, 3)
    assert training.pixels.min() > 100
    assert training.pixels.max() < 155


def test_the_fingerprint_takes_in_every_part_with_its_labels_and_files_by_their_sizes(
    tiny_dataset: Dataset, image_folder: Path
) -> None:
    training, validation = tiny_dataset.training, tiny_dataset.validation
    assert isinstance(training, Images)
    assert isinstance(validation, Images)
    other_labels, other_pixels = validation.labels.flip(0), validation.pixels.flip(0)
    several = [
        tiny_dataset,
        replace(tiny_dataset, classes=("a", "c", "b")),
        replace(tiny_dataset, validation=Images(validation.pixels, other_labels)),
        replace(tiny_dataset, training=Images(training.pixels, training.labels.flip(0))),
        replace(tiny_dataset, test=validation),
        replace(tiny_dataset, test=Images(other_pixels, validation.labels)),
        replace(tiny_dataset, test=Images(validation.pixels, other_labels)),
    ]
    assert len({one.fingerprint for one in several}) == len(several)
    before = load_dataset(IMAGENET, image_folder).fingerprint
    changed = image_folder / "val" / "cat" / "2.png"
    changed.write_bytes(changed.read_bytes() + b"more")
    assert load_dataset(IMAGENET, image_folder).fingerprint != before


@pytest.mark.parametrize("place", ["train/ant/0.png", "train/bee/4.png", "train/cat/7.png", "val/ant/0.png"])
def test_the_fingerprint_takes_in_name_and_content_of_every_file(image_folder: Path, place: str) -> None:
    path = image_folder / place
    found = [load_dataset(IMAGENET, image_folder).fingerprint]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
    found.append(load_dataset(IMAGENET, image_folder).fingerprint)
    path.rename(path.with_stem(f"{path.stem}0"))
    found.append(load_dataset(IMAGENET, image_folder).fingerprint)
    assert len(set(found)) == 3


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Return a folder with parts of two photographs, one per class, high and wide ones."""
    for part in ("train", "val"):
        for name in ("china", "flower"):
            folder = tmp_path / "photographs" / part / name
            folder.mkdir(parents=True)
            photograph = Image.fromarray(load_sample_image(f"{name}.jpg"))
            for number, box in enumerate(((0, 0, 640, 427), (100, 20, 350, 420), (300, 100, 550, 360))):
                photograph.crop(box).save(folder / f"{number}.jpg", quality=90)
    return tmp_path / "photographs"


def test_ten_crops_are_torchvisions_and_their_predictions_are_averaged(photographs: Path) -> None:
    setting = IMAGENET.with_changes({"image_size": 64, "batch_size": 40, "norm_batch": None, "stem_width": 8})
    dataset = load_dataset(setting, photographs)
    feed = LoaderFeed(dataset, setting, 0, CPU)
    network = network_of("residual18-A", channels=3, num_classes=2, stem="7x7", stem_width=8).eval()
    transforms = torchvision.transforms.v2
    ten = transforms.Compose([transforms.Resize(73), transforms.TenCrop(64), transforms.ToImage()])
    scale = transforms.Compose(
        [transforms.ToDtype(torch.float32, scale=True), transforms.Normalize(CHANNEL_MEAN, CHANNEL_STD)]
    )
    counted, loss = [0, 0], 0.0
    paths = iter(dataset.validation.paths)
    sizes = []
    for images, labels in feed.ten_crop_batches("validation"):
        sizes.append(len(labels))
        for views, label in zip(images.unflatten(0, (len(labels), 10)), labels, strict=True):
            expected = torch.stack([scale(view) for view in ten(Image.open(next(paths)).convert("RGB"))])
            assert torch.allclose(views, expected, atol=1e-6)
            with torch.no_grad():
                mean = network(expected).softmax(dim=1).mean(dim=0)
            counted = [counted[0] + 1, counted[1] + int(mean.argmax() != label)]
            loss -= float(mean[label].log())
    assert sizes == [4, 2]
    errors = evaluate(network, feed.ten_crop_batches("validation"), "fp32", views=10)
    assert errors.error == pytest.approx(100 * counted[1] / counted[0])
    assert errors.loss == pytest.approx(loss / 6, abs=1e-5)


def test_a_run_on_files_records_its_ten_crop_error(
    small_imagenet: Setting, image_folder: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(small_imagenet, image_folder)
    folder = RunFolder(tmp_path / "results" / "imagenet" / "plain18-s0")
    job = Job(
        Run(Architecture.parse("plain18"), small_imagenet, 0), Arithmetic(precision="fp32", threads=1), folder
    )
    train_job(job, Place(CPU), dataset, Silent(), lambda: False)
    final = read_final(folder)
    assert final.ten_crop_error is not None
    assert 0 <= final.ten_crop_error <= 100
    assert final.ten_crop_top5_error == 0  # of three classes
    assert "ten_crops_validation" in final.consumed
