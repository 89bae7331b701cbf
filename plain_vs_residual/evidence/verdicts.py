"""How a claim gets its verdict: measure, compare with the margin, mind the exceptions (``judge_claim`` below).

1. Measure: one number per seed, a weighted sum of the final errors of the runs that the claim compares; and the t
   interval of its mean (``measurement.py``). A primary claim decides, the others describe. An interval of theirs
   has a level of 95 %, that of a primary claim 1 - 5 % / n, where n counts the primary claims of all experiments
   that a setting trains by default (``level_of``).
2. Compare (``decide``): the whole interval beyond the margin, on the claim's side, means reproduced. The whole
   interval on the other side of the margin means not reproduced, even if the effect has the direction claimed.
   Else, or with fewer than three seeds, the claim is undecided.
3. Exceptions (``exceptions.py``): a claim is undecided, whatever its interval, if the setting was declared unable
   to decide it, or if runs diverged and the claim holds only thanks to that (the error of such a run is taken to
   be that of guessing) or is about something that they do not have (layer responses). If two runs with one seed
   differ in their data or in the initial weights they have in common (``pairing.py``), the claim is not
   comparable, whatever came before.

An example: the claim of Fig. 4 is that depth costs plain networks over 2 points more than residual ones. Seed 10
ends with errors of 24 (plain-34), 19 (plain-18), 15 (ResNet-34) and 14 (ResNet-18), so its number is
(24 - 19) - (15 - 14) = 4. Five seeds give 4, 3, 3.5, 4.5 and 5: a mean of 4 and a standard deviation of 0.79. At
98.75 % (four primary claims), the interval reaches 4.31 * 0.79 / sqrt(5) = 1.53 to either side: 2.47 to
5.53. All of it is above 2: reproduced. Had one seed given 1 instead of 3, the interval would hold 2: undecided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from plain_vs_residual.evidence.exceptions import (
    declared_undecidable,
    failed_check,
    runs_without_value,
    seeds_that_divergence_helped,
)
from plain_vs_residual.evidence.measurement import Measurement, finals_of_members, measure
from plain_vs_residual.evidence.pairing import PairCheck, verify
from plain_vs_residual.experiment import COLUMN_WORDS, ERRORS, Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

ERROR_RATE = 0.05
MIN_SEEDS = 3
REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
NOT_COMPARABLE = "not comparable"
# A primary claim decides, all others describe: these are the words for them.
DESCRIPTIVE = {REPRODUCED: "agrees", NOT_REPRODUCED: "disagrees", UNDECIDED: "open"}


def decide(measurement: Measurement, claim: Claim, margin: float) -> tuple[str, str]:
    """Compare the interval with the margin; if that is undecided, say why."""
    if measurement.num < MIN_SEEDS:
        return UNDECIDED, f"complete seeds: {measurement.num}, needed: {MIN_SEEDS}"
    low, high = measurement.interval
    if not (low > margin or high < margin):
        return UNDECIDED, f"the interval holds the margin {margin:g}"
    beyond_the_margin = low > margin if claim.wants_more else high < margin
    return (REPRODUCED if beyond_the_margin else NOT_REPRODUCED), ""


def judge_claim(
    recorded: RecordedRuns, experiment: Experiment, claim: Claim, level: float, checks: Sequence[PairCheck]
) -> "Verdict":
    """Judge one claim by an interval of the given level, and by the checks of the experiment's pairs."""
    margin = claim.margin_in(recorded.setting)
    measurement = measure(recorded, experiment, claim, level)
    outcome, reason = decide(measurement, claim, margin)

    runs = finals_of_members(recorded, experiment, claim)
    exception = (
        declared_undecidable(claim, recorded.setting)
        or runs_without_value(runs, claim)
        or owed_to_divergence(runs, claim, measurement, margin)
    )
    difference = failed_check(recorded, experiment, claim, checks)
    if exception:
        outcome, reason = UNDECIDED, exception
    if not claim.primary:
        outcome = DESCRIPTIVE[outcome]
    if difference:
        outcome, reason = NOT_COMPARABLE, difference
    return Verdict(
        experiment=experiment.name,
        claim=claim,
        margin=margin,
        validation_name=recorded.validation_name(experiment),
        measurement=measurement,
        outcome=outcome,
        reason=reason,
        diverged=int(runs[runs["seed"].isin(list(measurement.values))]["diverged"].astype(bool).sum()),
        doubtful=bool(exception or difference),
        counted_unread=experiment.left_out if claim.primary else (),
    )


def owed_to_divergence(runs: pd.DataFrame, claim: Claim, measurement: Measurement, margin: float) -> str:
    """Say without how many seeds, in which a run diverged, the claim would not be reproduced; empty if none."""
    helped = seeds_that_divergence_helped(runs, claim, measurement)
    with_them, _ = decide(measurement, claim, margin)
    without_them, _ = decide(measurement.without(helped), claim, margin)
    if with_them == REPRODUCED and without_them != REPRODUCED:
        return f"does not hold without the seeds in which a run diverged ({len(helped)})"
    return ""


def judge(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> "list[Verdict]":
    """Judge every claim that the setting's networks allow, in the order of the experiments.

    Args:
        recorded: the runs.
        experiments: all there are; one that is trained on request is judged once a seed of it is complete.
    """
    verdicts = []
    for experiment in experiments:
        if experiment.waits_to_be_named(recorded.setting) and not recorded.shows(experiment):
            continue
        checks = verify(recorded, experiment)
        for claim in experiment.claims_in(recorded.setting):
            for one in (claim, *beside(claim)):
                level = level_of(one, recorded.setting, experiment, experiments)
                verdicts.append(judge_claim(recorded, experiment, one, level, checks))
    return verdicts


def level_of(claim: Claim, setting: str, experiment: Experiment, experiments: Sequence[Experiment]) -> float:
    """Return the level of a claim's interval: primary claims share 5 % of error (Bonferroni)."""
    sharing = num_primary(setting, experiment, experiments) if claim.primary else 1
    return 1 - ERROR_RATE / sharing


def num_primary(setting: str, experiment: Experiment, experiments: Sequence[Experiment]) -> int:
    """Count the primary claims that share the error rate with those of an experiment.

    The experiments that a setting trains by default are one family, those that it trains on request another, those
    of the seminar a third. All are declared beforehand, whether or not they have been run. A file that was left
    out because it is wrong counts in every family: no interval becomes narrower by a mistake in it.
    """

    def family(one: Experiment) -> tuple[bool, bool]:
        return one.seminar, one.waits_to_be_named(setting)

    declared = sum(
        claim.primary
        for other in experiments
        if family(other) == family(experiment)
        for claim in other.claims_in(setting)
    )
    return declared + len(experiment.left_out)


def beside(claim: Claim) -> Iterator[Claim]:
    """Yield a primary claim about one error again for each other error, as a claim that only describes."""
    if claim.primary and claim.column in ERRORS:
        for column in ERRORS:
            if column != claim.column:
                words = f"The same in {COLUMN_WORDS[column]}"
                yield replace(claim, statement=words, column=column, primary=False)


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
        counted_unread: the files that count as a primary claim each although they are wrong, so that nobody knows.
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

    @property
    def statement(self) -> str:
        """The claim's sentence, with the images that were evaluated called what they are."""
        return self.claim.statement.replace("validation", self.validation_name)
