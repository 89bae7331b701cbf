"""Several streams instead of one shortcut: hyper-connections (Zhu et al., 2024) and mHC (Xie et al., 2025).

Where a residual network carries one x past F, there are n copies of it here. F reads a weighted sum of them and
writes to all, and from block to block an n x n matrix mixes them: learned freely, or kept doubly stochastic, so
that what is carried past F is neither amplified nor lost. The weights are learned, and do not depend on the images
(the papers' static variant). Streams lie one after the other in the first dimension, (n * N, C, H, W).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.replacing import blocks_of, replace

NUM_STREAMS = 4
SINKHORN_ITERATIONS = 20  # as in mHC
SHARPNESS = math.log(27)  # so many times the identity is as logits a matrix with 0.9 on its diagonal
# What blocks write to the streams before training, in turn: 1 on average. Were it 1 for all, streams would be
# equal, a matrix whose rows sum to 1 would leave them so, its gradient would be 0, and it would never learn.
WRITES = (1 / 2, 5 / 6, 7 / 6, 3 / 2)

Constraint = Callable[[Tensor], Tensor]


class StreamBlock(ResidualBlock):
    """A residual block between streams h_1 to h_n.

    h_i becomes relu(w_i F(sum_j r_j h_j) + shortcut(sum_j M_ij h_j)), with learned weights r, w and M.

    Before training it reads one of the streams, which take turns, writes to all, and each stream stays (nearly)
    where it is. If it wrote to all alike, every stream would be what the ordinary network computes.

    Args:
        block: an ordinary one, whose layers and shortcut these are.
        number: of the block in the network, from 0.
        constrain: makes M of what is learned, which begins as the identity, (n, n).
    """

    def __init__(self, block: ResidualBlock, number: int, constrain: Constraint) -> None:
        super().__init__(block.layers(), block.shortcut)
        self.reads = nn.Parameter(torch.eye(NUM_STREAMS)[number % NUM_STREAMS])
        self.writes = nn.Parameter(torch.tensor(WRITES).roll(number))
        self.mixing = nn.Parameter(torch.eye(NUM_STREAMS))
        self.constrain = constrain

    def matrix(self) -> Tensor:
        """Return M, (n, n): row i says what stream i is mixed of."""
        return self.constrain(self.mixing)

    def forward(self, streams: Tensor) -> Tensor:
        x = combined(self.reads[None], streams)
        written = combined(self.writes[:, None], self.residual_function(x))
        return relu(written + self.shortcut(combined(self.matrix(), streams)))


def combined(weights: Tensor, streams: Tensor) -> Tensor:
    """Return weighted sums of streams: weights (m, n), streams (n * N, C, H, W) to (m * N, C, H, W)."""
    channels_last = streams.movedim(1, -1)  # as they lie in memory
    rows = weights @ channels_last.reshape(weights.shape[1], -1)
    return rows.reshape(-1, *channels_last.shape[1:]).movedim(-1, 1)


def free(mixing: Tensor) -> Tensor:
    """Leave a matrix as it is learned."""
    return mixing


def doubly_stochastic(logits: Tensor) -> Tensor:
    """Make a matrix of logits whose rows and columns each sum to 1, by Sinkhorn and Knopp's iteration."""
    matrix = (logits - logits.amax()).exp()
    for _ in range(SINKHORN_ITERATIONS):
        matrix = matrix / matrix.sum(dim=1, keepdim=True)
        matrix = matrix / matrix.sum(dim=0, keepdim=True)
    return matrix


def near_identity(mixing: Tensor) -> Tensor:
    """Make a doubly stochastic matrix of what is learned, near the identity if that is the identity.

    It cannot be the identity itself: the logits would be infinite, and their gradients 0.
    """
    return doubly_stochastic(SHARPNESS * mixing)


def free_streams(network: nn.Module, seed: int) -> None:
    """Carry four streams past F, mixed by matrices that begin as the identity, in place."""
    _carry_streams(network, free)


def doubly_stochastic_streams(network: nn.Module, seed: int) -> None:
    """Carry four streams past F, mixed by doubly stochastic matrices that begin near the identity, in place.

    The first block mixes four copies of one x, and whatever its matrix is, they stay equal.
    """
    _carry_streams(network, near_identity)


def _carry_streams(network: nn.Module, constrain: Constraint) -> None:
    name = ""
    for number, (name, block) in enumerate(blocks_of(network, ResidualBlock)):
        replace(network, name, StreamBlock(block, number, constrain))
    replace(network, "maxpool", nn.Sequential(network.get_submodule("maxpool"), Copied()))
    last_stage = network.get_submodule(name.rpartition(".")[0])
    last_stage.append(Averaged())  # type: ignore[operator]


class Copied(nn.Module):
    """Begins every stream with x: (N, C, H, W) to (n * N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x] * NUM_STREAMS)


class Averaged(nn.Module):
    """Ends with the mean of the streams: (n * N, C, H, W) to (N, C, H, W)."""

    def forward(self, streams: Tensor) -> Tensor:
        return combined(streams.new_full((1, NUM_STREAMS), 1 / NUM_STREAMS), streams)
