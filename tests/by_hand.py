"""Tiny networks whose numbers are computed a second time: from their weights, by the paper's equations.

``ByHand`` calls no module of the network. It reads weights by their names, so that what the suite measures by
copies, hooks and modes is compared with what plain functions give.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, pad, relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.networks import Network, initialise
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.run import Job, Run
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.initial_network import drawn_network

TINY = DIGITS.with_changes(
    {"image_size": 8, "stem_width": 3, "batch_size": 8, "epochs": None, "iterations": 12, "evaluations": 3}
)
CPU = torch.device("cpu")
Statistics = Mapping[str, tuple[Tensor, Tensor]]  # mean and variance of each channel, by name of the BN


def tiny_network(option: str | None, blocks: Sequence[int] = (2, 2), *, seed: int = 0) -> Network:
    """Return a network of basic blocks, 3 channels wide and more in later stages, as training could leave it."""
    shape: Any = SimpleNamespace(
        family="imagenet", blocks_per_stage=blocks, bottleneck=False, stride_in_1x1=False, option=option
    )
    network = Network(shape, TINY, channels=1, num_classes=3)
    initialise(network, seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.get_buffer("running_mean"), -0.3, 0.3, generator=generator)
            nn.init.uniform_(module.get_buffer("running_var"), 0.3, 1.5, generator=generator)
            module.get_buffer("num_batches_tracked").fill_(12)
    return network


def tiny_images() -> Dataset:
    """Return forty training and twelve validation images of three classes, whose classes hardly differ."""
    generator = torch.Generator().manual_seed(5)

    def images(num: int) -> Images:
        labels = torch.arange(num) % 3
        noise = torch.randint(0, 200, (num, 8, 8, 1), generator=generator)
        return Images((noise + 25 * labels[:, None, None, None]).to(torch.uint8), labels)

    return Dataset("tiny", ("a", "b", "c"), images(40), images(12))


def seen_by(dataset: Dataset, num: int | None = None) -> tuple[Tensor, Tensor]:
    """Return ``num`` evenly spaced training images, or all: a pixel's mean subtracted, in units of 255."""
    held = dataset.training
    assert isinstance(held, Images)
    every = [index * len(held) // num for index in range(num)] if num else list(range(len(held)))
    pixels = held.pixels.double()
    return ((pixels[every] - pixels.mean(dim=0)) / 255).float().permute(0, 3, 1, 2), held.labels[every]


@dataclass(frozen=True, kw_only=True)
class TinySubject(Subject):
    """A subject whose initial network is given, too."""

    start: Network

    def untrained(self) -> Network:
        return copy.deepcopy(self.start).train()


def tiny_subject(trained: Network, start: Network | None = None, seed: int = 7) -> TinySubject:
    """Return a subject of a tiny network, and of the one it began as."""
    return TinySubject(
        source=Path("nowhere"),
        architecture=Architecture.parse("cifar-residual8-A"),
        setting=TINY,
        seed=seed,
        read=lambda: trained,
        dataset=tiny_images(),
        device=CPU,
        precision="fp32",
        start=start or trained,
    )


@dataclass
class ByHand:
    """A network of basic blocks, computed from its weights.

    Attributes:
        network: whose weights and running statistics are read.
        removed: names of places whose block is left out: its shortcut stays, and the ReLU behind it.
        order: which block stands at a place, where it is not its own.
        weights: instead of the network's own.
        outputs: of every convolution, BN and block by the name of the place, of the last images.
    """

    network: nn.Module
    removed: Sequence[str] = ()
    order: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Tensor] | None = None
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = dict(self.network.named_parameters()) | dict(self.weights or {})

    @property
    def running(self) -> Statistics:
        """The running statistics of the network, by name of the BN."""
        found = dict(self.network.named_buffers())
        names = [name.removesuffix(".running_mean") for name in found if name.endswith(".running_mean")]
        return {name: (found[f"{name}.running_mean"], found[f"{name}.running_var"]) for name in names}

    def estimated(self, images: Tensor) -> Statistics:
        """Return the statistics of one batch of images, the variance unbiased as torch keeps it."""
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}
        with torch.no_grad():
            self.logits(images)
        return dict(self.seen)

    def logits(self, images: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Compute logits; BN by the given statistics, or by those of the batch."""
        self.seen, self.statistics, self.outputs = {}, statistics, {}
        x = relu(self._normalised("bn1", "bn1", self._convolved("conv1", "conv1", images, 1)))
        for place in block_names(self.network):
            x = self._block(place, self.order.get(place, place), x)
            self.outputs[place] = x
        return x.mean(dim=(2, 3)) @ self.values["fc.weight"].T + self.values["fc.bias"]

    def error(self, images: Tensor, labels: Tensor, statistics: Statistics | None = None) -> float:
        """Return the error in percent."""
        with torch.no_grad():
            wrong = self.logits(images, statistics).argmax(dim=1) != labels
        return 100 * wrong.double().mean().item()

    def loss(self, images: Tensor, labels: Tensor, statistics: Statistics | None = None) -> float:
        """Return the mean loss in nats."""
        with torch.no_grad():
            return cross_entropy(self.logits(images, statistics), labels).item()

    def _block(self, place: str, block: str, x: Tensor) -> Tensor:
        residual = isinstance(self.network.get_submodule(block), ResidualBlock)
        self.outputs[f"{place}.x"] = x
        stride = 2 if block.endswith(".0") and not block.startswith("layer1.") else 1
        shortcut = self._shortcut(block, x, stride)
        if place in self.removed:
            return relu(shortcut) if residual else x
        inner = self._convolved(f"{place}.conv1", f"{block}.conv1", x, stride)
        inner = relu(self._normalised(f"{place}.bn1", f"{block}.bn1", inner))
        inner = self._convolved(f"{place}.conv2", f"{block}.conv2", inner, 1)
        function = self._normalised(f"{place}.bn2", f"{block}.bn2", inner)
        self.outputs[f"{place}.shortcut"] = shortcut
        return relu(function + shortcut) if residual else relu(function)

    def _shortcut(self, block: str, x: Tensor, stride: int) -> Tensor:
        if f"{block}.shortcut.0.weight" in self.values:
            projected = self._convolved(f"{block}.shortcut.0", f"{block}.shortcut.0", x, stride, padding=0)
            return self._normalised(f"{block}.shortcut.1", f"{block}.shortcut.1", projected)
        new = self.values[f"{block}.conv1.weight"].shape[0] - x.shape[1]
        return pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, new))

    def _convolved(self, place: str, name: str, x: Tensor, stride: int, padding: int = 1) -> Tensor:
        self.outputs[place] = conv2d(x, self.values[f"{name}.weight"], stride=stride, padding=padding)
        return self.outputs[place]

    def _normalised(self, place: str, name: str, x: Tensor) -> Tensor:
        mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
        self.seen[name] = (mean.detach(), x.detach().var(dim=(0, 2, 3)))
        if self.statistics is not None:
            mean, variance = self.statistics[name]
        scale, shift = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        scale = scale / (variance + 1e-5).sqrt()
        self.outputs[place] = x * scale[:, None, None] + (shift - mean * scale)[:, None, None]
        return self.outputs[place]


def block_names(network: nn.Module) -> list[str]:
    """Name the blocks in their order."""
    names = (name.removesuffix(".conv2.weight") for name, _ in network.named_parameters() if "conv2" in name)
    return list(names)


def run_seen_while_it_trains(network: str, folder: Path, **changes: object) -> FinishedRun:
    """Return a run that can be trained by the way, without a record; its images are cropped and mirrored."""
    setting = TINY.with_changes({"crop_padding": 1, "flip": True, **changes})
    run = Run(Architecture.parse(network), setting, seed=3)
    arithmetic = Arithmetic(precision="fp32", execution=Execution.EAGER, deterministic=False, threads=1)
    return FinishedRun.of(Job(run, arithmetic, RunFolder(folder / run.name)), CPU, tiny_images())


def trained_by_hand(run: Run, dataset: Dataset) -> Iterator[Network]:
    """Yield the network of a run before training and after each iteration: SGD as its formula is written down."""
    network, setting = drawn_network(run, dataset), run.setting
    feed = ResidentFeed(dataset, setting, run.seed, CPU)
    assert setting.iterations is not None
    moved = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    yield network
    for iteration, inputs in enumerate(feed.inputs(0, setting.iterations)):
        images, labels = feed.batch(*inputs)
        network.train().zero_grad()
        cross_entropy(network(images), labels).backward()
        rate = setting.learning_rate * (1 - iteration / setting.iterations)
        with torch.no_grad():
            for name, value in network.named_parameters():
                assert value.grad is not None
                moved[name] = setting.momentum * moved[name] + value.grad + setting.weight_decay * value
                value -= rate * moved[name]
        yield network


def as_dict(rows: Sequence[MeasuredRow]) -> dict[tuple[int, str, str, float], float]:
    """Return values by iteration, quantity, place and position; no two rows may be of the same."""
    found = {(row.iteration, row.quantity, row.place, row.position): row.value for row in rows}
    assert len(found) == len(rows)
    return found
