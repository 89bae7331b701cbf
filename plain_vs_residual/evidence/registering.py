"""Registers claims and seeds before the first run of an experiment; ``registration.py`` reads them afterwards."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.claim import Claim
from plain_vs_residual.evidence.families import ERROR_RATE, family_of, num_primary
from plain_vs_residual.evidence.registration import in_words
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.launcher import command
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.git import ask_git
from plain_vs_residual.records.registered import RegisteredClaim, Registration, add_registrations

if TYPE_CHECKING:
    from plain_vs_residual.records.recorded_runs import RecordedRuns

MORE_SEEDS = "more seeds"


def register(selection: Selection, experiments: Sequence[Experiment], results: Path) -> list[str]:
    """Register what the selected experiments claim and was not registered yet; say so, and which seeds decide.

    Args:
        selection: what is to be trained.
        experiments: all there are.
        results: holds a folder per setting.
    """
    remarks = []

    def choose(there: tuple[Registration, ...]) -> list[Registration]:
        before = [one for one in there if one.variant == selection.variant]
        remarks.extend(_outside(selection, before))
        return registrations_of(selection, experiments, before)

    for one in add_registrations(results / selection.setting.name, choose):
        primary = sum(claim.primary for claim in one.claims)
        claims = f"{primary} primary {'claim' if primary == 1 else 'claims'}"
        remarks.append(
            f"registered before the runs: {claims} ({one.family}) on seeds {in_words(one.seeds)}; these decide, "
            "what comes later describes"
        )
    return remarks


def registrations_of(
    selection: Selection, experiments: Sequence[Experiment], before: Sequence[Registration]
) -> list[Registration]:
    """Return what is to be registered before the selected runs, one for each family with new claims."""
    setting = selection.setting.name
    named = {experiment.name for experiment in selection.experiments}
    by_default = any(not one.waits_to_be_named(setting) for one in selection.experiments)
    known = {claim.experiment for one in before for claim in one.claims}
    families: dict[str, list[Experiment]] = {}
    for one in experiments:
        concerned = one.name in named or (by_default and not one.waits_to_be_named(setting))
        if concerned and one.claims_in(setting) and one.name not in known:
            families.setdefault(family_of(one, setting), []).append(one)
    return [_registration(selection, family, members, experiments) for family, members in families.items()]


def register_more_seeds(
    recorded: "RecordedRuns", claims: Sequence[tuple[str, Claim]], seeds: Sequence[int], folder: Path
) -> Registration:
    """Register new seeds for claims, each given with its experiment's name, as a family of their own."""

    def choose(there: tuple[Registration, ...]) -> list[Registration]:
        number = 1 + sum(one.family.startswith(MORE_SEEDS) for one in there if one.variant == recorded.variant)
        registered = [_registered(claim, name, recorded.setting) for name, claim in claims]
        return [_made(recorded.variant, f"{MORE_SEEDS} {number}", seeds, len(registered), [], registered)]

    (new,) = add_registrations(folder, choose)
    return new


def _outside(selection: Selection, before: Sequence[Registration]) -> list[str]:
    """Say which of the selected seeds no registration of the selected experiments plans."""
    named = {experiment.name for experiment in selection.experiments}
    of_these = [one for one in before if named & {claim.experiment for claim in one.claims}]
    planned = {seed for one in of_these for seed in one.seeds}
    outside = sorted(set(selection.seeds) - planned) if of_these else []
    if not outside:
        return []
    return [
        f"note: seeds {in_words(outside)} are not among those registered before the first run "
        f"({in_words(sorted(planned))}): they are shown and decide nothing; "
        f"{command('power', '--register', str(len(outside)))} registers new seeds that decide"
    ]


def _registration(
    selection: Selection, family: str, members: Sequence[Experiment], experiments: Sequence[Experiment]
) -> Registration:
    setting = selection.setting.name
    claims = [_registered(claim, one.name, setting) for one in members for claim in one.claims_in(setting)]
    number = num_primary(setting, members[0], experiments)
    return _made(selection.variant, family, selection.seeds, number, members[0].left_out, claims)


def _made(
    variant: str,
    family: str,
    seeds: Sequence[int],
    num_primary: int,
    unread: Sequence[str],
    claims: list[RegisteredClaim],
) -> Registration:
    commit = ask_git("rev-parse", "--short=12", "HEAD")
    return Registration(
        variant=variant,
        family=family,
        seeds=list(seeds),
        error_rate=ERROR_RATE,
        num_primary=num_primary,
        unread=list(unread),
        claims=claims,
        registered=time.strftime("%Y-%m-%d %H:%M:%S"),
        commit=commit.strip() if commit else None,
    )


def _registered(claim: Claim, experiment: str, setting: str) -> RegisteredClaim:
    return RegisteredClaim(
        experiment=experiment,
        statement=claim.statement,
        contrast={name: float(weight) for name, weight in claim.contrast.items()},
        column=claim.column,
        side=claim.side,
        margin=float(claim.margin_in(setting)),
        reason=claim.margin_reason(setting),
        primary=claim.primary,
        undecidable=claim.undecidable.get(setting, ""),
    )
