"""The loss around a trained network, along random directions and on a plane, and on the way that training took.

Li et al. (2018), Visualizing the Loss Landscape of Neural Nets: directions are normalised filter by filter,
because BN makes a network blind to the length of its filters.
"""

import copy
from collections.abc import Iterator, Mapping
from statistics import median

import torch
from torch import Tensor, nn

from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import evaluate

NUM_IMAGES = 500
DIRECTIONS = 10
STEPS = (-1.0, -0.5, -0.25, -0.125, 0.0, 0.125, 0.25, 0.5, 1.0)
PLANE = 13  # points a side, from -0.5 to 0.5
LINE = 21  # points from the initial to the trained weights
COLUMNS = ("rise", "rise_estimated")

Direction = dict[str, Tensor]


def measure(subject: Subject) -> Measured:
    """Walk along random directions (BN by E and R), over a plane (E), and from the start to the end (R)."""
    images, labels = subject.images(NUM_IMAGES)
    trained = subject.network
    end = subject.num_iterations
    rows: list[MeasuredRow] = []
    losses: dict[str, dict[float, list[float]]] = {"E": {}, "R": {}}

    def loss_of(network: nn.Module) -> float:
        return evaluate(network, [(images, labels)], "fp32").loss

    for number in range(DIRECTIONS):
        direction = random_direction(trained, subject.generator("direction", number))
        for step in STEPS:
            moved = at(trained, [(step, direction)])
            for mode, network in {"E": moved, "R": subject.with_estimated_statistics(moved)}.items():
                loss = loss_of(network)
                losses[mode].setdefault(step, []).append(loss)
                rows.append(_row(end, f"loss_{mode}", f"direction{number}", step, loss))
    first, second = (random_direction(trained, subject.generator("plane", number)) for number in range(2))
    for vertical in _evenly(-0.5, 0.5, PLANE):
        for horizontal in _evenly(-0.5, 0.5, PLANE):
            loss = loss_of(at(trained, [(horizontal, first), (vertical, second)]))
            rows.append(_row(end, "plane_E", f"{vertical:g}", horizontal, loss))
    start = subject.untrained()
    for share in _evenly(0, 1, LINE):
        between = subject.with_estimated_statistics(interpolated(start, trained, share))
        rows.append(_row(end, "line_R", "network", share, loss_of(between)))
    return Measured(
        rows,
        {
            "rise": median(_rises(losses["E"])),
            "rise_estimated": median(_rises(losses["R"])),
        },
    )


def _rises(losses: Mapping[float, list[float]]) -> Iterator[float]:
    """Yield by how much the loss rises a quarter of the way out, in each direction and in both senses."""
    for step in (-0.25, 0.25):
        yield from (there - here for there, here in zip(losses[step], losses[0.0], strict=True))


def _row(iteration: int, quantity: str, place: str, position: float, value: float) -> MeasuredRow:
    return MeasuredRow(iteration=iteration, quantity=quantity, place=place, position=position, value=value)


def _evenly(first: float, last: float, number: int) -> list[float]:
    return [round(first + (last - first) * index / (number - 1), 6) for index in range(number)]


def random_direction(network: nn.Module, generator: torch.Generator) -> Direction:
    """Draw a direction whose filters are each as long as the network's.

    A filter is what makes one output channel, or one logit; parameters of BN and biases do not move.

    Args:
        network: on any device.
        generator: of the CPU.
    """
    direction = {}
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            continue
        drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device).flatten(start_dim=1)
        lengths = parameter.detach().flatten(start_dim=1).norm(dim=1, keepdim=True)
        direction[name] = (drawn * lengths / drawn.norm(dim=1, keepdim=True)).view(parameter.shape)
    return direction


def at(network: nn.Module, moves: list[tuple[float, Direction]]) -> nn.Module:
    """Return a copy of a network, moved along directions by a step each; BN keeps its statistics."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            for step, direction in moves:
                if name in direction:
                    parameter.add_(direction[name], alpha=step)
    return moved


def interpolated(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """Return a copy on the straight line between two networks: parameters (1 - share) first + share second."""
    between = copy.deepcopy(first)
    other = dict(second.named_parameters())
    with torch.no_grad():
        for name, parameter in between.named_parameters():
            parameter.lerp_(other[name], share)
    return between
