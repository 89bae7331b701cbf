"""Layer responses (He et al., Fig. 7) and the size of F(x) against x, in evaluation mode."""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.modifications import PreActivationBlock
from plain_vs_residual.records.models import ResponseKind, ResponseRow

NUM_IMAGES = 1000
Moment = Literal["initial", "final"]


class _Moments:
    """Sum, sum of squares and number of elements, in double precision."""

    def __init__(self) -> None:
        self.num, self.total, self.squares = 0, 0.0, 0.0

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.add(output.detach().float())

    def add(self, values: Tensor) -> None:
        self.num += values.numel()
        self.total += values.sum(dtype=torch.float64).item()
        self.squares += values.square().sum(dtype=torch.float64).item()

    def std(self) -> float:
        mean = self.total / self.num
        return math.sqrt(max(self.squares / self.num - mean**2, 0.0))

    def rms(self) -> float:
        return math.sqrt(self.squares / self.num)


class _BlockMoments:
    """What a block's residual function and shortcut give, and what its output owes to the shortcut."""

    def __init__(self, block: PlainBlock) -> None:
        self.function, self.shortcut, self.output, self.owed = (_Moments() for _ in range(4))
        self.product = 0.0
        self.last_function = self.last_shortcut = torch.empty(0)
        # What gives F(x), and whether a ReLU follows the addition.
        self.last_relu = not isinstance(block, PreActivationBlock)
        last_layer = block.get_submodule(f"{'bn' if self.last_relu else 'conv'}{block.num_layers}")
        self.hooks = [
            last_layer.register_forward_hook(self._note_function),
            block.register_forward_hook(self._note_output),
        ]
        self.residual = isinstance(block, ResidualBlock)
        if isinstance(block, ResidualBlock):
            self.hooks.append(block.shortcut.register_forward_hook(self._note_shortcut))

    def _note_function(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.last_function = output.detach().float()
        self.function.add(self.last_function)

    def _note_shortcut(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.last_shortcut = output.detach().float()
        self.shortcut.add(self.last_shortcut)

    def _note_output(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        values = output.detach().float()
        self.output.add(values)
        self.owed.add(values - (relu(self.last_function) if self.last_relu else self.last_function))
        if self.residual:
            self.product += (self.last_function * self.last_shortcut).sum(dtype=torch.float64).item()

    def values(self) -> dict[ResponseKind, float]:
        """Return the block's numbers by kind of row."""
        share = _over(self.owed.rms(), self.output.rms())
        if not self.residual:
            return {"shortcut_share": share}
        lengths = self.function.num * self.function.rms() * self.shortcut.rms()
        return {
            "ratio": _over(self.function.rms(), self.shortcut.rms()),
            "cosine": _over(self.product, lengths),
            "shortcut_share": share,
        }


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def layer_responses(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], moment: Moment = "final"
) -> list[ResponseRow]:
    """Measure every 3x3 layer and every block on the given images.

    Args:
        network: its mode is evaluation while it is measured, and as before afterwards.
        batches: images float (N, C, H, W) and labels; all elements of all images are pooled.
        moment: noted in the rows.

    Returns:
        Rows of kind ``response_std``, a row per 3x3 convolution: standard deviation of the output of the BN after
        it, before ReLU or addition. Rows of kind ``shortcut_share``, a row per block: root mean square of what the
        output owes to the shortcut, that is output - relu(F(x)), over that of the output; 0 for a plain block. For
        residual blocks also ``ratio``: root mean square of F(x) over that of x, the shortcut's output; and
        ``cosine`` of F(x) and x.
    """
    modules = dict(network.named_modules())
    normalised: dict[str, _Moments] = {}
    blocks: dict[str, _BlockMoments] = {}
    hooks = []
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            normalised[name] = _Moments()
            hooks.append(modules[name.replace("conv", "bn")].register_forward_hook(normalised[name]))
        if isinstance(module, PlainBlock):
            blocks[name] = _BlockMoments(module)
            hooks += blocks[name].hooks
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for images, _ in batches:
                network(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    rows = [
        ResponseRow(moment=moment, kind="response_std", order=order, layer=name, value=moments.std())
        for order, (name, moments) in enumerate(normalised.items(), start=1)
    ]
    rows += [
        ResponseRow(moment=moment, kind=kind, order=order, layer=name, value=value)
        for order, (name, block) in enumerate(blocks.items(), start=1)
        for kind, value in block.values().items()
    ]
    return rows


def mean_of(rows: Sequence[ResponseRow], kind: str) -> float | None:
    """Average the rows of one kind; None where there are none."""
    values = [row.value for row in rows if row.kind == kind]
    return sum(values) / len(values) if values else None


def with_estimated_statistics(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> nn.Module:
    """Return a copy whose running BN statistics are those of the given images.

    An untrained network has empty running statistics, and in evaluation mode would not normalise at all.
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
