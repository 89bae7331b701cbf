"""A verdict on each claim: differences paired by seed, 95 % t intervals, Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

CONFIDENCE = 0.95
MIN_SEEDS = 3
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        experiment: name of the experiment.
        claim: what is claimed.
        values: the claim's number by seed, in its column's unit.
        mean: of the values.
        low: lower end of the two-sided 95 % interval of the mean, not corrected for several claims.
        high: upper end.
        p: two-sided p-value of the mean against the margin; Holm-corrected for primary claims.
        outcome: reproduced, not reproduced or undecided.
        reason: why it is undecided.
        diverged: how many of these runs diverged; their errors count as chance.
    """

    experiment: str
    claim: Claim
    values: dict[int, float]
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    outcome: str = UNDECIDED
    reason: str = ""
    diverged: int = 0


def judge(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge every claim that the setting's networks allow, in the order of the experiments.

    Args:
        recorded: the runs.
        experiments: all there are; one that is trained on request counts once a seed of it is complete.
    """
    verdicts = [
        _measure(recorded, experiment, claim)
        for experiment in experiments
        if recorded.setting not in experiment.on_request or recorded.shows(experiment)
        for claim in experiment.claims_in(recorded.setting)
    ]
    corrected = iter(_holm([verdict.p for verdict in verdicts if verdict.claim.primary]))
    verdicts = [replace(verdict, p=next(corrected)) if verdict.claim.primary else verdict for verdict in verdicts]
    return [_decide(verdict, recorded.setting) for verdict in verdicts]


def _measure(recorded: RecordedRuns, experiment: Experiment, claim: Claim) -> Verdict:
    """Compute one number per seed, their mean, its interval and p."""
    finals = _finals_of_members(recorded, experiment, claim)
    if finals.empty:
        return Verdict(experiment.name, claim, {})
    values = _number_by_seed(finals, claim)
    # Errors of a diverged run count as chance; a layer response has no such value.
    lost = finals[finals["diverged"] & finals[claim.column].isna()]
    verdict = Verdict(
        experiment.name,
        claim,
        values,
        reason=f"diverged runs without {claim.column.replace('_', ' ')}: {len(lost)}" if len(lost) else "",
        diverged=int(finals[finals["seed"].isin(list(values))]["diverged"].sum()),
    )
    numbers = list(values.values())
    if numbers:
        verdict = replace(verdict, mean=float(np.mean(numbers)))
    if len(numbers) > 1:
        low, high, p = t_test(numbers, claim.margin, _percent_of_one_image(recorded, experiment, claim))
        verdict = replace(verdict, low=low, high=high, p=p)
    return verdict


def _finals_of_members(recorded: RecordedRuns, experiment: Experiment, claim: Claim) -> pd.DataFrame:
    """Return the final rows of the runs that a claim compares, each with its ``weight`` in the contrast.

    Raises:
        ValueError: if the claim's column is not recorded.
    """
    finals = recorded.select(recorded.finals, experiment)
    if finals.empty:
        return finals
    if claim.column not in finals:
        accepted = ", ".join(finals.select_dtypes("number").columns)
        raise ValueError(
            f"claim '{claim.statement}': no column '{claim.column}' is recorded; there are {accepted}"
        )
    weights = {experiment.member(key, recorded.setting): weight for key, weight in claim.contrast.items()}
    members = list(zip(finals["network"], finals["study"], strict=True))
    weighted = finals.assign(weight=[weights.get(member, np.nan) for member in members])
    return weighted[weighted["weight"].notna()]


def _number_by_seed(finals: pd.DataFrame, claim: Claim) -> dict[int, float]:
    """Sum weight times column for every seed, leaving out seeds with a missing run."""
    terms = (finals["weight"] * finals[claim.column].astype(float)).groupby(finals["seed"])
    sums, counts = terms.sum(), terms.count()
    complete = sums[counts == len(claim.contrast)]
    return {int(seed): float(value) for seed, value in complete.items()}  # type: ignore[call-overload]


def t_test(values: Sequence[float], margin: float, floor: float) -> tuple[float, float, float]:
    """Compute the two-sided 95 % t interval of the mean, and the p-value against ``margin``.

    Args:
        values: one number per seed, at least two.
        margin: the value tested against.
        floor: lower bound on the standard deviation, above 0: an error can only change by whole images.
    """
    num, mean = len(values), float(np.mean(values))
    standard_error = max(float(np.std(values, ddof=1)), floor) / math.sqrt(num)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, num - 1)) * standard_error
    p = 2 * float(stats.t.sf(abs(mean - margin) / standard_error, num - 1))
    return mean - half, mean + half, p


def _percent_of_one_image(recorded: RecordedRuns, experiment: Experiment, claim: Claim) -> float:
    """Return what one image is worth in percent of those that a column is about; 1e-9 for other columns."""
    run, final = next((record.run, record.final) for record in recorded.of(experiment) if record.final)
    sizes = {
        "training_error": run.configuration.num_training,
        "validation_error": run.configuration.num_validation,
        "validation_top5_error": run.configuration.num_validation,
        "test_error": sum(map(sum, final.confusion)),
    }
    size = sizes.get(claim.column, 0)
    return 100 / size if size else 1e-9


def _holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction; claims without a p-value count, lest a missing run helps others."""
    order = sorted(range(len(p_values)), key=lambda index: (math.isnan(p_values[index]), p_values[index]))
    corrected, largest = list(p_values), 0.0
    for rank, index in enumerate(order):
        if not math.isnan(p_values[index]):
            largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
            corrected[index] = largest
    return corrected


def _decide(verdict: Verdict, setting: str) -> Verdict:
    """Give the outcome: undecided for want of runs or significance, else by the side of the margin."""
    claim = verdict.claim
    if setting in claim.undecidable:
        return replace(verdict, reason=claim.undecidable[setting])
    if verdict.reason:
        return verdict
    if len(verdict.values) < MIN_SEEDS:
        return replace(verdict, reason=f"complete seeds: {len(verdict.values)}, needed: {MIN_SEEDS}")
    if verdict.p >= 1 - CONFIDENCE:
        corrected = " (Holm-corrected)" if claim.primary else ""
        return replace(verdict, reason=f"p = {verdict.p:.2g}{corrected} is not below {1 - CONFIDENCE:.2g}")
    holds = verdict.mean > claim.margin if claim.above is not None else verdict.mean < claim.margin
    return replace(verdict, outcome=REPRODUCED if holds else NOT_REPRODUCED)
