"""The feed of a data set that fits into the device's memory: images live there as bytes, a batch is one gather."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from plain_vs_residual.data.augmentation import crop_and_flip
from plain_vs_residual.data.batches import (
    Batch,
    Feed,
    Inputs,
    Part,
    evaluating_group,
    evaluation_name,
    evenly_spaced,
)
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.recipe import Recipe


def make_feed(dataset: Dataset, recipe: Recipe, seed: int, device: torch.device, group: Group = ALONE) -> Feed:
    """Make the feed of a data set: resident where the images are in memory, else a loader.

    Args:
        dataset: the images.
        recipe: gives the batch, and how images are augmented.
        seed: of order and augmentation.
        device: where batches are needed.
        group: the processes that share each batch.
    """
    if isinstance(dataset.training, Images):
        return ResidentFeed(dataset, recipe, seed, device, group)
    return LoaderFeed(dataset, recipe, seed, device, group)


class ResidentFeed:
    """Images as uint8 tensors on the device; a batch is one gather."""

    def __init__(
        self, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device, group: Group = ALONE
    ) -> None:
        assert isinstance(dataset.training, Images)
        assert isinstance(dataset.validation, Images)
        self.image_size = recipe.image_size
        # Enlarged images take much memory: as many at a time as in training. A CPU's caches hold few.
        many = 1000 if device.type == "cuda" else 250
        self.evaluation_batch = recipe.batch_size if recipe.enlarge_to else many
        self.padding = recipe.crop_padding
        self.device = device
        self.num_training = len(dataset.training)
        self.stream = DataStream(self.num_training, recipe.batch_size, seed, draws_of(recipe))
        self.group = group
        self.digest = ConsumptionDigest(device, group)
        self.waited_seconds = 0.0
        border = (0, 0, self.padding, self.padding, self.padding, self.padding)
        # In float64 and on the CPU: the mean is equal wherever the run takes place.
        mean = torch.from_numpy(dataset.training.pixels.numpy().mean(axis=0, dtype=np.float64)).float()
        mean *= float(recipe.subtract_mean)
        self.divisor = 255 if recipe.pixel_range == "0..1" else 1
        self.enlarge_to = recipe.enlarge_to
        self.mean = pad(mean, border).to(device)
        parts = {"training": dataset.training, "validation": dataset.validation, "test": dataset.test}
        held = {name: part for name, part in parts.items() if isinstance(part, Images)}
        self.pixels = {name: pad(part.pixels, border).to(device) for name, part in held.items()}
        self.labels = {name: part.labels.to(device) for name, part in held.items()}

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        drawn = self.stream.segment(start, stop)
        names = ("indices", "crops", "flips")
        on_device = [self.group.share(drawn[name], dim=1).to(self.device) for name in names]
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
        group, chosen = evaluating_group(self.group, limit), torch.split(wanted, self.evaluation_batch)
        batches = ((self.pixels[part][one, inner, inner], self.labels[part][one]) for one in group.taken(chosen))
        for pixels, labels in self.digest.evaluated(evaluation_name(part, limit), batches, len(chosen), group):
            yield self._prepare(pixels, self.mean[inner, inner]), labels

    def _prepare(self, pixels: Tensor, mean: Tensor) -> Tensor:
        images = ((pixels.float() - mean) / self.divisor).permute(0, 3, 1, 2)
        if not self.enlarge_to:
            return images
        enlarged = interpolate(images, (self.enlarge_to, self.enlarge_to), mode="bilinear", antialias=False)
        return enlarged.contiguous(memory_format=torch.channels_last)
