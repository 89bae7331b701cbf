"""A verdict on each claim: differences paired by seed, 95 % t intervals, Holm's correction. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from plain_vs_residual.analysis import Edition
from plain_vs_residual.experiment import Claim, Experiment

LEVEL = 0.95
MIN_SEEDS = 3
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What the runs say of one claim.

    Attributes:
        experiment: name of the experiment.
        claim: the claim.
        values: the claim's number by seed, in its column's unit.
        mean: of the values.
        low: lower end of the two-sided 95 % interval of the mean.
        high: upper end.
        p: two-sided p-value of the mean against the margin; Holm-corrected for primary claims.
        verdict: reproduced, not reproduced or undecided.
        reason: why it is undecided.
        diverged: runs behind the number that diverged, and count as chance error.
    """

    experiment: str
    claim: Claim
    values: dict[int, float]
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    verdict: str = UNDECIDED
    reason: str = ""
    diverged: int = 0


def judge(edition: Edition, experiments: Sequence[Experiment]) -> list[Verdict]:
    """The verdicts on every claim that the setting's networks allow, in the order of the experiments.

    Args:
        edition: the runs.
        experiments: all there are. Experiments that wait to be named count once they have been trained.
    """
    verdicts = [
        _measure(edition, experiment, claim)
        for experiment in experiments
        if edition.setting in experiment.networks
        and (edition.setting not in experiment.on_request or edition.shows(experiment))
        for claim in experiment.claims_in(edition.setting)
    ]
    corrected = iter(_holm([verdict.p for verdict in verdicts if verdict.claim.primary]))
    verdicts = [replace(verdict, p=next(corrected)) if verdict.claim.primary else verdict for verdict in verdicts]
    return [_decide(verdict, edition.setting) for verdict in verdicts]


def _measure(edition: Edition, experiment: Experiment, claim: Claim) -> Verdict:
    finals = edition.select(edition.finals, experiment)
    if finals.empty:
        return Verdict(experiment.name, claim, {})
    if claim.column not in finals:
        accepted = ", ".join(finals.select_dtypes("number").columns)
        raise ValueError(
            f"claim '{claim.statement}': no column '{claim.column}' is recorded; there are {accepted}"
        )
    members = [experiment.member(key, edition.setting) for key in claim.contrast]
    pairs = list(zip(finals["network"], finals["study"], strict=True))
    finals = finals.assign(member=pd.Series(pairs, index=finals.index))[[pair in members for pair in pairs]]
    table = finals.pivot(index="seed", columns="member", values=claim.column)
    complete = table.reindex(columns=pd.Index(members, tupleize_cols=False)).astype(float).dropna()
    numbers = complete.to_numpy() @ np.array(list(claim.contrast.values()))
    values = dict(zip(complete.index.to_list(), numbers.tolist(), strict=True))
    # Errors of a diverged run count as chance; a layer response has no such value.
    lost = finals[finals["diverged"] & finals[claim.column].isna()]
    reason = f"{len(lost)} diverged runs have no {claim.column.replace('_', ' ')}" if len(lost) else ""
    diverged = int(finals[finals["seed"].isin(list(values))]["diverged"].sum())
    verdict = Verdict(experiment.name, claim, values, diverged=diverged, reason=reason)
    if len(values) < 2:
        return replace(verdict, mean=float(np.mean(list(values.values())))) if values else verdict
    low, high, p = interval(list(values.values()), claim.margin, _floor(edition, experiment, claim))
    return replace(verdict, mean=float(np.mean(list(values.values()))), low=low, high=high, p=p)


def interval(values: Sequence[float], margin: float, floor: float) -> tuple[float, float, float]:
    """Two-sided 95 % t interval of the mean, and the p-value against ``margin``.

    Args:
        values: one number a seed, at least two.
        margin: the value tested against.
        floor: the least standard deviation that is believed, because errors come in whole images.
    """
    num, mean = len(values), float(np.mean(values))
    error = max(float(np.std(values, ddof=1)), floor) / math.sqrt(num)
    half = float(stats.t.ppf((1 + LEVEL) / 2, num - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean - margin) / error, num - 1))
    return mean - half, mean + half, p


def _floor(edition: Edition, experiment: Experiment, claim: Claim) -> float:
    """One image in percent, of the part that the claim's column is about; next to nothing for other columns."""
    record = next(record for record in edition.of(experiment) if record.final)
    configuration, final = record.run["configuration"], record.final or {}
    sizes = {
        "training_error": configuration["num_training"],
        "validation_error": configuration["num_validation"],
        "validation_top5_error": configuration["num_validation"],
        "test_error": sum(map(sum, final.get("test_confusion", ()))),
    }
    size = sizes.get(claim.column, 0)
    return 100 / size if size else 1e-9


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; claims without a p-value count as members of the family."""
    order = sorted(range(len(p_values)), key=lambda index: (math.isnan(p_values[index]), p_values[index]))
    corrected, largest = list(p_values), 0.0
    for rank, index in enumerate(order):
        if not math.isnan(p_values[index]):
            largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
            corrected[index] = largest
    return corrected


def _decide(verdict: Verdict, setting: str) -> Verdict:
    claim = verdict.claim
    if setting in claim.undecidable:
        return replace(verdict, reason=claim.undecidable[setting])
    if verdict.reason:
        return verdict
    if len(verdict.values) < MIN_SEEDS:
        return replace(verdict, reason=f"complete seeds: {len(verdict.values)}, needed: {MIN_SEEDS}")
    if not verdict.p < 1 - LEVEL:
        return replace(verdict, reason="the interval, corrected where primary, reaches across the margin")
    holds = verdict.mean > claim.margin if claim.above is not None else verdict.mean < claim.margin
    return replace(verdict, verdict=REPRODUCED if holds else NOT_REPRODUCED)
