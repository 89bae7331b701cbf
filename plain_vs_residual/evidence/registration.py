"""What was claimed before the runs, and on which seeds: that decides. What came later is named.

When the first run of an experiment is planned, its claims and the planned seeds are written beside the records
(``registering.py``), with those of every other experiment that the setting trains by default if it is one of
them. ``Plan`` says afterwards which seeds decide: those that were planned, and of which at least one run that the
claim compares, or its measurement, began after the claim was registered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.registered import RegisteredClaim, Registration

if TYPE_CHECKING:
    from plain_vs_residual.records.recorded_runs import RecordedRuns

NOTHING_REGISTERED = "nothing was registered before these runs: what came out describes, and decides nothing"


@dataclass(frozen=True)
class Plan:
    """A claim with the registration that it is judged under.

    Attributes:
        claim: as it was registered; as its file declares it now where it was not.
        registration: None if the claim was registered before no run.
        decides: whether this is the last registration of the claim: more seeds take over from those before.
    """

    claim: Claim
    registration: Registration | None
    decides: bool

    def deciding(self, recorded: "RecordedRuns", experiment: Experiment) -> set[int]:
        """Return the seeds that decide: all there are where nothing was registered, which decides nothing."""
        if self.registration is None:
            return set(recorded.seeds)
        compared = {experiment.member(key, recorded.setting) for key in self.claim.contrast}
        fresh = {
            record.run.seed
            for record in recorded.of(experiment)
            if record.identity[:2] in compared
            and self.registration.digest in recorded.registered_before(record, experiment.measurement)
        }
        return fresh & set(self.registration.seeds)


def plans(recorded: "RecordedRuns", experiment: Experiment) -> Iterator[Plan]:
    """Yield each claim of an experiment under every registration of it, then those that nobody registered."""
    declared = experiment.claims_in(recorded.setting)
    registered = [
        (registration, claim)
        for registration in recorded.registrations
        for claim in registration.claims
        if claim.experiment == experiment.name
    ]
    last = {_key(claim): registration for registration, claim in registered}
    places = {_key(claim): place for place, claim in enumerate(declared)}
    for registration, one in sorted(registered, key=lambda pair: places.get(_key(pair[1]), len(places))):
        yield Plan(_claim(one, recorded.setting), registration, last[_key(one)] is registration)
    for claim in declared:
        if _key(claim) not in last:
            yield Plan(claim, None, decides=True)


def departures_from_plan(recorded: "RecordedRuns", experiment: Experiment) -> list[str]:
    """Say what of an experiment is not as it was registered before the runs, a sentence each; empty if all is."""
    if not recorded.registrations:
        return [NOTHING_REGISTERED]
    if all(plan.registration is None for plan in plans(recorded, experiment)):
        return ["it was not planned before these runs: what came out describes, and decides nothing"]
    said = []
    declared = {_key(claim): claim for claim in experiment.claims_in(recorded.setting)}
    for plan in plans(recorded, experiment):
        now = declared.get(_key(plan.claim))
        if plan.registration is None:
            said.append(f"'{plan.claim.statement}' was added after its runs were registered: it decides nothing")
        elif plan.decides:
            said += _claim_changed(plan.claim, now, recorded.setting)
            said += _seeds_departed(recorded, experiment, plan)
    return list(dict.fromkeys(said))


def runs_of_a_lost_registration(recorded: "RecordedRuns") -> list[str]:
    """Name the runs that were trained under a registration which is not there, or not as it was then."""
    there = {one.digest for one in recorded.registrations}
    lost = [record.name for record in recorded.records if set(record.run.registered) - there]
    return (
        [f"registered.json is not what it was when {lost[0]} and {len(lost) - 1} others began: it was changed"]
        if lost
        else []
    )


def in_words(seeds: Sequence[int]) -> str:
    """Write seeds as a reader wants them.

    >>> in_words([10, 11, 12, 20]), in_words([3])
    ('10 to 12, 20', '3')
    """
    groups: list[list[int]] = []
    for seed in sorted(seeds):
        if groups and seed == groups[-1][-1] + 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 1 else str(group[0]) for group in groups)


def _claim(registered: RegisteredClaim, setting: str) -> Claim:
    undecidable = {setting: registered.undecidable} if registered.undecidable else {}
    return Claim(
        registered.statement,
        registered.contrast,
        registered.column,
        reason=registered.reason,
        primary=registered.primary,
        undecidable=undecidable,
        **{registered.side: registered.margin},  # type: ignore[arg-type]
    )


def _key(claim: Claim | RegisteredClaim) -> tuple[object, ...]:
    """Return what makes two claims the same claim: what they measure. Sentence and margin are said of it."""
    return claim.column, claim.side, frozenset((name, float(weight)) for name, weight in claim.contrast.items())


def _claim_changed(registered: Claim, now: Claim | None, setting: str) -> Iterator[str]:
    words = f"'{registered.statement}'"
    if now is None:
        yield f"{words} is not in the file any more: it is judged as it was registered"
        return
    if now.margin_in(setting) != registered.margin:
        yield f"{words}: its margin was registered as {registered.margin:g} and is {now.margin_in(setting):g} now"
    if now.primary != registered.primary:
        yield f"{words} was registered as {'primary' if registered.primary else 'descriptive'} and is not any more"
    if now.statement != registered.statement:
        yield f"{words} is worded otherwise now: '{now.statement}'"
    if now.undecidable.get(setting, "") != registered.undecidable.get(setting, ""):
        yield f"{words}: whether {setting} can decide it was registered otherwise"


def _seeds_departed(recorded: "RecordedRuns", experiment: Experiment, plan: Plan) -> Iterator[str]:
    assert plan.registration
    finished = {record.identity for record in recorded.of(experiment) if record.final}
    compared = {experiment.member(key, recorded.setting) for key in plan.claim.contrast}
    there = {seed for *_, seed in finished}
    complete = {seed for seed in there if all((*member, seed) in finished for member in compared)}
    planned = set(plan.registration.seeds)
    of_all = {seed for one in recorded.registrations for seed in one.seeds}
    if planned - complete:
        yield f"seeds planned and not complete: {in_words(sorted(planned - complete))}"
    if there - of_all:
        yield f"seeds there that were not planned, which decide nothing: {in_words(sorted(there - of_all))}"
    seen = (planned & complete) - plan.deciding(recorded, experiment)
    if seen and plan.claim.primary:
        yield f"seeds that had begun before they were registered, which decide nothing: {in_words(sorted(seen))}"
