"""What is looked at: a trained network and the images as it sees them.

``evaluate``, ``responses``, ``inspect`` and the seminar's measurements ask the same of it, wherever it comes from:
``from_run.py`` opens a finished run of this suite, ``from_checkpoint.py`` a checkpoint from elsewhere.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.batches import Batch, Feed, Part
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.networks import Network, build, on_device
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.settings import Setting
from plain_vs_residual.subject.normalisation import OURS, Normalisation
from plain_vs_residual.training.evaluation import Errors, evaluate
from plain_vs_residual.training.schedule import num_iterations

NUM_FOR_STATISTICS = 1000


def _unwatched(batches: Iterator[Batch]) -> Iterator[Batch]:
    return batches


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained network and its images.

    Attributes:
        source: file or folder that it was opened from; named in messages.
        architecture: which network.
        setting: stem and width of the network, kind and size of the images; changes by a study included.
        seed: of the untrained network, and of whatever a measurement draws.
        read: gives the trained network, on the CPU; called when the network is first needed.
        dataset: the images.
        parts: those of the images that are decoded; no others can be asked for.
        normalisation: how pixels become what the network was trained on.
        device: where it computes.
        precision: in which it computes.
        notes: what was taken where the file does not tell, a line each.
        class_order: whose order of classes was taken.
        watch: gets the batches that are looked at, and hands them on.
    """

    source: Path
    architecture: Architecture
    setting: Setting
    seed: int
    read: Callable[[], Network]
    dataset: Dataset
    parts: Collection[Part] = get_args(Part)
    normalisation: Normalisation = OURS
    device: torch.device
    precision: Precision
    notes: tuple[str, ...] = ()
    class_order: str = "that of the images"
    watch: Callable[[Iterator[Batch]], Iterator[Batch]] = _unwatched

    @cached_property
    def network(self) -> Network:
        """The trained network, in evaluation mode, on its device; whoever looks leaves it as it is."""
        return on_device(self.read(), self.device).eval()

    def untrained(self) -> Network:
        """Build the same network with the initial weights of the seed, on the device, in training mode."""
        channels, num_classes = self.network.conv1.in_channels, self.network.fc.out_features
        twin = build(self.architecture, self.setting, channels=channels, num_classes=num_classes, seed=self.seed)
        return on_device(twin, self.device)

    def during_training(self, iterations: Sequence[int]) -> Iterator[tuple[int, nn.Module]]:
        """Show the network at those of the iterations of which a file of weights tells: before training and after.

        Whoever looks must leave parameters and running statistics as they are.
        """
        if 0 in iterations:
            yield 0, self.untrained()
        if self.num_iterations in iterations:
            yield self.num_iterations, self.network

    @property
    def num_iterations(self) -> int:
        """How many iterations a training in the setting has."""
        return num_iterations(self.setting, len(self.dataset.training))

    @cached_property
    def feed(self) -> Feed:
        """What brings the images to the device."""
        return self.normalisation.feed(self.dataset, self.setting, self.seed, self.device)

    def num_images(self, part: Part) -> int:
        """Count the images of a part."""
        return len(getattr(self.dataset, part))

    def batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        """Yield the images of a part, all or ``limit`` evenly spaced ones, in one view as the network sees them.

        Yields:
            Images float (N, C, H, W) and labels int64 (N).

        Raises:
            ValueError: if the part is not decoded.
        """
        if part not in self.parts:
            raise ValueError(f"{self.source}: was opened with its {' and '.join(self.parts)} images, not {part}")
        for images, labels in self.watch(self.feed.evaluation_batches(part, limit)):
            yield self.normalisation(images), labels

    def images(self, num: int, part: Part = "training") -> Batch:
        """Return ``num`` evenly spaced images, float (N, C, H, W), and their labels, int64 (N)."""
        images, labels = zip(*self.batches(part, num), strict=True)
        return torch.cat(images), torch.cat(labels)

    def errors(self, part: Part) -> Errors:
        """Take the network's errors on all images of a part, counted class by class.

        Raises:
            ValueError: if the network tells another number of classes apart than the images have.
        """
        num_classes, classes = self.network.fc.out_features, len(self.dataset.classes)
        if num_classes != classes:
            raise ValueError(
                f"{self.source}: tells {num_classes} classes apart, {self.dataset.name} has {classes}; "
                "an error needs the classes it was trained on (responses does not)"
            )
        return evaluate(self.network, self.batches(part), self.precision, num_classes)

    def with_estimated_statistics(self, network: nn.Module, part: Part = "training") -> nn.Module:
        """Return a copy in evaluation mode whose running BN statistics are those of 1,000 images."""
        return with_estimated_statistics(network, self.batches(part, NUM_FOR_STATISTICS)).eval()

    def generator(self, *purpose: object) -> torch.Generator:
        """Make a generator for what is drawn; equal for every network of the seed."""
        return keyed_generator(self.seed, *purpose)

    def draw(self, names: Sequence[str], number: int, *purpose: object) -> list[str]:
        """Draw some of the names without repetition, in their order; equal for equal names, seed and purpose."""
        order = torch.randperm(len(names), generator=self.generator(*purpose)).tolist()
        return [names[index] for index in sorted(order[:number])]
