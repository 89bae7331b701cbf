"""What steps after building have in common: finding the parts of a network, and putting others in their places."""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.randomness import keyed_generator

Block = TypeVar("Block", bound=PlainBlock)


def blocks_of(network: nn.Module, kind: type[Block]) -> list[tuple[str, Block]]:
    """Return the blocks of a kind with their names, in order.

    Raises:
        ValueError: if there are none: then the network has no shortcuts.
    """
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]
    if not found:
        raise ValueError("a network without shortcuts cannot be modified like a residual one")
    return found


def plain_blocks_of(network: nn.Module, what: str) -> Iterator[tuple[str, PlainBlock]]:
    """Yield the blocks of a plain network with their names.

    Raises:
        ValueError: if it has shortcuts; says what then cannot be done.
    """
    for name, block in blocks_of(network, PlainBlock):
        if isinstance(block, ResidualBlock):
            raise ValueError(f"a residual network cannot be {what}; take a plain one")
        yield name, block


def normalisations_of(network: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Yield the BN layers with their names."""
    yield from ((name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d))


def convolutions_of(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the 3x3 convolutions with their names."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            yield name, module


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of that name."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def orthogonal(outputs: int, inputs: int, seed: int, name: str) -> Tensor:
    """Draw a matrix (outputs, inputs) with orthonormal columns, or rows where there are more inputs."""
    return nn.init.orthogonal_(torch.empty(outputs, inputs), generator=keyed_generator(seed, "orthogonal", name))
