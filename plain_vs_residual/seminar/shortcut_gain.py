"""What becomes of x on its way past all F: the gain of the product of what the shortcuts multiply it by.

Xie et al. (2025), mHC: the largest sum of a row of the product of all mixing matrices, signs left out, is the most
that a stream can be amplified by on its way forward; that of a column, a gradient on its way back. A shortcut that
multiplies by a number has a matrix of one number, an ordinary one 1, a plain network 0.
"""

import torch
from torch import Tensor

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.networks import Network
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.replacing import blocks_of
from plain_vs_residual.scaling import Scaled
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.streams import StreamBlock
from plain_vs_residual.subject.subject import Subject

COLUMNS = ("shortcut_gain", "shortcut_gain_back", "largest_shortcut_gain", "mixing_change")


def measure(subject: Subject) -> Measured:
    """Multiply the matrices of the blocks, from the first on, before training and at its end."""
    networks = {0: subject.untrained(), subject.num_iterations: subject.network}
    before, after = (mixings(network) for network in networks.values())
    rows = [
        MeasuredRow(iteration=iteration, quantity=quantity, place="network", position=block, value=value)
        for iteration, matrices in zip(networks, (before, after), strict=True)
        for block, gains in enumerate(gains_along(matrices), start=1)
        for quantity, value in zip(("row_sum", "column_sum"), gains, strict=True)
    ]
    changes = [(one - other).norm().item() for one, other in zip(after, before, strict=True)]
    rows += [
        MeasuredRow(
            iteration=subject.num_iterations, quantity="change", place="network", position=block, value=change
        )
        for block, change in enumerate(changes, start=1)
    ]
    gains = gains_along(after)
    largest = max(forward for forward, _ in gains)
    summary = dict(zip(COLUMNS, (*gains[-1], largest, sum(changes) / len(changes)), strict=True))
    return Measured(rows, summary)


def mixings(network: Network) -> list[Tensor]:
    """Return what each block's shortcut multiplies by: a matrix (n, n) of n streams, in double precision."""
    return [_mixing(block).detach().double().cpu() for _, block in blocks_of(network, PlainBlock)]


def _mixing(block: PlainBlock) -> Tensor:
    if isinstance(block, StreamBlock):
        return block.matrix()
    if not isinstance(block, ResidualBlock):
        return torch.zeros(1, 1)
    return torch.full((1, 1), block.shortcut.factor if isinstance(block.shortcut, Scaled) else 1.0)


def gains_along(matrices: list[Tensor]) -> list[tuple[float, float]]:
    """Return, of the product of the first k matrices for each k, the largest sum of a row and of a column."""
    product = torch.eye(len(matrices[0]), dtype=torch.float64)
    gains = []
    for matrix in matrices:
        product = matrix @ product
        sizes = product.abs()
        gains.append((sizes.sum(dim=1).max().item(), sizes.sum(dim=0).max().item()))
    return gains
