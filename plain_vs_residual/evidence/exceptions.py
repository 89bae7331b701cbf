"""When an interval does not have the last word on a claim.

A claim is left undecided if its setting was declared unable to decide it, if a run that diverged has no value in
the claim's column, or if it holds only because of runs that diverged. It is not comparable if a check of the runs
behind it failed (``pairing.py``): any two of its runs with one seed must share recipe, data order and common
initial values; each run must agree with itself, and the seeds of a network with each other.
"""

from collections.abc import Collection, Sequence

import pandas as pd

from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.pairing import PairCheck
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns


def declared_undecidable(claim: Claim, setting: str) -> str:
    """Return the reason, written down before the runs, why a setting cannot decide a claim; empty if it can."""
    return claim.undecidable.get(setting, "")


def runs_without_value(runs: pd.DataFrame, claim: Claim) -> str:
    """Say how many diverged runs have no value in the claim's column, such as layer responses; empty if none."""
    lost = int(runs[runs["diverged"].astype(bool)][claim.column].isna().sum())
    return f"diverged runs without {claim.column.replace('_', ' ')}: {lost}" if lost else ""


def seeds_that_divergence_helped(runs: pd.DataFrame, claim: Claim, measurement: Measurement) -> list[int]:
    """Return the measured seeds in which a run's divergence moved the claim's number in the claim's favour.

    A run that diverged counts as guessing, which is a high error. In plain-34 (weight +1) it raises the number of
    Fig. 4's claim and so helps the claim. In ResNet-34 (weight -1) it works against the claim, and a claim that
    holds in spite of it needs no second test. What two diverged runs have in common makes them alike: it helps a
    claim that two things are equivalent.
    """
    diverged = runs[runs["diverged"].astype(bool)]
    towards = {"above": diverged["weight"] > 0, "below": diverged["weight"] < 0, "within": diverged["weight"] != 0}
    helped = towards[claim.side]
    return sorted(set(diverged[helped]["seed"]) & set(measurement.values))


def failed_check(
    recorded: RecordedRuns,
    experiment: Experiment,
    claim: Claim,
    checks: Sequence[PairCheck],
    seeds: Collection[int],
) -> str:
    """Name the first difference between runs of the claim, of these seeds, that should not be there; if any."""
    # A network and a study, as in a record's identity (network, study, seed).
    compared = {experiment.member(key, recorded.setting) for key in claim.contrast}
    members = {
        record.name
        for record in recorded.of(experiment)
        if record.identity[:2] in compared and record.run.seed in seeds
    }
    for check in checks:
        if check.differences and members.issuperset(check.runs):
            return f"{' and '.join(check.runs)}: {check.differences[0]}"
    return ""
