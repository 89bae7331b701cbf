"""How a claim gets its verdict: measure, compare with the margin, mind the exceptions (``judge_claim`` below).

1. Measure: one number per seed, a weighted sum of the final errors of the runs that the claim compares; and the t
   interval of its mean (``measurement.py``). Claims, margins and seeds are those that were registered before the
   runs (``registration.py``). A primary claim decides, the others describe: an interval of theirs has a level of
   95 %, that of a primary claim the level of its turn among the primary claims of its family (``levels.py``).
2. Compare (``decision.py``): the whole interval on the claim's side of the margin means that it holds here. The
   whole interval on the other side means that it does not, even if the effect has the direction claimed, which is
   said. Else, or with fewer than three seeds, the claim is undecided.
3. Exceptions (``exceptions.py``): a claim is undecided, whatever its interval, if the setting was declared unable
   to decide it, or if runs diverged and the claim holds only thanks to that (the error of such a run is taken to
   be that of guessing) or is about something that they do not have (layer responses). If two runs with one seed
   differ in their data or in the initial weights they have in common (``pairing.py``), the claim is not
   comparable, whatever came before.

An example: the claim of Fig. 4 is that depth costs plain networks over 2 points more than residual ones. Seed 10
ends with errors of 24 (plain-34), 19 (plain-18), 15 (ResNet-34) and 14 (ResNet-18), so its number is
(24 - 19) - (15 - 14) = 4. Five seeds give 4, 3, 3.5, 4.5 and 5: a mean of 4 and a standard deviation of 0.79. At
98.75 % (the first turn of four primary claims), the interval reaches 4.31 * 0.79 / sqrt(5) = 1.53 to either
side: 2.47 to 5.53. All of it is above 2: the claim holds here. Had one seed given 1 instead of 3, the interval
would hold 2: undecided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from plain_vs_residual.evidence.decision import (
    NOT_COMPARABLE,
    ON_THE_PAPERS_TERMS,
    UNDECIDED,
    Verdict,
    decide,
    descriptive,
    owed_to_divergence,
)
from plain_vs_residual.evidence.exceptions import (
    declared_undecidable,
    failed_check,
    runs_without_value,
    seeds_that_divergence_helped,
)
from plain_vs_residual.evidence.families import num_primary
from plain_vs_residual.evidence.levels import DESCRIPTIVE_LEVEL, bonferroni, holm, p_value
from plain_vs_residual.evidence.measurement import Measurement, finals_of_members, measure
from plain_vs_residual.evidence.pairing import PairCheck, verify
from plain_vs_residual.evidence.papers_terms import on_the_papers_terms
from plain_vs_residual.evidence.registration import Plan, plans
from plain_vs_residual.experiment import COLUMN_WORDS, ERRORS, Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

NOT_REGISTERED = "not registered before its runs"


@dataclass(frozen=True)
class _Case:
    """A claim, measured, before its level is known."""

    experiment: Experiment
    plan: Plan
    measured: Measurement
    runs: pd.DataFrame
    margin: float
    exception: str
    difference: str
    others: Measurement
    declared: bool

    @property
    def primary(self) -> bool:
        """Whether it is its experiment's primary claim."""
        return self.plan.claim.primary

    @property
    def p_value(self) -> float:
        """The smallest error at which it would be decided; 1 if nothing can decide it."""
        if self.exception or self.difference:
            return 1.0
        claim, helped = self.plan.claim, seeds_that_divergence_helped(self.runs, self.plan.claim, self.measured)
        without = self.measured.without(helped)
        return max(p_value(one, self.margin, claim.side) for one in (self.measured, without))


