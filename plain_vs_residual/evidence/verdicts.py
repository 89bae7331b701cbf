"""How a claim gets its verdict.

1. One number per seed of which every compared run has ended: a weighted sum of one column of their final records
   (``measurement.py``). A run that diverged has ended, too; its errors count as chance.
2. The t interval of its mean, at 95 % or stricter (1 - 0.05 / number of primary claims), because the primary
   claims share 5 % of error.
3. Fewer than three seeds: undecided. The whole interval beyond the margin, on the claim's side: reproduced. The
   whole interval short of the margin: not reproduced, which includes an effect in the right direction but smaller
   than the margin. Else: undecided.
4. Exceptions: undecided if there is a reason for doubt (below); not comparable if a check of the runs behind the
   claim fails (``pairing.py``). Any two of its runs with one seed must share recipe, data order and common initial
   values; each run must agree with itself, and the seeds of a network with each other. One failure is enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from plain_vs_residual.evidence.measurement import Measurement, finals_of_members, measure
from plain_vs_residual.evidence.pairing import PairCheck, verify
from plain_vs_residual.experiment import COLUMN_WORDS, ERRORS, Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

ERROR_RATE = 0.05
MIN_SEEDS = 3
NOT_COMPARABLE = "not comparable"
# A primary claim decides, all others describe; they are never said in the same words.
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
DESCRIPTIVE = {REPRODUCED: "agrees", NOT_REPRODUCED: "disagrees", UNDECIDED: "open"}


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one claim.

    Attributes:
        experiment: name of the experiment.
        claim: what is claimed.
        margin: the claim's margin in this setting, in its column's unit.
        validation_name: what the validation images are called, ``test`` on some data sets.
        measurement: one number per seed and the interval that decides.
        outcome: for a primary claim reproduced, not reproduced or undecided; for the others agrees, disagrees or
            open; for both, not comparable.
        reason: why it is undecided, open or not comparable.
        diverged: how many runs of the complete seeds diverged; their errors count as chance.
        doubtful: whether an exception set the outcome rather than the interval; how many seeds are needed is then
            not computed.
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

    @property
    def statement(self) -> str:
        """The claim's sentence, with the images that were evaluated called what they are."""
        return self.claim.statement.replace("validation", self.validation_name)


def judge(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge every claim that the setting's networks allow, in the order of the experiments.

    Args:
        recorded: the runs.
        experiments: all there are; one that is trained on request is judged once a seed of it is complete.
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
                verdicts.append(_unless_incomparable(verdict, recorded, experiment, failed))
    return verdicts


def _judge_one(recorded: RecordedRuns, experiment: Experiment, claim: Claim, level: float) -> Verdict:
    """Decide a claim by its interval, unless there is a reason for doubt."""
    margin = claim.margin_in(recorded.setting)
    measurement = measure(recorded, experiment, claim, level)
    finals = finals_of_members(recorded, experiment, claim)
    diverged = finals[finals["diverged"].astype(bool)]
    outcome, reason = decide(measurement, claim, margin)
    if doubt := _doubt(recorded.setting, claim, margin, measurement, diverged):
        outcome, reason = UNDECIDED, doubt
    words = outcome if claim.primary else DESCRIPTIVE[outcome]
    counted = int(diverged["seed"].isin(list(measurement.values)).sum())
    name = recorded.validation_name(experiment)
    return Verdict(
        experiment=experiment.name,
        claim=claim,
        margin=margin,
        validation_name=name,
        measurement=measurement,
        outcome=words,
        reason=reason,
        diverged=counted,
        doubtful=bool(doubt),
    )


def decide(measurement: Measurement, claim: Claim, margin: float) -> tuple[str, str]:
    """Compare the interval with the margin; if that is undecided, say why."""
    if measurement.num < MIN_SEEDS:
        return UNDECIDED, f"complete seeds: {measurement.num}, needed: {MIN_SEEDS}"
    low, high = measurement.interval
    above, below = low > margin, high < margin
    if not above and not below:
        return UNDECIDED, f"the interval holds the margin {margin:g}"
    on_the_claims_side = above if claim.wants_more else below
    return (REPRODUCED if on_the_claims_side else NOT_REPRODUCED), ""


def _doubt(setting: str, claim: Claim, margin: float, measurement: Measurement, diverged: pd.DataFrame) -> str:
    """Say why a claim is undecided although its interval may decide it; nothing if there is no doubt.

    Either the setting cannot decide it, as was declared beforehand; or a run that diverged has no value in the
    claim's column; or the claim, without the seeds in which a run's divergence helped it, does not hold or has too
    few seeds.
    """
    if setting in claim.undecidable:
        return claim.undecidable[setting]
    if lost := int(diverged[claim.column].isna().sum()):
        return f"diverged runs without {claim.column.replace('_', ' ')}: {lost}"
    # A run that diverged counts as guessing, which is a high error. In plain-34 (weight +1) it raises the number
    # of Fig. 4's claim and so helps the claim, which must then hold without that seed as well. In ResNet-34
    # (weight -1) it works against the claim; a claim that holds in spite of it needs no second test.
    raises = diverged["weight"] > 0
    helped = sorted(set(diverged[raises if claim.wants_more else ~raises]["seed"]) & set(measurement.values))
    holds = decide(measurement, claim, margin)[0] == REPRODUCED
    holds_without = decide(measurement.without(helped), claim, margin)[0] == REPRODUCED
    if holds and not holds_without:
        return f"does not hold without the seeds in which a run diverged ({len(helped)})"
    return ""


def _unless_incomparable(
    verdict: Verdict, recorded: RecordedRuns, experiment: Experiment, failed: Sequence[PairCheck]
) -> Verdict:
    """Replace the verdict by "not comparable" if a check of the runs behind it failed."""
    # A network and a study, as in a record's identity (network, study, seed).
    compared = {experiment.member(key, recorded.setting) for key in verdict.claim.contrast}
    members = {record.name for record in recorded.of(experiment) if record.identity[:2] in compared}
    for check in failed:
        if members.issuperset(check.runs):
            reason = f"{' and '.join(check.runs)}: {check.differences[0]}"
            return replace(verdict, outcome=NOT_COMPARABLE, reason=reason, doubtful=True)
    return verdict


def num_primary(setting: str, experiment: Experiment, experiments: Sequence[Experiment]) -> int:
    """Count the primary claims that share the error rate with those of an experiment (Bonferroni).

    The experiments that a setting trains by default are one family, those that it trains on request another. Both
    are declared beforehand, whether or not they have been run.
    """
    on_request = setting in experiment.on_request
    return sum(
        claim.primary
        for other in experiments
        if (setting in other.on_request) == on_request
        for claim in other.claims_in(setting)
    )


def beside(claim: Claim) -> Iterator[Claim]:
    """Yield a primary claim about one error again for each other error, as a claim that only describes."""
    if claim.primary and claim.column in ERRORS:
        for column in ERRORS:
            if column != claim.column:
                words = f"The same in {COLUMN_WORDS[column]}"
                yield replace(claim, statement=words, column=column, primary=False)
