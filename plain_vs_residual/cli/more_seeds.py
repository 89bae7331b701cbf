"""What ``power`` prints, and what it registers: new seeds, which decide without those that are there."""

from collections.abc import Sequence
from pathlib import Path

from plain_vs_residual.cli.checks import accept
from plain_vs_residual.evidence.decision import UNDECIDED, Verdict
from plain_vs_residual.evidence.levels import bonferroni
from plain_vs_residual.evidence.power import new_seeds
from plain_vs_residual.evidence.registering import register_more_seeds
from plain_vs_residual.evidence.registration import in_words
from plain_vs_residual.launcher import command
from plain_vs_residual.records.recorded_runs import RecordedRuns


def say_new_seeds(recorded: RecordedRuns, primary: Sequence[Verdict]) -> None:
    """Say for each primary claim how many new seeds would decide it."""
    print(recorded.name)
    level = bonferroni(max(1, len(_open(primary))))
    for verdict in primary:
        print(f"  {new_seeds(verdict, level).line()}")


def register_new_seeds(recorded: RecordedRuns, primary: Sequence[Verdict], number: int, results: Path) -> None:
    """Register new seeds for the claims that are undecided, and say how they are trained.

    Raises:
        ValueError: if no claim is undecided.
    """
    accept("--register", number, 3, 1000)
    wanted = _open(primary)
    if not wanted:
        raise ValueError(f"--register {number}: no primary claim of {recorded.name} is undecided; nothing to do")
    known = [*recorded.seeds, *(seed for one in recorded.registrations for seed in one.seeds)]
    seeds = range(max(known) + 1, max(known) + 1 + number)
    claims = [(verdict.experiment, verdict.claim) for verdict in wanted]
    new = register_more_seeds(recorded, claims, seeds, results / recorded.setting)
    print(
        f"  registered ({new.family}): {len(claims)} claims, seeds {in_words(new.seeds)}; these alone decide them"
    )
    names = dict.fromkeys(verdict.experiment for verdict in wanted)
    options = ("--setting", recorded.setting, "--first-seed", str(seeds[0]), "--seeds", str(number))
    others = "; add --data, --split or --iterations as before" if recorded.variant else ""
    print(f"  {command(*names, *options, '--results', results)}{others}")


def _open(primary: Sequence[Verdict]) -> list[Verdict]:
    """Return the claims that more seeds can decide: undecided by their last registration, or without any."""
    last = {(one.experiment, one.statement): one for one in primary}
    return [one for one in last.values() if not one.doubtful and (not one.decides or one.outcome == UNDECIDED)]
