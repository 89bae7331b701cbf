"""How many new seeds would decide a claim: from what the seeds that are there leave open.

Looking at seeds and adding more until they decide would turn an error of 5 % into far more. So new seeds are
registered as a family of their own before they are trained, and decide without the old ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from plain_vs_residual.claim import Claim
from plain_vs_residual.evidence.decision import UNDECIDED, Verdict
from plain_vs_residual.evidence.measurement import Measurement, beyond

WANTED = 0.8
MOST_SEEDS = 1000
DRAWS = 20_000
FARTHEST = 1e3  # beyond that, scipy's distribution has no values


@dataclass(frozen=True)
class NewSeeds:
    """How many new seeds, alone, decide a claim with an assurance of 0.8.

    Attributes:
        verdict: of the seeds there are.
        number: of new seeds; None if no number up to MOST_SEEDS has the assurance.
        assurance: power averaged over the means and spreads that the seeds there are leave open, for that number,
            or for MOST_SEEDS.
        power: of that number if mean and spread were exactly what they are now.
    """

    verdict: Verdict
    number: int | None
    assurance: float
    power: float

    def line(self) -> str:
        """Say it in a sentence."""
        verdict, measured = self.verdict, self.verdict.measurement
        name = f"{verdict.experiment}: {verdict.statement}"
        if verdict.doubtful:
            return f"{name}: {verdict.outcome}, {verdict.reason}"
        if measured.num < 2:
            return f"{name}: {measured.num} complete seeds; a spread needs 2"
        if verdict.decides and verdict.outcome != UNDECIDED:
            return f"{name}: {verdict.outcome} with {measured.num} seeds, no more are needed"
        heads = "for it" if verdict.distance > 0 else "against it"
        now = f"mean {measured.mean:+.2f} ± {measured.deviation:.2f} over {measured.num} seeds, heads {heads}"
        if self.number is None:
            return (
                f"{name}: {now}; no number of new seeds has an assurance of {WANTED}, {MOST_SEEDS:,} have "
                f"{self.assurance:.2f}: so little do these seeds say of the direction"
            )
        return (
            f"{name}: {now}; {self.number} new seeds would decide it alone with an assurance of "
            f"{self.assurance:.2f} (power {self.power:.2f} if mean and spread are what they are now)"
        )


def new_seeds(verdict: Verdict, level: float) -> NewSeeds:
    """Find the smallest number of new seeds, at least three, that decides a claim by itself at a level."""
    measured = verdict.measurement
    if measured.num < 2:
        return NewSeeds(verdict, None, math.nan, math.nan)

    def assured(num: int) -> float:
        return assurance(measured, verdict.claim, verdict.margin, num, level)

    if assured(MOST_SEEDS) < WANTED:
        return NewSeeds(verdict, None, assured(MOST_SEEDS), math.nan)
    few, many = 2, MOST_SEEDS  # assurance rises with the number
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if assured(middle) >= WANTED else (middle, many)
    return NewSeeds(verdict, many, assured(many), power(abs(verdict.distance), measured.deviation, many, level))


def assurance(measured: Measurement, claim: Claim, margin: float, num: int, level: float) -> float:
    """Return how probably new seeds decide a claim by themselves, on the side to which it heads.

    Mean and spread are drawn from what the seeds there are leave open (a normal distribution, no prior knowledge),
    then the mean and the spread of the new seeds; with a seed of its own, so that the answer is always the same.
    """
    drawn = np.random.default_rng(0)
    freedom = measured.num - 1
    spread = measured.deviation * np.sqrt(freedom / drawn.chisquare(freedom, DRAWS))
    mean = measured.mean + spread / math.sqrt(measured.num) * drawn.standard_normal(DRAWS)
    new_mean = mean + spread / math.sqrt(num) * drawn.standard_normal(DRAWS)
    new_spread = spread * np.sqrt(drawn.chisquare(num - 1, DRAWS) / (num - 1))
    half = float(stats.t.ppf((1 + level) / 2, num - 1)) * new_spread / math.sqrt(num)
    # Seen from the side to which the claim heads: how far beyond the margin the new mean lies.
    ahead = beyond(claim.side, measured.mean, margin) > 0
    distance = beyond(claim.side, new_mean, margin)
    return float(np.mean((distance if ahead else -distance) > half))


def power(distance: float, deviation: float, num: int, level: float) -> float:
    """Return how probably the interval of ``num`` seeds lies beyond a margin at ``distance`` from the mean."""
    critical = float(stats.t.ppf((1 + level) / 2, num - 1))
    shift = min(distance * math.sqrt(num) / deviation, FARTHEST)
    return float(stats.nct.sf(critical, num - 1, shift))
