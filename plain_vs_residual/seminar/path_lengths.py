"""Through how many blocks the gradient of a residual network really comes, before and after training.

Veit et al. (2016), Residual Networks Behave Like Ensembles of Relatively Shallow Networks, Sec. 5: of the paths
through 54 blocks, the short ones carry almost all of the gradient.
"""

import copy
import math
from collections.abc import Sequence, Set

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.lesions import blocks_of
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject

NUM_IMAGES = 64
DRAWS = 8
COLUMNS = ("mean_path_share", "mean_path_share_change")


def measure(subject: Subject) -> Measured:
    """Send the gradient back along random paths of every length, untrained (BN: R) and trained (E)."""
    images, labels = subject.images(NUM_IMAGES)
    networks = {
        0: subject.with_estimated_statistics(subject.untrained()),
        subject.num_iterations: subject.network,
    }
    rows: list[MeasuredRow] = []
    means: dict[int, float] = {}
    for iteration, network in networks.items():
        names = [name for name, _ in blocks_of(network)]
        norms = []
        for length in range(len(names) + 1):
            drawn = [subject.draw(names, length, "path", length, draw) for draw in range(DRAWS)]
            found = [gradient_along(network, frozenset(path), images, labels) for path in drawn]
            norms.append(sum(found) / DRAWS)
        shares = shares_of_lengths(norms)
        means[iteration] = sum(length * share for length, share in enumerate(shares)) / (len(names) / 2)
        numbers = {"gradient": norms, "share": shares, "paths": shares_of_lengths([1.0] * len(norms))}
        rows += [
            MeasuredRow(iteration=iteration, quantity=quantity, place="network", position=length, value=value)
            for quantity, values in numbers.items()
            for length, value in enumerate(values)
        ]
    untrained, trained = means.values()
    return Measured(
        rows,
        {
            "mean_path_share": trained,
            "mean_path_share_change": trained - untrained,
        },
    )


class OnePath(nn.Module):
    """A residual block that is whole forward, and lets the gradient back through F alone or the shortcut alone."""

    def __init__(self, block: ResidualBlock, *, through_function: bool) -> None:
        super().__init__()
        self.block = block
        self.through_function = through_function

    def forward(self, x: Tensor) -> Tensor:
        function, shortcut = self.block.residual_function(x), self.block.shortcut(x)
        if self.through_function:
            return relu(function + shortcut.detach())
        return relu(function.detach() + shortcut)


def gradient_along(network: nn.Module, path: Set[str], images: Tensor, labels: Tensor) -> float:
    """Measure the gradient that reaches the images along one path; the other paths carry none.

    Args:
        network: in evaluation mode, every block a residual one.
        path: names of the blocks whose F the gradient comes through; it comes through the others' shortcuts.
        images: float (N, C, H, W).
        labels: int64 (N).

    Returns:
        Norm of the gradient of an image's loss at its pixels, mean over the images.

    Raises:
        ValueError: if a block has no shortcut, or does not end as a residual one does.
    """
    single = copy.deepcopy(network)
    for name, block in list(blocks_of(single)):
        if not isinstance(block, ResidualBlock):
            raise ValueError(f"{name}: a plain block; paths are counted in residual networks")
        if type(block) is not ResidualBlock:
            raise ValueError(f"{name}: a {type(block).__name__}; paths are followed through relu(F(x) + x) alone")
        stage, _, index = name.rpartition(".")
        single.get_submodule(stage)[int(index)] = OnePath(block, through_function=name in path)  # type: ignore[operator]
    points = images.clone().requires_grad_()
    loss = cross_entropy(single(points), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, points)
    norms: Tensor = gradient.flatten(start_dim=1).norm(dim=1)
    return norms.mean().item()


def shares_of_lengths(norms: Sequence[float]) -> list[float]:
    """Return each length's share of the gradient: there are C(n, k) paths of length k through n blocks.

    Args:
        norms: of the gradient along a path of length 0, 1, ..., n.

    >>> shares_of_lengths([1, 1, 1])
    [0.25, 0.5, 0.25]
    """
    weights = [math.comb(len(norms) - 1, length) * norm for length, norm in enumerate(norms)]
    return [weight / sum(weights) for weight in weights]
