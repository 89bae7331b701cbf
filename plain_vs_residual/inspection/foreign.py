"""Networks from elsewhere on this suite's images: their error and their layer responses."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

import pandas as pd
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.batches import Batch, Part
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.image_folder import PARTS
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.inspection.normalisation import Normalisation
from plain_vs_residual.inspection.padding import zeros_moved_to_the_end
from plain_vs_residual.inspection.weights import load_weights, network_for, read_weights
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses, with_estimated_statistics
from plain_vs_residual.networks import Network, build, num_parameters, on_device
from plain_vs_residual.report.figures.responses import draw_responses, is_wide, label_responses, response_panels
from plain_vs_residual.report.figures.style import Drawn, write_figure
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.evaluation import Errors
from plain_vs_residual.training.evaluation import evaluate as evaluate_network
from plain_vs_residual.training.precision import autocast, prepare_arithmetic, this_process

# An error above this part of chance is worth a word: a network that was trained errs less.
NEAR_CHANCE = 0.8


@dataclass(frozen=True)
class Subject:
    """A network from elsewhere with the images it is to be measured on."""

    checkpoint: Path
    architecture: Architecture
    network: Network
    setting: Setting
    dataset: Dataset
    normalisation: Normalisation
    part: Part
    device: torch.device
    precision: Precision

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield images float (N, C, H, W) as the network wants them, in one centred view, and labels int64 (N)."""
        if not self.normalisation.mean:
            yield from make_feed(self.dataset, self.setting, 0, self.device).evaluation_batches(self.part, limit)
            return
        raw = self.setting.with_changes({"subtract_mean": False, "pixel_range": "0..1"})
        # The other part was not decoded, and no mean is taken from it.
        chosen = getattr(self.dataset, self.part)
        feed = make_feed(replace(self.dataset, training=chosen, validation=chosen), raw, 0, self.device)
        if isinstance(feed, LoaderFeed):
            feed.mean, feed.std = torch.zeros_like(feed.mean), torch.ones_like(feed.std)
        mean, std = (
            torch.tensor(values, device=self.device)[:, None, None]
            for values in (self.normalisation.mean, self.normalisation.std)
        )
        for images, labels in feed.evaluation_batches(self.part, limit):
            yield (images - mean) / std, labels

    @property
    def num_images(self) -> int:
        """Images of the chosen part."""
        return len(self.dataset.training if self.part == "training" else self.dataset.validation)

    def describe(self, num_images: int) -> str:
        """Say which network and images this is about, and how the images are shown to the network."""
        spaced = f"{num_images:,} images" + (", evenly spaced" if num_images < self.num_images else "")
        return (
            f"{self.checkpoint.name} as {self.architecture.label} ({num_parameters(self.network):,} parameters)\n"
            f"{self.dataset.name}, {self.part}: {spaced}, {self.setting.image_size} px, "
            f"--normalise {self.normalisation.name}; {self.precision} on {self.device.type}"
            + (f"\nnote: {self.dataset.caveat}" if self.dataset.caveat else "")
        )


def open_subject(
    checkpoint: Path,
    *,
    network: str,
    setting: str | None,
    data: Path | None,
    normalise: str,
    part: str,
    device: torch.device,
    precision: Precision,
    zero_padding: str = "end",
) -> Subject:
    """Read a checkpoint, build its network and find the images; what is cheap to check is checked first.

    Args:
        checkpoint: see :func:`plain_vs_residual.inspection.weights.read_weights`.
        network: name such as ``cifar-residual20-A``.
        setting: kind and size of the images; ``cifar10`` for the CIFAR family and ``imagenet`` else, if None.
        data: where the images are, as for training.
        normalise: see :meth:`Normalisation.parse`.
        part: ``training`` or ``validation``.
        zero_padding: ``end``, or ``both`` for networks whose option A pads both sides of the channels.
        device: where the network computes.
        precision: in which it computes.

    Raises:
        ValueError: if one of them is wrong, or they do not go together.
        FileNotFoundError: if CIFAR-10 is neither here nor to be downloaded.
    """
    architecture = Architecture.parse(network)
    chosen = find_setting(setting or ("cifar10" if architecture.family == "cifar" else "imagenet"))
    normalisation = Normalisation.parse(normalise)
    if part not in ("training", "validation"):
        raise ValueError(f"--part {part}: accepted are training and validation")
    state = read_weights(checkpoint)
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{checkpoint}: {name} holds values that are not finite; the training diverged")
    if zero_padding not in ("end", "both"):
        raise ValueError(f"--zero-padding {zero_padding}: accepted are end and both")
    built = network_for(state, architecture, chosen, checkpoint)
    if zero_padding == "both":
        load_weights(built, zeros_moved_to_the_end(state, architecture), str(checkpoint))
    dataset = split(load_dataset(chosen, data, (part,) if normalisation.mean else PARTS), chosen.split)
    channels = built.conv1.in_channels
    if channels != dataset.channels:
        raise ValueError(
            f"{checkpoint}: the network sees {channels} channels, the images of {dataset.name} have "
            f"{dataset.channels}"
        )
    if len(normalisation.mean) not in (0, 1, channels):
        raise ValueError(
            f"--normalise {normalise}: gives {len(normalisation.mean)} channels, the images of {dataset.name} "
            f"have {channels}; give MEAN/STD with {channels} or 1 numbers each, or ours"
        )
    prepare_arithmetic(device, this_process(precision))
    built = on_device(built, device)
    chosen_part: Part = next(known for known in get_args(Part) if known == part)
    return Subject(checkpoint, architecture, built, chosen, dataset, normalisation, chosen_part, device, precision)


