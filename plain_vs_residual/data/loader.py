"""The feed of a data set on disk: worker processes decode its files (the ``imagenet`` recipe, Sec. 3.4)."""

import importlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from plain_vs_residual.data.batches import Batch, Inputs, Part, evaluating_group, evaluation_name, evenly_spaced
from plain_vs_residual.data.decoding import UnreadableImage, decode_image
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.images import Dataset, ImageFiles
from plain_vs_residual.data.stream import DataStream, Draws, draws_of
from plain_vs_residual.data.unreadable import look_for_others
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.recipe import Recipe

# torchvision's, of the ImageNet training set; eigenvalues and -vectors from Krizhevsky et al. (2012).
CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class LoaderFeed:
    """Images decoded by worker processes, normalised on the device (the ``imagenet`` recipe, Sec. 3.4)."""

    def __init__(
        self, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device, group: Group = ALONE
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.files: dict[Part, Any] = {"training": dataset.training, "validation": dataset.validation}
        self.num_training = len(dataset.training)
        self.stream = DataStream(self.num_training, recipe.batch_size, seed, draws_of(recipe))
        self.group = group
        self.digest = ConsumptionDigest(device, group)
        self.waited_seconds = 0.0
        # As many as the run has cores: each of several processes at work has its share.
        self.num_workers = torch.get_num_threads() if self.num_training >= 1000 else 0
        self.mean = torch.tensor(CHANNEL_MEAN, device=device)
        self.std = torch.tensor(CHANNEL_STD, device=device)
        self.components = (torch.tensor(EIGENVECTORS) * torch.tensor(EIGENVALUES)).to(device)
        if self.num_workers:
            transforms()  # here once, not in each worker of each evaluation

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        drawn = self.stream.segment(start, stop)
        own = {name: self.group.share(values, dim=1) for name, values in drawn.items()}
        keys = (_drawn_for_each_image(own, step) for step in range(stop - start))
        batches = self._loaded(AugmentedFiles(self.files["training"], self.recipe.image_size), keys)
        for step in range(stop - start):
            clock = time.perf_counter()
            batch = next(batches)
            self.waited_seconds += time.perf_counter() - clock
            self.digest.add_draws({name: values[step] for name, values in drawn.items()})
            yield self._sent(batch)

    def batch(self, *inputs: Tensor) -> Batch:
        pixels, labels, colours = inputs
        self.digest.add_pixels(pixels, labels)
        return self._normalise(pixels, (colours @ self.components.T)[:, None, None, :]), labels

    def evaluation_batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        group = evaluating_group(self.group, limit)
        chosen = torch.split(evenly_spaced(len(self.files[part]), limit), self.recipe.batch_size)
        keys = (batch.tolist() for batch in group.taken(chosen))
        loaded = self._loaded(CentredFiles(self.files[part], self.recipe.image_size), keys)
        batches = ((pixels, labels) for pixels, labels in map(self._sent, loaded))
        for pixels, labels in self.digest.evaluated(evaluation_name(part, limit), batches, len(chosen), group):
            yield self._normalise(pixels), labels

    def ten_crop_batches(self, part: Part) -> Iterator[Batch]:
        """Yield ten views of all images of a part, those of an image in a row: (10 * N, C, H, W) and labels (N).

        The corners and the centre, and their mirror images (Krizhevsky et al., 2012). In a group, each process
        gets its batches. The digest notes what was yielded.
        """
        # A tenth of the images, so that there are about as many views as in a training batch.
        batch = max(1, self.recipe.batch_size // 10)
        chosen = torch.split(torch.arange(len(self.files[part])), batch)
        keys = (numbers.tolist() for numbers in self.group.taken(chosen))
        loaded = self._loaded(TenCropFiles(self.files[part], self.recipe.image_size), keys)
        batches = ((views.flatten(0, 1), labels) for views, labels in map(self._sent, loaded))
        for pixels, labels in self.digest.evaluated(f"ten_crops_{part}", batches, len(chosen), self.group):
            yield self._normalise(pixels), labels

    def _sent(self, batch: Inputs) -> Inputs:
        """Send a batch, which lies in page-locked memory, to the device without waiting for it."""
        return tuple(values.to(self.device, non_blocking=True) for values in batch)

    def _normalise(self, pixels: Tensor, colour_shift: Tensor | float = 0.0) -> Tensor:
        return ((pixels.float() / 255 + colour_shift - self.mean) / self.std).permute(0, 3, 1, 2)

    def _loaded(self, files: TorchDataset[Inputs], keys: Iterable[list[Any]]) -> Iterator[Inputs]:
        """Start decoding, and yield the batches with these keys."""
        loader = DataLoader(
            files,
            batch_sampler=keys,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )
        return self._all_named(iter(loader))

    def _all_named(self, batches: Iterator[Inputs]) -> Iterator[Inputs]:
        """Name all files that cannot be read once one of them is met; from a worker its text is a traceback."""
        try:
            yield from batches
        except UnreadableImage as error:
            raise look_for_others([files.paths for files in self.files.values()], error) from None


def _drawn_for_each_image(drawn: Draws, step: int) -> list[dict[str, Any]]:
    """Return what was drawn for each image of a batch as plain numbers; tensors would travel by shared memory."""
    values = [of_all_steps[step].tolist() for of_all_steps in drawn.values()]
    return [dict(zip(drawn, of_one_image, strict=True)) for of_one_image in zip(*values, strict=True)]


class AugmentedFiles(TorchDataset[Inputs]):
    """Training images by what was drawn for them: scaled, cropped, mirrored; uint8 (H, W, C), label, colours."""

    def __init__(self, files: ImageFiles, image_size: int) -> None:
        self.files = files
        self.image_size = image_size

    def __getitem__(self, draws: dict[str, Any]) -> Inputs:
        v2, index = transforms(), draws["indices"]
        image = v2.resize(decode_image(self.files.paths[index]), [draws["sides"]])
        top, left = (
            int(drawn * (length - self.image_size + 1))
            for drawn, length in zip(draws["crops"], v2.get_size(image), strict=True)
        )
        image = v2.crop(image, top, left, self.image_size, self.image_size)
        if draws["flips"]:
            image = v2.horizontal_flip(image)
        return _height_width_channels(image), self.files.labels[index], torch.tensor(draws["colours"])


class CentredFiles(TorchDataset[Inputs]):
    """Images by index: shorter side scaled to 256 (for 224), centre crop; uint8 (H, W, C)."""

    def __init__(self, files: ImageFiles, image_size: int) -> None:
        self.files = files
        self.image_size = image_size

    def __getitem__(self, index: int) -> Inputs:
        image = transforms().center_crop(self.scaled(index), [self.image_size, self.image_size])
        return _height_width_channels(image), self.files.labels[index]

    def scaled(self, index: int) -> Any:
        """Decode an image and scale its shorter side."""
        image = decode_image(self.files.paths[index])
        return transforms().resize(image, [round(self.image_size * 256 / 224)])


class TenCropFiles(CentredFiles):
    """Images by index: shorter side scaled to 256 (for 224), ten crops; uint8 (10, H, W, C)."""

    def __getitem__(self, index: int) -> Inputs:
        views = transforms().ten_crop(self.scaled(index), [self.image_size, self.image_size])
        return torch.stack([_height_width_channels(view) for view in views]), self.files.labels[index]


def _height_width_channels(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image))


def transforms() -> Any:
    """Return torchvision's functional transforms, v2; what is random about them is drawn by the stream."""
    from plain_vs_residual.data.torchvision_import import torchvision

    return importlib.import_module(f"{torchvision.__name__}.transforms.v2.functional")
