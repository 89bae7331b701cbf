"""Feeds bring batches to the device: from tensors that live there, or from a loader that decodes files."""

import importlib
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from plain_vs_residual.data.augmentation import crop_and_flip
from plain_vs_residual.data.datasets import Dataset, ImageFiles, Images, decode_image
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.settings import Setting

Part = Literal["training", "validation", "test"]
Batch = tuple[Tensor, Tensor]
Inputs = tuple[Tensor, ...]

# torchvision's, of the ImageNet training set; eigenvalues and -vectors from Krizhevsky et al. (2012).
CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class Feed(Protocol):
    """What the training loop asks for.

    ``digest`` holds what was handed out so far, ``waited_seconds`` how long training waited for decoding.

    ``batch(*inputs)`` of the inputs of an iteration runs on the device alone and in place, so that it can be
    recorded together with the step that follows it.
    """

    num_training: int
    digest: ConsumptionDigest
    waited_seconds: float

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        """For each of those iterations the tensors on the device that :meth:`batch` makes a batch of."""
        ...

    def batch(self, *inputs: Tensor) -> Batch:
        """Images float (N, C, H, W) in channels-last order and labels int64 (N)."""
        ...

    def evaluation_batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        """A single centred view of all images of a part, or of ``limit`` evenly spaced ones, in their order."""
        ...


def make_feed(dataset: Dataset, setting: Setting, seed: int, device: torch.device) -> Feed:
    """The feed for a data set: resident where the images are in memory, else a loader."""
    if isinstance(dataset.training, Images):
        return ResidentFeed(dataset, setting, seed, device)
    return LoaderFeed(dataset, setting, seed, device)


class ResidentFeed:
    """Images as uint8 tensors on the device; a batch is one gather."""

    def __init__(self, dataset: Dataset, setting: Setting, seed: int, device: torch.device) -> None:
        assert isinstance(dataset.training, Images)
        assert isinstance(dataset.validation, Images)
        self.image_size = setting.image_size
        # Enlarged images take much memory: as many at a time as in training. A CPU's caches hold few.
        many = 1000 if device.type == "cuda" else 250
        self.evaluation_batch = setting.batch_size if setting.enlarge_to else many
        self.padding = setting.crop_padding
        self.device = device
        self.num_training = len(dataset.training)
        self.stream = DataStream(self.num_training, setting.batch_size, seed, draws_of(setting))
        self.digest = ConsumptionDigest(device)
        self.waited_seconds = 0.0
        border = (0, 0, self.padding, self.padding, self.padding, self.padding)
        # In float64 and on the CPU: the mean is equal wherever the run takes place.
        mean = torch.from_numpy(dataset.training.pixels.numpy().mean(axis=0, dtype=np.float64)).float()
        mean *= float(setting.subtract_mean)
        self.divisor = 255 if setting.pixel_range == "0..1" else 1
        self.enlarge_to = setting.enlarge_to
        self.mean = pad(mean, border).to(device)
        parts = {"training": dataset.training, "validation": dataset.validation, "test": dataset.test}
        held = {name: part for name, part in parts.items() if isinstance(part, Images)}
        self.pixels = {name: pad(part.pixels, border).to(device) for name, part in held.items()}
        self.labels = {name: part.labels.to(device) for name, part in held.items()}

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        drawn = self.stream.segment(start, stop)
        on_device = [drawn[name].to(self.device) for name in ("indices", "crops", "flips")]
        for step in range(stop - start):
            self.digest.add_draws({name: values[step] for name, values in drawn.items()})
            yield tuple(values[step] for values in on_device)

    def batch(self, *inputs: Tensor) -> Batch:
        indices, crops, flips = inputs
        pixels, mean = crop_and_flip(self.pixels["training"], self.mean, indices, crops, flips, self.image_size)
        labels = self.labels["training"][indices]
        self.digest.add_pixels(pixels, labels)
        return self._prepare(pixels, mean), labels

    def evaluation_batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        inner = slice(self.padding, self.padding + self.image_size)
        wanted = evenly_spaced(len(self.labels[part]), limit).to(self.device)
        for chosen in torch.split(wanted, self.evaluation_batch):
            pixels = self.pixels[part][chosen, inner, inner]
            yield self._prepare(pixels, self.mean[inner, inner]), self.labels[part][chosen]

    def _prepare(self, pixels: Tensor, mean: Tensor) -> Tensor:
        images = ((pixels.float() - mean) / self.divisor).permute(0, 3, 1, 2)
        if not self.enlarge_to:
            return images
        enlarged = interpolate(images, (self.enlarge_to, self.enlarge_to), mode="bilinear", antialias=False)
        return enlarged.contiguous(memory_format=torch.channels_last)


