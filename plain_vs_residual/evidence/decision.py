"""What an interval says of a claim, the words for it, and the verdict that holds both."""

from dataclasses import dataclass

import pandas as pd

from plain_vs_residual.claim import Claim
from plain_vs_residual.evidence.exceptions import seeds_that_divergence_helped
from plain_vs_residual.evidence.levels import DESCRIPTIVE_LEVEL, MIN_SEEDS
from plain_vs_residual.evidence.measurement import Measurement, beyond
from plain_vs_residual.records.registered import Registration

HOLDS, FAILS, UNDECIDED, NOT_COMPARABLE = "holds here", "does not hold here", "undecided", "not comparable"
# For the paper's own images at the paper's budget.
ON_THE_PAPERS_TERMS = {HOLDS: "reproduced", FAILS: "not reproduced"}
# A primary claim decides, all others describe: these are the words for them.
AGREES, DISAGREES, FALLS_SHORT, OPEN = "agrees", "disagrees", "falls short", "open"
SMALLER = "in the direction claimed, but smaller than the margin"
SMALL = "smaller than the margin, its direction open"


def decide(measured: Measurement, claim: Claim, margin: float) -> tuple[str, str]:
    """Compare the interval with the margin, and say why the claim does not hold, or is undecided."""
    if measured.num < MIN_SEEDS:
        return UNDECIDED, f"complete seeds: {measured.num}, needed: {MIN_SEEDS}"
    low, high = measured.interval
    if claim.side == "within":
        return _equivalent(low, high, margin)
    if not (low > margin or high < margin):
        return UNDECIDED, f"the interval holds the margin {margin:g}"
    if (low > margin) == (claim.side == "above"):
        return HOLDS, ""
    return FAILS, _against(low, high, margin, claim)


def _equivalent(low: float, high: float, margin: float) -> tuple[str, str]:
    """Decide by two one-sided tests whether a number is nearer to 0 than the margin."""
    if -margin < low and high < margin:
        return HOLDS, ""
    if low > margin or high < -margin:
        return FAILS, "they differ by more than the margin"
    return UNDECIDED, f"the interval reaches farther than {margin:g} from 0"


def _against(low: float, high: float, margin: float, claim: Claim) -> str:
    """Say in which way a claim does not hold: opposite, too small, or beyond what it allows."""
    sign = 1 if claim.side == "above" else -1
    low, high = sorted((sign * low, sign * high))  # as for a claim to be above its margin
    if sign * margin < 0:
        return "by more than the margin allows"
    if high < 0 or margin == 0:
        return "the effect is opposite"
    return SMALLER if low > 0 else SMALL


def descriptive(outcome: str, reason: str) -> str:
    """Return the word for a claim that only describes."""
    if outcome == FAILS:
        return FALLS_SHORT if reason in (SMALLER, SMALL) else DISAGREES
    return {HOLDS: AGREES, UNDECIDED: OPEN}[outcome]


def owed_to_divergence(runs: pd.DataFrame, claim: Claim, measured: Measurement, margin: float) -> str:
    """Say without how many seeds, in which a run diverged, the claim would not hold; empty if it would."""
    helped = seeds_that_divergence_helped(runs, claim, measured)
    with_them, _ = decide(measured, claim, margin)
    without_them, _ = decide(measured.without(helped), claim, margin)
    if with_them == HOLDS and without_them != HOLDS:
        return f"does not hold without the seeds in which a run diverged ({len(helped)})"
    return ""


NOTHING = Measurement({}, DESCRIPTIVE_LEVEL, 0.0)


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        experiment: name of the experiment.
        claim: what is claimed.
        margin: the claim's margin in this setting, in its column's unit.
        validation_name: what the validation images are called, ``test`` on some data sets.
        measurement: one number per seed and the interval that decides.
        outcome: for a primary claim holds here, does not hold here (on the paper's own images and budget,
            reproduced and not reproduced) or undecided; for the others agrees, disagrees, falls short or open; for
            both, not comparable.
        reason: why it is not what was claimed.
        diverged: how many runs of the complete seeds diverged; their errors count as chance.
        doubtful: whether an exception set the outcome rather than the interval; how many seeds are needed is then
            not computed.
        counted_unread: the files that count as a primary claim each although they are wrong, so that nobody knows.
        registration: what it was registered in before its runs; None if in nothing.
        declared: whether its experiment declares it, rather than the same claim about another error.
        decides: whether it is a primary claim that was registered, under its last registration.
        others: what seeds give that were not planned.
    """

    experiment: str
    claim: Claim
    margin: float
    validation_name: str
    measurement: Measurement
    outcome: str
    reason: str = ""
    diverged: int = 0
    doubtful: bool = False
    counted_unread: tuple[str, ...] = ()
    registration: Registration | None = None
    declared: bool = True
    decides: bool = True
    others: Measurement = NOTHING

    @property
    def statement(self) -> str:
        """The claim's sentence, with the images that were evaluated called what they are."""
        return self.claim.statement.replace("validation", self.validation_name)

    @property
    def bold(self) -> bool:
        """Whether it is printed as what decides: a primary claim, but not one that more seeds took over from."""
        return self.claim.primary and (self.decides or self.registration is None)

    @property
    def distance(self) -> float:
        """How far the mean lies beyond the margin on the claim's side, in the column's unit; else negative."""
        return beyond(self.claim.side, self.measurement.mean, self.margin)