def evaluate(subject: Subject) -> Errors:
    """Take the errors of a network from elsewhere.

    Raises:
        ValueError: if the network tells another number of classes apart than the images have.
    """
    num_classes, classes = subject.network.fc.out_features, len(subject.dataset.classes)
    if num_classes != classes:
        raise ValueError(
            f"{subject.checkpoint}: tells {num_classes} classes apart, {subject.dataset.name} has {classes}; "
            "an error needs the classes it was trained on (responses does not)"
        )
    return evaluate_network(subject.network, subject.batches(), subject.precision)


def evaluation_text(subject: Subject) -> str:
    """Return what the command ``evaluate`` prints."""
    errors = evaluate(subject)
    several = f", top-5 error {errors.top5_error:.2f} %" if len(subject.dataset.classes) > 10 else ""
    lines = [subject.describe(subject.num_images), f"error {errors.error:.2f} %{several}, loss {errors.loss:.4f}"]
    chance = 100 * (1 - 1 / len(subject.dataset.classes))
    if errors.error > NEAR_CHANCE * chance:
        lines.append(
            f"note: that is near chance ({chance:.1f} %); does --normalise fit its training, and, with option A, "
            "--zero-padding (many published networks of the CIFAR family need both)?"
        )
    return "\n".join(lines)


def responses_table(subject: Subject) -> pd.DataFrame:
    """Make a row per layer and moment: ``final`` for the checkpoint, ``initial`` for its untrained twin.

    The twin is the same network with initial weights and BN statistics of the same images: without it the
    ratio of F(x) to x means little, because x accumulates from block to block even untrained.
    """
    with autocast(subject.device, subject.precision):
        final = layer_responses(subject.network, subject.batches(NUM_IMAGES))
        untrained = on_device(_untrained(subject), subject.device)
        twin = with_estimated_statistics(untrained, subject.batches(NUM_IMAGES))
        initial = layer_responses(twin, subject.batches(NUM_IMAGES), "initial")
    table = pd.DataFrame([row.model_dump() for row in (*initial, *final)])
    table.insert(0, "network", subject.architecture.name)
    table.insert(1, "seed", 0)
    return table


def _untrained(subject: Subject) -> Network:
    return build(
        subject.architecture,
        subject.setting,
        channels=subject.network.conv1.in_channels,
        num_classes=subject.network.fc.out_features,
        seed=0,
    )


def measure_responses(subject: Subject, folder: Path) -> str:
    """Measure the responses and write ``layer_responses.csv``, ``.png`` and ``.svg`` (He et al., Fig. 7).

    Returns:
        What the command ``responses`` prints.
    """
    num_images = min(NUM_IMAGES, subject.num_images)
    table = responses_table(subject)
    caption = (
        f"{subject.checkpoint.name} as {subject.architecture.label}\n"
        f"{num_images:,} {subject.part} images of {subject.dataset.name}, evaluation mode"
    )
    picture = write_figure(partial(_panels, subject.architecture, table), caption, folder, "layer_responses")
    lines = [subject.describe(num_images)]
    for kind, words in (("response_std", "mean standard deviation after BN"), ("ratio", "mean of F(x) over x")):
        means = table[table["kind"] == kind].groupby("moment")["value"].mean()
        if not means.empty:
            lines.append(f"{words}: {means['final']:.3f} ({means['initial']:.3f} at initialisation)")
    return "\n".join([*lines, str(picture.with_suffix(".csv")), str(picture)])


def _panels(architecture: Architecture, table: pd.DataFrame) -> Drawn:
    figure, panels = response_panels(residual=architecture.kind == "residual")
    draw_responses(panels, architecture, table, architecture.label)
    label_responses(panels, wide=is_wide([table]))
    return figure, table
