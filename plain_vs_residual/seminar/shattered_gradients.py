"""How alike the gradients at nearby images are, before and after training.

Balduzzi et al. (2017), The Shattered Gradients Problem: along a line between two images, the gradients of a deep
plain network resemble white noise, those of a deep residual network do not.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject

LINES = 8
LAGS = (1, 2, 4, 8, 16, 32)
COLUMNS = ("gradient_correlation",)


def measure(subject: Subject) -> Measured:
    """Average over lines between training images of different classes, untrained (BN: R) and trained (E)."""
    images, labels = subject.images(500)
    untrained = subject.with_estimated_statistics(subject.untrained())
    rows: list[MeasuredRow] = []
    networks: dict[int, nn.Module] = {0: untrained, subject.num_iterations: subject.network}
    for iteration, network in networks.items():
        found = []
        for line, (first, second) in enumerate(pairs_of_classes(labels, subject.generator("pairs"))):
            generator = subject.generator("projection", line)
            found.append(gradient_correlations(network, images[first], images[second], LAGS, generator))
        rows += [
            MeasuredRow(
                iteration=iteration,
                quantity="correlation",
                place="network",
                position=lag,
                value=sum(one[lag] for one in found) / len(found),
            )
            for lag in LAGS
        ]
    at_start = {row.position: row.value for row in rows if row.iteration == 0}
    return Measured(rows, {"gradient_correlation": at_start[4]})


def pairs_of_classes(labels: Tensor, generator: torch.Generator) -> list[tuple[int, int]]:
    """Draw pairs of images of different classes, LINES of them, as indices into ``labels`` (N).

    Raises:
        ValueError: if the images are too few, or too many of them of one class.
    """
    order = torch.randperm(len(labels), generator=generator).tolist()
    pairs: list[tuple[int, int]] = []
    while order and len(pairs) < LINES:
        first = order.pop()
        second = next((index for index in order if labels[index] != labels[first]), None)
        if second is not None:
            order.remove(second)
            pairs.append((first, second))
    if len(pairs) < LINES:
        raise ValueError(
            f"shattered gradients need {LINES} pairs of training images of different classes; among "
            f"{len(labels)} images there are {len(pairs)}"
        )
    return pairs


def gradient_correlations(
    network: nn.Module, first: Tensor, second: Tensor, lags: Sequence[int], generator: torch.Generator
) -> dict[int, float]:
    """Measure how alike the gradients at nearby points of the line between two images are.

    256 points divide the line evenly. Of each, the gradient of a random projection of the logits at the pixels is
    taken, and compared by its cosine with that of the point ``lag`` further on: 1 where the network is smooth, 0
    where its gradients are like white noise.

    Args:
        network: in evaluation mode, with running statistics of its own weights; batch statistics would couple the
            points. An untrained network needs estimated ones.
        first: float (C, H, W).
        second: likewise.
        lags: in points.
        generator: of the CPU, for the projection.

    Returns:
        Mean cosine by lag.

    Raises:
        ValueError: if the network is in training mode.
    """
    if network.training:
        raise ValueError("gradient_correlations: the network is in training mode; call eval() first")
    places = torch.linspace(0, 1, 256, device=first.device)[:, None, None, None]
    points = ((1 - places) * first + places * second).requires_grad_()
    logits = network(points)
    projection = torch.randn(logits.shape[1], generator=generator).to(logits.device)
    (gradients,) = torch.autograd.grad((logits @ projection).sum(), points)
    flat = gradients.flatten(start_dim=1)
    return {lag: cosine_similarity(flat[:-lag], flat[lag:]).mean().item() for lag in lags}
