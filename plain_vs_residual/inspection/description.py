"""A network layer by layer (He et al., Table 1 and Sec. 4.2), as measured on the network itself."""

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import ZeroPaddedIdentity
from plain_vs_residual.modifications import Bias, modify
from plain_vs_residual.networks import abstract, num_parameters
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.settings import CIFAR10, IMAGENET, Setting
from plain_vs_residual.watching import watched

LARGEST_INPUT = 16_384


@dataclass(frozen=True, kw_only=True)
class Row:
    """One layer.

    Attributes:
        stage: as in Table 1 (``conv2_x``); ``stage 2`` in the CIFAR family, whose stages have no names (Sec. 4.2).
        layer: name of the module; a projection is known by its shortcut (``layer2.0.shortcut``).
        kind: ``convolution``, ``maximum``, ``zeros`` (option A), ``identity``, ``mean``, ``linear``, or the class
            of a module that is none of these.
        kernel: side in pixels; 0 where there is none.
        stride: in pixels.
        padding: pixels on each side.
        channels: in and out.
        sizes: sides of the feature map in and out, in pixels.
        parameters: without those of the BN.
        bn_parameters: of the BN that follows.
        multiply_adds: for one image.
        words: the arithmetic in words.
    """

    stage: str
    layer: str
    kind: str
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    channels: tuple[int, int]
    sizes: tuple[int, int]
    parameters: int = 0
    bn_parameters: int = 0
    multiply_adds: int = 0
    words: str

    @property
    def geometry(self) -> str:
        """Kernel, stride and padding in the manner of Fig. 3, such as ``7x7 /2 p3``."""
        if self.kernel:
            return f"{self.kernel}x{self.kernel} /{self.stride} p{self.padding}"
        return f"{self.kind} /{self.stride}" if self.kind == "zeros" else self.kind


@dataclass(frozen=True)
class Description:
    """A network in a setting: rows in the order of computation, and the parameters counted apart from them."""

    architecture: Architecture
    setting: Setting
    image_size: int
    rows: tuple[Row, ...]
    parameters: int
    folded: bool  # biases are in the place of BN

    @property
    def multiply_adds(self) -> int:
        """For one image."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def output_sizes(self) -> dict[str, int]:
        """Side of the last feature map of every stage, in pixels: the second column of Table 1."""
        return {row.stage: row.sizes[1] for row in self.rows}

    @property
    def weighted_layers(self) -> int:
        """Layers with weights, projections not counted: the number in the network's name."""
        return sum(row.kind in ("convolution", "linear") and "shortcut" not in row.layer for row in self.rows)


def describe(
    architecture: Architecture,
    setting: Setting | None = None,
    image_size: int | None = None,
    *,
    folded: bool = False,
) -> Description:
    """Run the real network on one abstract image (meta device) and note what every layer does to it.

    Args:
        architecture: which network.
        setting: its stem, width and images; if left out, ``imagenet``, or ``cifar10`` for the CIFAR family.
        image_size: side of the image in pixels; the setting's if left out.
        folded: whether biases are in the place of BN, as in what a foldable network folds into.

    Raises:
        ValueError: if the image is too small (says what works) or too large; if a residual network is folded.
    """
    setting = setting or (CIFAR10 if architecture.family == "cifar" else IMAGENET)
    size = setting.image_size if image_size is None else image_size
    if size > LARGEST_INPUT:
        raise ValueError(f"input {size}: accepted are at most {LARGEST_INPUT} px")
    kind = IMAGE_KINDS[setting.data]
    network = abstract(architecture, setting, channels=kind.channels, num_classes=kind.num_classes)
    if folded:
        with torch.device("meta"):
            modify(network, "folded", seed=0)
    try:
        rows = measure(network, architecture, (kind.channels, size, size))
    except RuntimeError as error:
        smallest = smallest_input(network, architecture, kind.channels)
        if smallest is None or size >= smallest:  # not the size's fault: the network itself is broken
            raise
        raise ValueError(
            f"input {size} is too small for {architecture.name}: a feature map would vanish or a kernel would no "
            f"longer fit; the smallest input that works is {smallest} px"
        ) from error
    return Description(architecture, setting, size, tuple(rows), num_parameters(network), folded)