def evenly_spaced(num: int, limit: int | None) -> Tensor:
    """Indices of ``limit`` among ``num`` images, or of all: evenly spaced, because folders come class by class."""
    wanted = min(limit or num, num)
    return torch.arange(wanted) * num // wanted


class LoaderFeed:
    """Images decoded by worker processes, normalised on the device (the ``imagenet`` recipe, Sec. 3.4)."""

    def __init__(self, dataset: Dataset, setting: Setting, seed: int, device: torch.device) -> None:
        self.setting = setting
        self.device = device
        self.files: dict[Part, Any] = {"training": dataset.training, "validation": dataset.validation}
        self.num_training = len(dataset.training)
        self.stream = DataStream(self.num_training, setting.batch_size, seed, draws_of(setting))
        self.digest = ConsumptionDigest(device)
        self.waited_seconds = 0.0
        self.num_workers = (os.cpu_count() or 1) if self.num_training >= 1000 else 0
        self.mean = torch.tensor(CHANNEL_MEAN, device=device)
        self.std = torch.tensor(CHANNEL_STD, device=device)
        self.components = (torch.tensor(EIGENVECTORS) * torch.tensor(EIGENVALUES)).to(device)
        if self.num_workers:
            transforms()  # here once, not in each worker of each evaluation

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        drawn = self.stream.segment(start, stop)
        # Plain numbers, one batch at a time: tensors would travel to the workers through shared memory.
        keys = (
            [
                dict(zip(drawn, row, strict=True))
                for row in zip(*(v[step].tolist() for v in drawn.values()), strict=True)
            ]
            for step in range(stop - start)
        )
        loader = self._loader(AugmentedFiles(self.files["training"], self.setting.image_size), keys)
        batches = iter(loader)
        for step in range(stop - start):
            clock = time.perf_counter()
            batch = next(batches)
            self.waited_seconds += time.perf_counter() - clock
            self.digest.add_draws({name: values[step] for name, values in drawn.items()})
            yield tuple(values.to(self.device, non_blocking=True) for values in (*batch, drawn["colours"][step]))

    def batch(self, *inputs: Tensor) -> Batch:
        pixels, labels, colours = inputs
        self.digest.add_pixels(pixels, labels)
        return self._normalise(pixels, (colours @ self.components.T)[:, None, None, :]), labels

    def evaluation_batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        chosen = evenly_spaced(len(self.files[part]), limit)
        keys = (batch.tolist() for batch in torch.split(chosen, self.setting.batch_size))
        for pixels, labels in self._loader(CentredFiles(self.files[part], self.setting.image_size), keys):
            yield self._normalise(pixels.to(self.device)), labels.to(self.device)

    def _normalise(self, pixels: Tensor, colour_shift: Tensor | float = 0.0) -> Tensor:
        return ((pixels.float() / 255 + colour_shift - self.mean) / self.std).permute(0, 3, 1, 2)

    def _loader(self, files: TorchDataset[Batch], keys: Iterable[list[Any]]) -> DataLoader[Batch]:
        return DataLoader(
            files,
            batch_sampler=keys,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )


class AugmentedFiles(TorchDataset[Batch]):
    """Training images by what was drawn for them: scaled to a shorter side, cropped, mirrored; uint8 (H, W, C)."""

    def __init__(self, files: ImageFiles, image_size: int) -> None:
        self.files = files
        self.image_size = image_size

    def __getitem__(self, draws: dict[str, Any]) -> Batch:
        v2, index = transforms(), draws["indices"]
        image = v2.resize(decode_image(self.files.paths[index]), [draws["sides"]])
        top, left = (
            int(drawn * (length - self.image_size + 1))
            for drawn, length in zip(draws["crops"], v2.get_size(image), strict=True)
        )
        image = v2.crop(image, top, left, self.image_size, self.image_size)
        if draws["flips"]:
            image = v2.horizontal_flip(image)
        return _height_width_channels(image), self.files.labels[index]


class CentredFiles(TorchDataset[Batch]):
    """Images by index: shorter side scaled to 256 (for 224), centre crop; uint8 (H, W, C)."""

    def __init__(self, files: ImageFiles, image_size: int) -> None:
        self.files = files
        self.image_size = image_size

    def __getitem__(self, index: int) -> Batch:
        v2 = transforms()
        image = v2.resize(decode_image(self.files.paths[index]), [round(self.image_size * 256 / 224)])
        image = v2.center_crop(image, [self.image_size, self.image_size])
        return _height_width_channels(image), self.files.labels[index]


def _height_width_channels(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image))


def transforms() -> Any:
    """torchvision's functional transforms, v2: what is drawn at random is drawn by the stream."""
    from plain_vs_residual.torchvision_import import torchvision

    return importlib.import_module(f"{torchvision.__name__}.transforms.v2.functional")
