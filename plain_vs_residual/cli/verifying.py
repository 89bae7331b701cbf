"""What the command verify prints of the runs of a setting."""

from collections.abc import Sequence

from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.pairing import CANNOT_SEE, compares, summary_line, verify
from plain_vs_residual.evidence.registration import (
    NOTHING_REGISTERED,
    departures_from_plan,
    runs_of_a_lost_registration,
)
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns


def verify_all(recorded: RecordedRuns, experiments: Sequence[Experiment], *, recompute: bool) -> bool:
    """Print what was found, experiment by experiment, then what holds of all runs; say whether anything was wrong.

    Args:
        recorded: the runs.
        experiments: whose runs are checked.
        recompute: whether to draw again, with torch, what seeds stand for.
    """
    lost = runs_of_a_lost_registration(recorded)
    for line in lost:
        print(f"{recorded.name}: {line}")
    wrong, registered = bool(lost), bool(recorded.registrations)
    if not registered:
        print(f"{recorded.name}: {NOTHING_REGISTERED}")
    for experiment in experiments:
        if recorded.setting not in experiment.networks:
            continue
        checks = verify(recorded, experiment)
        line = summary_line(checks, compares=compares(experiment, recorded.setting))
        print(f"{recorded.name} {experiment.name}: {line}")
        told = registered and recorded.shows(experiment)
        for departure in departures_from_plan(recorded, experiment) if told else ():
            print(f"  plan: {departure}")
        for check in checks:
            if check.differences:
                wrong = True
                print(f"  {' and '.join(check.runs)}: {'; '.join(check.differences)}")
    for remark in remarks(recorded, experiments):
        print(f"note: {recorded.name}: {remark}")
    if recompute:
        wrong |= _draw_again(recorded, experiments)
    print(f"note: {recorded.name}: {CANNOT_SEE}")
    return wrong


def _draw_again(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> bool:
    """Draw what the seed of every finished run stands for, and name each run that has something else."""
    from plain_vs_residual.inspection.redrawing import drawn_otherwise

    shown = {record.name: record for one in experiments for record in recorded.of(one) if record.final}
    found: dict[str, list[str]] = {}
    for name, record in sorted(shown.items(), key=lambda item: (item[1].run.seed, item[0])):
        found[name] = list(drawn_otherwise(record))
        if found[name]:
            print(f"  {name}: {'; '.join(found[name])}")
    number = sum(map(bool, found.values()))
    print(
        f"{recorded.name}: initial values, order, crops and flips of {len(shown)} runs were drawn again from "
        f"their seeds; {f'{number} have OTHERS' if number else 'all agree'} (augmented pixels were not: they need "
        "the images)"
    )
    return bool(number)
