"""Layer responses (He et al., Fig. 7) and the size of F(x) against x, in evaluation mode."""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.records.models import ResponseRow

NUM_IMAGES = 1000
Moment = Literal["initial", "final"]


class _Moments:
    """Sum, sum of squares and number of elements, in double precision."""

    def __init__(self) -> None:
        self.num, self.total, self.squares = 0, 0.0, 0.0

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        values = output.detach().float()
        self.num += values.numel()
        self.total += values.sum(dtype=torch.float64).item()
        self.squares += values.square().sum(dtype=torch.float64).item()

    def std(self) -> float:
        mean = self.total / self.num
        return math.sqrt(max(self.squares / self.num - mean**2, 0.0))

    def rms(self) -> float:
        return math.sqrt(self.squares / self.num)


def layer_responses(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], moment: Moment = "final"
) -> list[ResponseRow]:
    """Measure every 3x3 layer and every residual block on the given images.

    Args:
        network: its mode is evaluation while it is measured, and as before afterwards.
        batches: images float (N, C, H, W) and labels; all elements of all images are pooled.
        moment: noted in the rows.

    Returns:
        Rows of kind ``response_std``: standard deviation of the output of the BN after a 3x3 convolution, before
        ReLU or addition; and, for residual blocks only, of kind ``ratio``: root mean square of F(x) over that of
        the shortcut's output.
    """
    modules = dict(network.named_modules())
    normalised: dict[str, _Moments] = {}
    functions: dict[str, tuple[_Moments, _Moments]] = {}
    hooks = []
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            normalised[name] = _Moments()
            hooks.append(modules[name.replace("conv", "bn")].register_forward_hook(normalised[name]))
        if isinstance(module, ResidualBlock):
            functions[name] = (_Moments(), _Moments())
            last_normalisation = module.get_submodule(f"bn{module.num_layers}")
            hooks.append(last_normalisation.register_forward_hook(functions[name][0]))
            hooks.append(module.shortcut.register_forward_hook(functions[name][1]))
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
        ResponseRow(
            moment=moment, kind="ratio", order=order, layer=name, value=f.rms() / x.rms() if x.rms() else math.nan
        )
        for order, (name, (f, x)) in enumerate(functions.items(), start=1)
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