def judge(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge every claim that the setting's networks allow, in the order of the experiments.

    Args:
        recorded: the runs, with what was registered before them.
        experiments: all there are; one that is trained on request is judged once a seed of it is complete.
    """
    cases = [
        case
        for experiment in experiments
        if not experiment.waits_to_be_named(recorded.setting) or recorded.shows(experiment)
        for case in _cases(recorded, experiment)
    ]
    levels = _levels(cases, recorded.setting, experiments)
    own_terms = on_the_papers_terms(recorded)
    return [
        _verdict(case, level, recorded.validation_name(case.experiment), own_terms=own_terms)
        for case, level in zip(cases, levels, strict=True)
    ]


def _cases(recorded: RecordedRuns, experiment: Experiment) -> Iterator[_Case]:
    checks = verify(recorded, experiment)
    for plan in plans(recorded, experiment):
        for claim in (plan.claim, *beside(plan.claim)):
            declared = claim is plan.claim
            yield _case(recorded, experiment, replace(plan, claim=claim), checks, declared=declared)


def _case(
    recorded: RecordedRuns, experiment: Experiment, plan: Plan, checks: Sequence[PairCheck], *, declared: bool
) -> _Case:
    claim, deciding = plan.claim, plan.deciding(recorded, experiment)
    everything = measure(recorded, experiment, claim, DESCRIPTIVE_LEVEL)
    planned = [seed for one in recorded.registrations for seed in one.seeds]
    others = [seed for seed in everything.values if seed not in deciding]
    runs = finals_of_members(recorded, experiment, claim)
    runs = runs[runs["seed"].isin(sorted(deciding))]
    return _Case(
        experiment=experiment,
        plan=plan,
        measured=everything.without(others),
        runs=runs,
        margin=claim.margin_in(recorded.setting),
        exception=declared_undecidable(claim, recorded.setting) or runs_without_value(runs, claim),
        difference=failed_check(recorded, experiment, claim, checks, deciding),
        others=everything.only([seed for seed in others if seed not in planned]),
        declared=declared,
    )


def _levels(cases: Sequence[_Case], setting: str, experiments: Sequence[Experiment]) -> list[float]:
    """Return the level of each case's interval: that of its turn if it is primary and registered."""
    levels = [
        bonferroni(num_primary(setting, case.experiment, experiments))
        if case.primary and not case.plan.registration
        else DESCRIPTIVE_LEVEL
        for case in cases
    ]
    families: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        if case.primary and case.plan.registration:
            families.setdefault(case.plan.registration.digest, []).append(place)
    for places in families.values():
        registration = cases[places[0]].plan.registration
        assert registration
        turns = holm([cases[place].p_value for place in places], registration.num_primary, registration.error_rate)
        for place, level in zip(places, turns, strict=True):
            levels[place] = level
    return levels


def _verdict(case: _Case, level: float, validation_name: str, *, own_terms: bool) -> Verdict:
    """Judge one claim by an interval of the given level."""
    claim, measured = case.plan.claim, replace(case.measured, level=level)
    outcome, reason = decide(measured, claim, case.margin)
    exception = case.exception or owed_to_divergence(case.runs, claim, measured, case.margin)
    if exception:
        outcome, reason = UNDECIDED, exception
    decides = claim.primary and case.plan.registration is not None and case.plan.decides
    if not decides:
        outcome = descriptive(outcome, reason)
    elif own_terms:
        outcome = ON_THE_PAPERS_TERMS.get(outcome, outcome)
    if case.difference:
        outcome, reason = NOT_COMPARABLE, case.difference
    remarks = [reason]
    if claim.primary and not decides:
        remarks.append(NOT_REGISTERED if case.plan.registration is None else "more seeds took over")
    return Verdict(
        experiment=case.experiment.name,
        claim=claim,
        margin=case.margin,
        validation_name=validation_name,
        measurement=measured,
        outcome=outcome,
        reason="; ".join(filter(None, remarks)),
        diverged=int(case.runs[case.runs["seed"].isin(list(measured.values))]["diverged"].astype(bool).sum()),
        doubtful=bool(exception or case.difference),
        counted_unread=_unread(case),
        registration=case.plan.registration,
        declared=case.declared,
        decides=decides,
        others=case.others,
    )


def _unread(case: _Case) -> tuple[str, ...]:
    if not case.plan.claim.primary:
        return ()
    registration = case.plan.registration
    return case.experiment.left_out if registration is None else tuple(registration.unread)


def beside(claim: Claim) -> Iterator[Claim]:
    """Yield a primary claim about one error again for each other error, as a claim that only describes."""
    if claim.primary and claim.column in ERRORS:
        for column in ERRORS:
            if column != claim.column:
                words = f"The same in {COLUMN_WORDS[column]}"
                yield replace(claim, statement=words, column=column, primary=False)
