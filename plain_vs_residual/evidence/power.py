"""How many seeds a claim needs: from the spread of the seeds there are."""

import math
from dataclasses import dataclass

from scipy import stats

from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.verdicts import NOT_REPRODUCED, REPRODUCED, Verdict

POWER = 0.8
MOST_SEEDS = 1000
FARTHEST = 1e3  # beyond that, scipy's distribution has no values


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds decide a claim, if its mean is what it is now.

    Attributes:
        verdict: of the seeds there are.
        expected: seeds needed with the spread as it is now; None if more than MOST_SEEDS.
        low: seeds needed if the spread is at the lower end of its 95 % interval.
        high: likewise at the upper end.
    """

    verdict: Verdict
    expected: int | None
    low: int | None
    high: int | None

    def line(self) -> str:
        """Say it in a sentence."""
        verdict, measured = self.verdict, self.verdict.measurement
        name = f"{verdict.experiment}: {verdict.statement}"
        if verdict.doubtful:
            return f"{name}: {verdict.outcome}, {verdict.reason}"
        if measured.num < 2:
            return f"{name}: {measured.num} complete seeds; a spread needs 2"
        if verdict.outcome in (REPRODUCED, NOT_REPRODUCED):
            return f"{name}: {verdict.outcome} with {measured.num} seeds, no more are needed"
        now = f"mean {measured.mean:+.2f} ± {measured.deviation:.2f} over {measured.num} seeds, {verdict.outcome}"
        more = "more than 1,000" if self.expected is None else f"{max(0, self.expected - measured.num)}"
        ends = " to ".join("over 1,000" if end is None else str(end) for end in (self.low, self.high))
        expected = "over 1,000" if self.expected is None else str(self.expected)
        return f"{name}: {now}; {expected} seeds would decide it ({ends} by the spread's interval), {more} more"


def seeds_needed(verdict: Verdict) -> SeedsNeeded:
    """Compute how many seeds decide a claim with a power of 0.8, on whichever side of its margin the mean lies.

    Three seeds say little about a spread, hence its chi-square interval at 95 %.
    """
    measured = verdict.measurement
    if measured.num < 2:
        return SeedsNeeded(verdict, None, None, None)
    distance = abs(measured.mean - verdict.margin)
    low, high = deviation_interval(measured)
    return SeedsNeeded(
        verdict, *(_smallest(distance, sd, measured.level) for sd in (measured.deviation, low, high))
    )


def deviation_interval(measured: Measurement) -> tuple[float, float]:
    """Return the 95 % interval of the standard deviation of normally distributed values.

    >>> [round(end, 2) for end in deviation_interval(Measurement({0: 1.0, 1: 2.0, 2: 3.0}, 0.95, 0.0))]
    [0.52, 6.28]
    """
    freedom = measured.num - 1
    low, high = (
        measured.deviation * math.sqrt(freedom / float(stats.chi2.ppf(part, freedom))) for part in (0.975, 0.025)
    )
    return low, high


def power(distance: float, deviation: float, num: int, level: float) -> float:
    """Return how probably the interval of ``num`` seeds lies beyond a margin at ``distance`` from the mean."""
    critical = float(stats.t.ppf((1 + level) / 2, num - 1))
    shift = min(distance * math.sqrt(num) / deviation, FARTHEST)
    return float(stats.nct.sf(critical, num - 1, shift))


def _smallest(distance: float, deviation: float, level: float) -> int | None:
    """Return the smallest number of seeds, at least three, that has the power; None if there is none."""
    if power(distance, deviation, MOST_SEEDS, level) < POWER:
        return None
    few, many = 2, MOST_SEEDS  # power rises with the number
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power(distance, deviation, middle, level) >= POWER else (middle, many)
    return many