def smallest_input(network: nn.Module, architecture: Architecture, channels: int) -> int | None:
    """Find the smallest side in pixels that the network can compute, found by trying; None if it never can."""

    def works(size: int) -> bool:
        try:
            measure(network, architecture, (channels, size, size))
        except RuntimeError:
            return False
        return True

    # Doubled first: a size that is too small fails early, one that works takes a whole pass.
    size = 1
    while not works(size):
        size *= 2
        if size > LARGEST_INPUT:
            return None
    return bisect_left(range(size), True, lo=size // 2 + 1, key=works) if size > 1 else 1


def measure(network: nn.Module, architecture: Architecture, image_shape: tuple[int, int, int]) -> list[Row]:
    """Make a row for every layer, in the order of computation.

    Args:
        network: on the meta device; in evaluation mode afterwards.
        architecture: which network it is.
        image_shape: (C, H, W) with H = W.

    Raises:
        RuntimeError: if the network cannot compute such an image, or a feature map is empty.
    """
    rows: list[Row] = []

    def note(layer: str, module: nn.Module, x: Tensor, output: Tensor) -> None:
        if not output.numel():
            raise RuntimeError(f"the output of {layer} is empty")
        if isinstance(module, nn.BatchNorm2d) and rows:
            rows[-1] = replace(rows[-1], bn_parameters=rows[-1].bn_parameters + num_parameters(module))
            return
        if isinstance(module, Bias) and rows:
            words = f"{rows[-1].words}; a bias per channel, no BN"
            rows[-1] = replace(rows[-1], parameters=rows[-1].parameters + num_parameters(module), words=words)
            return
        if isinstance(module, nn.Linear):  # what is between the last block and fc is no module
            rows.append(_mean(rows[-1]))
        rows.append(_row(layer, module, x, output, architecture))

    observers = {
        layer: partial(note, re.sub(r"\.shortcut\.0$", ".shortcut", layer), module)
        for layer, module in network.named_modules()
        if not list(module.children()) and not (layer == "maxpool" and isinstance(module, nn.Identity))
    }
    with watched(network, observers), torch.no_grad():
        network.eval()(torch.empty(1, *image_shape, device="meta"))
    return rows


def _row(layer: str, module: nn.Module, x: Tensor, output: Tensor, architecture: Architecture) -> Row:
    """Make the row of a layer: what every layer has, and in words what a layer of its kind does."""
    size, out = (tensor.shape[-1] if tensor.dim() == 4 else 1 for tensor in (x, output))
    before, after = x.shape[1], output.shape[1]
    row = Row(
        stage=_stage(layer, architecture),
        layer=layer,
        kind=type(module).__name__,
        channels=(before, after),
        sizes=(size, out),
        parameters=num_parameters(module),
        words=type(module).__name__,
    )
    match module:
        case nn.Conv2d():
            what = f"option {architecture.option}, projection: " if layer.endswith(".shortcut") else ""
            row = _window(row, module, "convolution")
            return replace(row, multiply_adds=output.numel() * module.weight[0].numel(), words=what + row.words)
        case nn.MaxPool2d():
            return _window(row, module, "maximum", "maximum of ")
        case ZeroPaddedIdentity(stride=stride):
            pixels = {1: "every pixel", 2: "every 2nd pixel"}.get(stride, f"one pixel in {stride}")
            words = f"option A: {pixels} ({size} gives {out}), {after - before} new channels of zeros"
            return replace(row, kind="zeros", stride=stride, words=words)
        case nn.Identity():
            return replace(row, kind="identity", words="identity: x itself")
        case nn.Linear():
            words = f"{before} numbers to {after} logits, each with a bias"
            return replace(row, kind="linear", multiply_adds=output.numel() * before, words=words)
    return row


def _window(row: Row, module: nn.Conv2d | nn.MaxPool2d, kind: str, what: str = "") -> Row:
    """Complete the row of a layer that moves a window over its padded input."""
    kernel, stride, padding = map(_side, (module.kernel_size, module.stride, module.padding))
    size, out = row.sizes
    padded = f"{size} + 2*{padding} padded to {size + 2 * padding}" if padding else f"{size} not padded"
    words = f"{padded}, {what}{kernel}x{kernel} at stride {stride} gives {out}"
    return replace(row, kind=kind, kernel=kernel, stride=stride, padding=padding, words=words)


def _mean(before: Row) -> Row:
    """Make the row of global average pooling of what comes out of ``before``."""
    channels, size = before.channels[1], before.sizes[1]
    return Row(
        stage="average pool",
        layer="(mean over H, W)",
        kind="mean",
        channels=(channels, channels),
        sizes=(size, 1),
        words=f"mean over all {size}x{size} positions gives 1: {channels} numbers, whatever the input size",
    )


def _side(value: object) -> int:
    """Return one side of a kernel, stride or padding; all of them are square here."""
    first = value[0] if isinstance(value, tuple) else value
    if not isinstance(first, int):
        raise ValueError(f"'{value}' instead of a number of pixels cannot be described")
    return first


def _stage(layer: str, architecture: Architecture) -> str:
    top = layer.split(".", maxsplit=1)[0]
    if top == "fc":
        return "average pool"
    number = int(top[-1]) if top.startswith("layer") else 1
    if architecture.family == "cifar":  # conv1 belongs to the first stage: 1 + 2n, 2n and 2n layers (Sec. 4.2)
        return f"stage {number}"
    return "conv1" if top == "conv1" else f"conv{number + 1}_x"  # Table 1 lists the pooling with conv2_x
