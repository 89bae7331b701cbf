"""What a trained network loses when blocks are taken out or change places.

Veit et al. (2016), Residual Networks Behave Like Ensembles of Relatively Shallow Networks, Sec. 4: without one of
its blocks VGG guesses, while ResNet-110 hardly errs more.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from statistics import median

import torch
from torch import nn

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.folding import FoldableBlock
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.seminar.measured import Measured, error_of
from plain_vs_residual.subject.subject import Subject

NUM_IMAGES = 500
NUMBERS = (1, 2, 3, 5, 8, 13, 21)  # of blocks removed at random, and of pairs of blocks exchanged
DRAWS = 4
COLUMNS = (
    "lesion_median",
    "lesion_median_estimated",
    "lesion_share",
    "lesion_share_estimated",
    "removable_blocks",
)


def measure(subject: Subject) -> Measured:
    """Take out every block that can be, then some at random, then exchange pairs; BN by E and by R each time."""
    images, labels = subject.images(NUM_IMAGES)
    trained = subject.network
    removable = removable_blocks(trained)
    if not removable:
        raise ValueError(f"{subject.architecture.label}: it has no block that could be taken out")
    places = {name: place for place, (name, _) in enumerate(blocks_of(trained), start=1)}
    rows: list[MeasuredRow] = []

    def note(quantity: str, place: str, position: float, networks: Sequence[nn.Module]) -> None:
        for mode, adapt in modes.items():
            errors = [error_of(adapt(network), images, labels) for network in networks]
            mean = sum(errors) / len(errors)
            rows.append(_row(subject, f"{quantity}_{mode}", place, position, mean))

    modes: dict[str, Callable[[nn.Module], nn.Module]] = {
        "E": lambda network: network,
        "R": subject.with_estimated_statistics,
    }
    note("intact", "network", 0, [trained])
    for name in removable:
        note("removed", name, places[name], [without(trained, [name])])
    for number in NUMBERS:
        if number <= len(removable):
            drawn = [subject.draw(removable, number, "removed", number, draw) for draw in range(DRAWS)]
            note("removed_at_random", "network", number, [without(trained, names) for names in drawn])
    for number in NUMBERS if exchangeable_pairs(trained) else ():
        orders = [
            exchanged(trained, number, subject.generator("exchanged", number, draw)) for draw in range(DRAWS)
        ]
        note("exchanged", "network", number, [network for network, _ in orders])
        tau = sum(tau for _, tau in orders) / DRAWS
        rows.append(_row(subject, "kendall_tau", "network", number, tau))
    chance = 100 * (1 - 1 / trained.fc.out_features)
    rises = {mode: _rises(rows, mode, chance) for mode in modes}
    return Measured(
        rows,
        {
            "lesion_median": rises["E"][0],
            "lesion_median_estimated": rises["R"][0],
            "lesion_share": rises["E"][1],
            "lesion_share_estimated": rises["R"][1],
            "removable_blocks": len(removable),
        },
    )


def _row(subject: Subject, quantity: str, place: str, position: float, value: float) -> MeasuredRow:
    return MeasuredRow(
        iteration=subject.num_iterations, quantity=quantity, place=place, position=position, value=value
    )


def _rises(rows: Sequence[MeasuredRow], mode: str, chance: float) -> tuple[float, float]:
    """Return how much the error rises without a block, median over blocks: in points, and of what it can.

    A network that errs as by guessing (``chance``, in percent) or more has nothing to lose: its share is NaN.
    """
    (intact,) = (row.value for row in rows if row.quantity == f"intact_{mode}")
    points = median(row.value - intact for row in rows if row.quantity == f"removed_{mode}")
    return points, points / (chance - intact) if intact < chance else math.nan


def blocks_of(network: nn.Module) -> Iterator[tuple[str, PlainBlock]]:
    """Yield every block by its name, as ``layer1.0``, from the input on."""
    for name, module in network.named_modules():
        if isinstance(module, PlainBlock):
            yield name, module


def keeps_shape(block: PlainBlock) -> bool:
    """Say whether what leaves a block has the shape of what enters it."""
    convolutions = [convolution for convolution, _ in block.layers()]
    return convolutions[0].in_channels == block.out_channels and all(one.stride == (1, 1) for one in convolutions)


def removable_blocks(network: nn.Module) -> list[str]:
    """Name the blocks that can be taken out: every residual one, and of plain ones those that keep the shape."""
    return [name for name, block in blocks_of(network) if isinstance(block, ResidualBlock) or keeps_shape(block)]


def exchangeable_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Name the pairs of blocks of one stage that both keep the shape; networks of 8 layers have none."""
    names = [name for name, block in blocks_of(network) if keeps_shape(block)]
    return [pair for pair in combinations(names, 2) if pair[0].partition(".")[0] == pair[1].partition(".")[0]]


def without(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return a copy without some blocks: a residual one keeps its shortcut, a plain one is skipped.

    A residual block's output is then relu(shortcut(x)); with option A that is x, or where the shape changes every
    second pixel of it and channels of zeros.

    Raises:
        ValueError: if a block ends otherwise (pre-activation: without a ReLU).
    """
    injured = copy.deepcopy(network)
    for name in names:
        block = injured.get_submodule(name)
        if type(block) not in (PlainBlock, ResidualBlock, FoldableBlock):
            raise ValueError(f"{name}: a {type(block).__name__}; it is not known what is left of it without its F")
        rest = nn.Sequential(block.shortcut, nn.ReLU()) if isinstance(block, ResidualBlock) else nn.Identity()
        stage, _, index = name.rpartition(".")
        injured.get_submodule(stage)[int(index)] = rest  # type: ignore[operator]
    return injured


def exchanged(network: nn.Module, number: int, generator: torch.Generator) -> tuple[nn.Module, float]:
    """Return a copy in which random pairs of blocks of one stage have changed places, and how much order is left.

    Args:
        network: it is left as it is.
        number: of pairs, one after the other.
        generator: of the CPU.

    Returns:
        The copy, and Kendall's tau of the new order of the blocks: 1 as before, -1 backwards.
    """
    mixed = copy.deepcopy(network)
    names = [name for name, block in blocks_of(network) if keeps_shape(block)]
    order = {name: name for name in names}
    pairs = exchangeable_pairs(network)
    for _ in range(number):
        one, other = pairs[int(torch.randint(len(pairs), (), generator=generator))]
        order[one], order[other] = order[other], order[one]
    blocks = {name: mixed.get_submodule(name) for name in names}
    for name in names:
        stage, _, index = name.rpartition(".")
        mixed.get_submodule(stage)[int(index)] = blocks[order[name]]  # type: ignore[operator]
    return mixed, kendall_tau([names.index(order[name]) for name in names])


def kendall_tau(order: Sequence[int]) -> float:
    """Return the share of pairs that are in order minus the share of those that are not.

    >>> kendall_tau([0, 1, 2]), kendall_tau([2, 1, 0])
    (1.0, -1.0)
    """
    pairs = list(combinations(order, 2))
    return sum(1 if first < second else -1 for first, second in pairs) / len(pairs)
