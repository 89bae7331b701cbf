"""Shortcuts or branches of a residual network times a number that does not learn."""

from torch import Tensor, nn

from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.replacing import blocks_of


class Scaled(nn.Module):
    """What a module computes, times a number.

    Args:
        module: computes it.
        factor: the number.
    """

    def __init__(self, module: nn.Module, factor: float) -> None:
        super().__init__()
        self.module = module
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.factor * self.module(x)
        return output


def scale_shortcuts(network: nn.Module, factor: float) -> None:
    """Let each block compute relu(F(x) + factor * shortcut(x)), in place (He et al., 2016, Sec. 3.1)."""
    for _, block in blocks_of(network, ResidualBlock):
        block.shortcut = Scaled(block.shortcut, factor)


def scale_branches(network: nn.Module, seed: int) -> None:
    """Let each of n blocks compute relu(F(x) / sqrt(n) + shortcut(x)), in place.

    The sum of n branches then neither grows nor vanishes with n (Bordelon et al., 2023; Yang et al., 2023).
    """
    blocks = blocks_of(network, ResidualBlock)
    for _, block in blocks:
        last = f"bn{block.num_layers}"
        setattr(block, last, Scaled(block.get_submodule(last), len(blocks) ** -0.5))
