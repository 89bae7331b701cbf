"""Layer responses (He et al., Fig. 7) and the size of F(x) against x, in evaluation mode."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.modifications import PreActivationBlock
from plain_vs_residual.records.models import RESPONSE_MEANS, Moment, ResponseKind
from plain_vs_residual.records.rows import ResponseRow
from plain_vs_residual.tailored import TailoredBlock
from plain_vs_residual.watching import Observer, watched

NUM_IMAGES = 1000
NOTHING = torch.empty(0)


def layer_responses(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], moment: Moment = "final"
) -> list[ResponseRow]:
    """Measure every 3x3 layer and every block on the given images.

    Args:
        network: its mode is evaluation while it is measured, and as before afterwards.
        batches: images float (N, C, H, W) and labels; all elements of all images are pooled.
        moment: noted in the rows.

    Returns:
        Rows of kind ``response_std``, a row per 3x3 convolution: standard deviation of what the layer gives before
        ReLU or addition. That is the output of the BN after it, or of what a modification put there (SkipInit's
        bias and scalar; with CReLU, x beside -x); where BN comes before it (pre-activation), the output of the
        convolution. Rows of kind ``shortcut_share``, a row per block: root mean square of what the
        output owes to the shortcut, that is output - relu(F(x)), over that of the output; 0 for a plain block. For
        residual blocks also ``ratio``: root mean square of F(x) over that of x, the shortcut's output; and
        ``cosine`` of F(x) and x.
    """
    modules, workspace = dict(network.named_modules()), _Workspace()
    layers = [
        _Layer(name, modules[name.rpartition(".")[0]], workspace)
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]
    by_output = {name: layer for layer in layers for name in layer.observers}
    blocks = [
        _Block(name, module, workspace, by_output)
        for name, module in modules.items()
        if isinstance(module, PlainBlock)
    ]
    places: list[_Layer | _Block] = [*layers, *blocks]
    was_training = network.training
    network.eval()
    try:
        with watched(network, *(place.observers for place in places)), torch.no_grad():
            for images, _ in batches:
                network(images)
    finally:
        network.train(was_training)
    return [*_rows(layers, moment), *_rows(blocks, moment)]


class _Sums:
    """Number of elements, their sum and sum of squares, in double precision."""

    def __init__(self, workspace: "_Workspace") -> None:
        self.workspace = workspace
        self.num, self.total, self.squares = 0, 0.0, 0.0

    def add(self, values: Tensor, *, for_rms: bool = False) -> None:
        """Add values, or only what :meth:`rms` needs of them."""
        self.num += values.numel()
        self.squares += self.workspace.sum_of_squares(values).item()
        if not for_rms:
            self.total += self.workspace.sum(values).item()

    def std(self) -> float:
        mean = self.total / self.num
        return math.sqrt(max(self.squares / self.num - mean**2, 0.0))

    def rms(self) -> float:
        return math.sqrt(self.squares / self.num)


class _Layer:
    """What a 3x3 layer of a block, or of the network itself, gives, summed over all images."""

    def __init__(self, name: str, block: nn.Module, workspace: "_Workspace") -> None:
        self.name = name
        gives = name if isinstance(block, PreActivationBlock) else name.replace("conv", "bn")
        self.observers: dict[str, Observer] = {gives: self._note}
        self.workspace, self.response = workspace, _Sums(workspace)

    def _note(self, x: Tensor, output: Tensor) -> None:
        self.response.add(self.workspace.in_fp32(output, "layer"))

    def values(self) -> dict[ResponseKind, float]:
        """Return the layer's numbers by kind of row."""
        return {"response_std": self.response.std()}


