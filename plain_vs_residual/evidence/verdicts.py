"""A verdict on each claim: its measurement set against its margin, provided that its pairs are pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from plain_vs_residual.evidence.measurement import Measurement, finals_of_members, measure
from plain_vs_residual.evidence.pairing import PairCheck, verify
from plain_vs_residual.experiment import COLUMN_WORDS, ERRORS, Claim, Experiment
from plain_vs_residual.records.files import run_name
from plain_vs_residual.records.recorded_runs import RecordedRuns

ERROR_RATE = 0.05
MIN_SEEDS = 3
NOT_COMPARABLE = "not comparable"
# What decides, and what only describes, are said in different words.
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
DESCRIPTIVE = {REPRODUCED: "agrees", NOT_REPRODUCED: "disagrees", UNDECIDED: "open"}


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        experiment: name of the experiment.
        claim: what is claimed.
        margin: the claim's in this setting, in its column's unit.
        measurement: one number per seed and the interval that decides.
        outcome: for a primary claim reproduced, not reproduced or undecided; for the others agrees, disagrees or
            open; for both, not comparable.
        reason: why it is undecided, open or not comparable.
        diverged: how many of the runs diverged; their errors count as chance.
    """

    experiment: str
    claim: Claim
    margin: float
    measurement: Measurement
    outcome: str
    reason: str = ""
    diverged: int = 0


def judge(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge every claim that the setting's networks allow, in the order of the experiments.

    Args:
        recorded: the runs.
        experiments: all there are; one that is trained on request counts once a seed of it is complete.
    """
    verdicts = []
    for experiment in experiments:
        if recorded.setting in experiment.on_request and not recorded.shows(experiment):
            continue
        level = 1 - ERROR_RATE / max(1, num_primary(recorded.setting, experiment, experiments))
        failed = [check for check in verify(recorded, experiment) if check.differences]
        for claim in experiment.claims_in(recorded.setting):
            for one in (claim, *beside(claim)):
                verdict = _judge_one(recorded, experiment, one, level if one.primary else 1 - ERROR_RATE)
                verdicts.append(_compared(verdict, recorded, experiment, failed))
    return verdicts


def num_primary(setting: str, experiment: Experiment, experiments: Sequence[Experiment]) -> int:
    """Count the primary claims that share the error rate with those of an experiment (Bonferroni).

    The experiments that a setting trains by default are one family, those that it trains on request another. Both
    are declared beforehand: which of them have been run does not count.
    """
    on_request = setting in experiment.on_request
    return sum(
        claim.primary
        for other in experiments
        if (setting in other.on_request) == on_request
        for claim in other.claims_in(setting)
    )


def beside(claim: Claim) -> Iterator[Claim]:
    """Yield a primary claim on an error again for the other errors, as description."""
    if claim.primary and claim.column in ERRORS:
        for column in ERRORS:
            if column != claim.column:
                words = f"The same in {COLUMN_WORDS[column]}"
                yield replace(claim, statement=words, column=column, primary=False)


def _judge_one(recorded: RecordedRuns, experiment: Experiment, claim: Claim, level: float) -> Verdict:
    measurement, margin = measure(recorded, experiment, claim, level), claim.margin_in(recorded.setting)
    outcome, reason = decide(measurement, claim, margin)
    finals = finals_of_members(recorded, experiment, claim)
    diverged = finals[finals["diverged"]] if not finals.empty else finals
    lost = 0 if diverged.empty else int(diverged[claim.column].isna().sum())
    if recorded.setting in claim.undecidable:
        outcome, reason = UNDECIDED, claim.undecidable[recorded.setting]
    elif lost:
        # An error of a diverged run counts as chance; a layer response has no such value.
        outcome, reason = UNDECIDED, f"diverged runs without {claim.column.replace('_', ' ')}: {lost}"
    elif outcome == REPRODUCED and not diverged.empty:
        helped = diverged[(diverged["weight"] > 0) == claim.wants_more]["seed"].tolist()
        if helped and decide(measurement.without(helped), claim, margin)[0] != REPRODUCED:
            outcome, reason = UNDECIDED, f"without the seeds in which divergence helps it ({len(set(helped))})"
    counted = 0 if diverged.empty else int(diverged["seed"].isin(list(measurement.values)).sum())
    words = outcome if claim.primary else DESCRIPTIVE[outcome]
    return Verdict(experiment.name, claim, margin, measurement, words, reason, counted)


def decide(measurement: Measurement, claim: Claim, margin: float) -> tuple[str, str]:
    """Say on which side of the margin the interval lies, and why that is undecided where it is.

    A claim is reproduced if the whole interval is on its side, not reproduced if it is on the other.
    """
    if measurement.num < MIN_SEEDS:
        return UNDECIDED, f"complete seeds: {measurement.num}, needed: {MIN_SEEDS}"
    low, high = measurement.interval
    above, below = low > margin, high < margin
    if not above and not below:
        return UNDECIDED, f"the interval holds the margin {margin:g}"
    return (REPRODUCED if above == claim.wants_more else NOT_REPRODUCED), ""


def _compared(
    verdict: Verdict, recorded: RecordedRuns, experiment: Experiment, failed: Sequence[PairCheck]
) -> Verdict:
    """Take a verdict back if runs behind it are no pairs."""
    members = {
        run_name(*_member(experiment, key, recorded), seed)
        for key in verdict.claim.contrast
        for seed in recorded.seeds
    }
    for check in failed:
        if members.issuperset(check.runs):
            reason = f"{' and '.join(check.runs)}: {check.differences[0]}"
            return replace(verdict, outcome=NOT_COMPARABLE, reason=reason)
    return verdict


def _member(experiment: Experiment, key: str, recorded: RecordedRuns) -> tuple[str, tuple[str, str]]:
    network, study = experiment.member(key, recorded.setting)
    return network, (study, recorded.variant)
