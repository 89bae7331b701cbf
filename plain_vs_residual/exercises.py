"""Checks for the exercises of experiments/seminar.ipynb: an answer is compared with records, not with constants.

What it is compared with is computed as it is checked: from the reference runs, from the student's own runs, or
from a network that is built with the student's block. An answer that still is ``...`` is no mistake.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.evidence.measurement import Measurement, measure
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.interactive import network
from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.records.recorded_runs import RecordedRuns

PLAIN, RESIDUAL = "cifar-plain20", "cifar-residual20-A"


@dataclass(frozen=True, repr=False)
class Checked:
    """What a check has found; a notebook shows it as text.

    Attributes:
        right: whether the answer holds; None where there is none yet.
        why: one or several lines.
    """

    right: bool | None
    why: str

    def __repr__(self) -> str:
        return {True: "Right. ", False: "Not so. ", None: "No answer yet: "}[self.right] + self.why


def check_number(predicted: object, found: float) -> Checked:
    """Compare a number that has one right answer with the one that was found."""
    if predicted is ...:
        return Checked(None, "put a number in the place of ...")
    value = _number(predicted)
    return Checked(value == found, f"You say {value:g}; it is {found:g}.")


def check_prediction(predicted: Mapping[str, object], recorded: RecordedRuns, column: str) -> Checked:
    """Say for each network whether a prediction lies where one more seed is expected, 95 times of 100.

    Args:
        predicted: a number for the name of each network, in the unit of the column.
        recorded: runs of several seeds, such as the reference results.
        column: of ``recorded.finals``.

    Raises:
        ValueError: if a prediction is no number, or nothing is recorded of such a network or column.
    """
    if any(value is ... for value in predicted.values()):
        return Checked(None, "put a number in the place of each ...")
    lines, inside = [], []
    for name, said in predicted.items():
        value = _number(said)
        measured = _measured(recorded, name, column)
        low, high = measured.next_seed
        inside.append(low <= value <= high)
        place = "lies within" if inside[-1] else "lies above" if value > high else "lies below"
        lines.append(f"{name}: {value:g} {place} {low:.2g} to {high:.2g} ({measured.num} seeds)")
    return Checked(all(inside), "\n  " + "\n  ".join(lines))


def check_direction(predicted: object, before: float, after: float, *, within: float) -> Checked:
    """Say whether an error became ``more``, ``less`` or ``equal`` as predicted.

    Args:
        predicted: one of these three words.
        before: error in percent.
        after: likewise.
        within: percentage points that still count as equal.

    Raises:
        ValueError: if it is another word.
    """
    if predicted is ...:
        return Checked(None, 'put "more", "less" or "equal" in the place of ...')
    if predicted not in ("more", "less", "equal"):
        raise ValueError(f'{predicted!r} is no direction; accepted are "more", "less" and "equal"')
    change = after - before
    found = "equal" if abs(change) <= within else "more" if change > 0 else "less"
    why = f"From {before:.1f} % to {after:.1f} %: {found}, as up to {within:g} points count as equal."
    return Checked(predicted == found, why)


def check_contrast(per_seed: Any, recorded: RecordedRuns, experiment: str) -> Checked:
    """Compare a number for each seed with what the primary claim of an experiment is decided by.

    Args:
        per_seed: a mapping, or a pandas series, from seeds to numbers.
        recorded: runs of several seeds.
        experiment: by name, such as ``fig4_depth``.
    """
    if per_seed is ...:
        return Checked(None, "compute a number for each seed in the place of ...")
    declared = load_experiments()[experiment]
    claim = next(claim for claim in declared.claims if claim.primary)
    values = measure(recorded, declared, claim, level=0.95).values
    given = {int(seed): float(number) for seed, number in dict(per_seed).items()}
    if given.keys() != values.keys():
        return Checked(False, f"It takes a number for each of the seeds {', '.join(map(str, values))}.")
    wrong = [seed for seed in values if not math.isclose(given[seed], values[seed], abs_tol=1e-6)]
    if not wrong:
        return Checked(True, f"These {len(values)} numbers decide the claim: {claim.statement}.")
    if all(math.isclose(given[seed], -values[seed], abs_tol=1e-6) for seed in values):
        return Checked(False, "Every number has the other sign: which network is subtracted from which?")
    seed = wrong[0]
    return Checked(False, f"Seed {seed}: {given[seed]:.2f}; the claim is decided by {values[seed]:.2f}.")


def check_block(block: type[ResidualBlock]) -> Checked:
    """Say whether a block of one's own leaves a pair a pair: the same parameters, of the same initial values.

    A ResNet-20 is built of it. Its parameters must be those of plain-20; its logits must be neither plain-20's nor
    the ordinary ResNet-20's.

    Args:
        block: built from the layers of F and a shortcut, as :class:`plain_vs_residual.blocks.ResidualBlock` is.

    Raises:
        ValueError: if it is no class of a block.
    """
    if not isinstance(block, type) or not issubclass(block, ResidualBlock):
        raise ValueError(f"{block!r} is no block with a shortcut; accepted is class Mine(ResidualBlock)")
    own, plain, residual = _built_of(block), network(PLAIN), network(RESIDUAL)
    images = torch.randn(4, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    first = next(module for module in own.modules() if isinstance(module, block))
    if first(torch.zeros(1, 16, 14, 14)) is ...:
        return Checked(None, "let forward() return a tensor in the place of ...")
    mine, theirs = dict(own.named_parameters()), dict(plain.named_parameters())
    if only := sorted(mine.keys() ^ theirs.keys()):
        return Checked(False, f"Only in one of plain-20 and yours: {_some(only)}.")
    if other := [name for name in theirs if not torch.equal(mine[name], theirs[name])]:
        return Checked(False, f"Of other shape or value before training: {_some(other)}.")
    with torch.no_grad():
        logits = own(images)
        if not logits.isfinite().all():
            return Checked(False, "The logits are not finite.")
        for same, called in ((residual, "the ordinary ResNet-20"), (plain, "plain-20")):
            if torch.equal(logits, same(images)):
                return Checked(False, f"The parameters are equal, but so are the logits: this is {called}.")
    return Checked(True, f"All {len(mine)} parameters are plain-20's, and the logits are its own.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _number(said: object) -> float:
    if isinstance(said, bool) or not hasattr(said, "__float__") or math.isnan(float(said)):
        raise ValueError(f"{said!r} is no number; accepted are numbers alone, percent as 3 and not as '3 %'")
    return float(said)


def _measured(recorded: RecordedRuns, name: str, column: str) -> Measurement:
    """Return what the usual runs of a network have in a column, by seed."""
    finals = recorded.finals[recorded.finals["study"] == ""]
    accepted = list(finals.select_dtypes("number").columns)
    if column not in accepted:
        raise ValueError(f"no column '{column}' is recorded{did_you_mean(column, accepted)}")
    runs = finals[finals["network"] == name].set_index("seed")[column].dropna()
    if len(runs) < 2:
        names = sorted(finals[finals[column].notna()]["network"].unique())
        raise ValueError(f"'{column}' of '{name}' is not recorded; it is of {', '.join(names)}")
    return Measurement(dict(zip(runs.index, runs, strict=True)), level=0.95, floor=0.0)


def _built_of(block: type[ResidualBlock]) -> nn.Module:
    """Return a ResNet-20 with every block built anew, of the same layers and shortcut."""
    built = network(RESIDUAL)
    for name, old in list(built.named_modules()):
        if isinstance(old, ResidualBlock):
            built.set_submodule(name, block(old.layers(), old.shortcut))
    return built
