"""What a claim is measured by: one number per seed, their mean, and its t interval.

For Fig. 4, the number of a seed is (plain-34 - plain-18) - (ResNet-34 - ResNet-18), a difference of differences of
running training errors in percentage points: how much more depth costs the plain network than the residual one.
The claim is that this is more than the setting's margin.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import stats

from plain_vs_residual.claim import Side
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.vocabulary import final_columns

Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class Measurement:
    """One number per seed, and the interval of their mean.

    Attributes:
        values: the number by seed, in the unit of the claim's column.
        level: of the interval, such as 0.95.
        floor: lower limit of the standard deviation: what one image is worth. Without it, seeds that agree by
            chance would give an interval of no width.
    """

    values: Mapping[int, float]
    level: float
    floor: float

    @property
    def num(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over seeds; NaN without any."""
        return float(np.mean(list(self.values.values()))) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation over seeds, at least the floor; NaN for fewer than two."""
        if self.num < 2:
            return math.nan
        return max(float(np.std(list(self.values.values()), ddof=1)), self.floor)

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided Student t interval of the mean; NaN for fewer than two seeds.

        >>> [round(end, 2) for end in Measurement({0: 1.0, 1: 2.0, 2: 3.0}, level=0.95, floor=0.0).interval]
        [-0.48, 4.48]
        """
        if self.num < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf((1 + self.level) / 2, self.num - 1)) * self.deviation / math.sqrt(self.num)
        return self.mean - half, self.mean + half

    def without(self, seeds: Sequence[int]) -> "Measurement":
        """Return the measurement without some seeds."""
        kept = {seed: value for seed, value in self.values.items() if seed not in seeds}
        return Measurement(kept, self.level, self.floor)

    def only(self, seeds: Sequence[int]) -> "Measurement":
        """Return the measurement of some seeds."""
        return self.without([seed for seed in self.values if seed not in seeds])

    @property
    def next_seed(self) -> tuple[float, float]:
        """Two-sided 95 % prediction interval of the number of one more seed; NaN for fewer than two seeds.

        >>> [round(end, 2) for end in Measurement({0: 1.0, 1: 2.0, 2: 3.0}, level=0.95, floor=0.0).next_seed]
        [-2.97, 6.97]
        """
        if self.num < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf(0.975, self.num - 1)) * self.deviation * math.sqrt(1 + 1 / self.num)
        return self.mean - half, self.mean + half


def beyond(side: Side, value: Number, margin: float) -> Number:
    """Return how far a number, or each of several, lies beyond its margin on the claimed side; negative if short.

    >>> beyond("above", 3, 2), beyond("below", 3, 2), beyond("within", -3, 2)
    (1, -1, -1)
    """
    sides = {"above": value - margin, "below": margin - value, "within": margin - abs(value)}
    return sides[side]


def measure(recorded: RecordedRuns, experiment: Experiment, claim: Claim, level: float) -> Measurement:
    """Compute a claim's number for every seed of which all runs are finished.

    Raises:
        ValueError: if there is no such column.
    """
    finals = finals_of_members(recorded, experiment, claim)
    if finals.empty:
        return Measurement({}, level, math.nan)
    # One row per run: four per seed for Fig. 4. A seed is complete if all of them have a value.
    terms = (finals["weight"] * finals[claim.column].astype(float)).groupby(finals["seed"])
    sums, counts = terms.sum(), terms.count()
    complete = sums[counts == len(claim.contrast)]
    values = {int(seed): float(value) for seed, value in complete.items()}  # type: ignore[call-overload]
    return Measurement(values, level, _percent_of_one_image(recorded, experiment, claim))


def finals_of_members(recorded: RecordedRuns, experiment: Experiment, claim: Claim) -> pd.DataFrame:
    """Return the final rows of the runs that a claim compares, each with its ``weight`` in the contrast.

    Diverged runs are in it as they count.

    Raises:
        ValueError: if there is no such column.
    """
    finals = recorded.select(counted(recorded), experiment)
    if finals.empty:
        return pd.DataFrame(columns=["seed", "diverged", "weight", claim.column], dtype=float)
    # Not measured yet, or recorded elsewhere only, as test_error is without held-out images.
    if claim.column not in finals and (experiment.measurement or claim.column in final_columns()):
        finals = finals.assign(**{claim.column: np.nan})
    if claim.column not in finals:
        accepted = ", ".join(finals.select_dtypes("number").columns)
        raise ValueError(
            f"claim '{claim.statement}': no column '{claim.column}' is recorded; there are {accepted}"
        )
    weights = {experiment.member(key, recorded.setting): weight for key, weight in claim.contrast.items()}
    members = list(zip(finals["network"], finals["study"], strict=True))
    weighted = finals.assign(weight=[weights.get(member, np.nan) for member in members])
    return weighted[weighted["weight"].notna()]


def _percent_of_one_image(recorded: RecordedRuns, experiment: Experiment, claim: Claim) -> float:
    """Return by how many points one image changes the claim's error; next to nothing for other columns."""
    run, final = next((record.run, record.final) for record in recorded.of(experiment) if record.final)
    recipe = run.configuration
    assert recipe.iterations is not None  # a recorded budget is resolved
    last_tenth = max(1, round(recipe.iterations / 10))
    sizes = {
        "running_training_error": last_tenth * recipe.batch_size,
        "training_error": recipe.num_training,
        "validation_error": recipe.num_validation,
        "validation_top5_error": recipe.num_validation,
        "test_error": sum(map(sum, final.confusion)),
    }
    return 100 / sizes[claim.column] if claim.column in sizes else 1e-9