class _Block:
    """What a block's F and shortcut give, and what its output owes to the shortcut, summed over all images.

    Args:
        name: of the block.
        block: the module.
        workspace: of all places.
        layers: the 3x3 layers by the name of what gives their response. Where the last of a block is one, F has
            been summed up there.
    """

    def __init__(
        self, name: str, block: PlainBlock, workspace: "_Workspace", layers: Mapping[str, _Layer]
    ) -> None:
        self.name = name
        self.residual = isinstance(block, ResidualBlock)
        # What gives F(x), and whether a ReLU follows the addition.
        self.last_relu = not isinstance(block, PreActivationBlock)
        self.tailored = block if isinstance(block, TailoredBlock) else None
        last_layer = f"{name}.{'bn' if self.last_relu else 'conv'}{block.num_layers}"
        self.observers: dict[str, Observer] = {last_layer: self._note_function, name: self._note_output}
        if self.residual:
            self.observers[f"{name}.shortcut"] = self._note_shortcut
        self.summed_up_there = last_layer in layers
        self.function = layers[last_layer].response if self.summed_up_there else _Sums(workspace)
        self.shortcut, self.output, self.owed = (_Sums(workspace) for _ in range(3))
        self.workspace, self.product = workspace, 0.0
        self.last_function = self.last_shortcut = NOTHING  # of the images that are being computed

    def _note_function(self, x: Tensor, output: Tensor) -> None:
        self.last_function = self.workspace.in_fp32(output, "function")
        if not self.summed_up_there:
            self.function.add(self.last_function, for_rms=True)

    def _note_shortcut(self, x: Tensor, output: Tensor) -> None:
        self.last_shortcut = self.workspace.in_fp32(output, "shortcut")
        self.shortcut.add(self.last_shortcut, for_rms=True)

    def _note_output(self, x: Tensor, output: Tensor) -> None:
        values, function = self.workspace.in_fp32(output, "output"), self.last_function
        if len(values) > len(function):  # one F of several streams
            function = function.repeat(len(values) // len(function), 1, 1, 1)
        self.output.add(values, for_rms=True)
        scratch = self.workspace.like(values, "scratch")
        if self.tailored:
            own = self.tailored.activation(function.to(output.dtype)).float()
        else:
            own = scratch.copy_(function).relu_() if self.last_relu else function
        self.owed.add(torch.sub(values, own, out=scratch), for_rms=True)
        if self.residual:
            self.product += self.workspace.sum(torch.mul(function, self.last_shortcut, out=scratch)).item()
        self.last_function = self.last_shortcut = NOTHING

    def values(self) -> dict[ResponseKind, float]:
        """Return the block's numbers by kind of row."""
        share = _over(self.owed.rms(), self.output.rms())
        if not self.residual:
            return {"shortcut_share": share}
        lengths = self.shortcut.num * self.function.rms() * self.shortcut.rms()
        return {
            "ratio": _over(self.function.rms(), self.shortcut.rms()),
            "cosine": _over(self.product, lengths),
            "shortcut_share": share,
        }


class _Workspace:
    """Memory that is kept from layer to layer: to be given new memory for each takes longer than to compute."""

    def __init__(self) -> None:
        self.kept: dict[object, Tensor] = {}

    def like(self, values: Tensor, what: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory for something of the shape of ``values``; what was in it may be overwritten."""
        kind = (what, values.shape, values.stride(), values.device)
        if kind not in self.kept:
            self.kept[kind] = torch.empty_like(values, dtype=dtype)
        return self.kept[kind]

    def in_fp32(self, values: Tensor, what: str) -> Tensor:
        """Return values as they are in fp32, until others of that name are."""
        return values if values.dtype == torch.float32 else self.like(values, what).copy_(values)

    def sum(self, values: Tensor) -> Tensor:
        """Add up in double precision; bit for bit what ``sum(dtype=torch.float64)`` gives."""
        if values.device.type == "mps":  # which has none
            values = values.cpu()
        return self.like(values, "sum", torch.float64).copy_(values).sum()

    def sum_of_squares(self, values: Tensor) -> Tensor:
        """Add up the squares, each in fp32, in double precision."""
        return self.sum(torch.square(values, out=self.like(values, "squares")))


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _rows(places: Sequence[_Layer | _Block], moment: Moment) -> Iterator[ResponseRow]:
    for order, place in enumerate(places, start=1):
        for kind, value in place.values().items():
            yield ResponseRow(moment=moment, kind=kind, order=order, layer=place.name, value=value)


def response_means(rows: Sequence[ResponseRow]) -> dict[str, Any]:
    """Return the columns of the final record that are taken over the rows; None where there are none of a kind."""
    return {
        column: mean.of([row.value for row in rows if (row.kind, row.moment) == (mean.kind, mean.moment)])
        for column, mean in RESPONSE_MEANS.items()
    }


def with_estimated_statistics(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> nn.Module:
    """Return a copy whose running BN statistics are those of the given images.

    An untrained network has empty running statistics, and in evaluation mode would not normalise at all. Those of
    a trained one are averages over the last steps: of augmented images, and of earlier weights.
    """
    estimated = copy.deepcopy(network).train()
    for module in estimated.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for images, _ in batches:
            estimated(images)
    return estimated
