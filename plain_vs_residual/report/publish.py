"""Which recorded runs are drawn, and when: at the end, and now and then while runs end.

Imports pandas and matplotlib only once something is to be drawn.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.launcher import command
from plain_vs_residual.records.files import RunFolder, plots_folder

if TYPE_CHECKING:
    from plain_vs_residual.records.recorded_runs import RecordedRuns

# Drawing takes seconds from the runs that are trained meanwhile.
REFRESH_SECONDS = 600.0


def find_recorded_runs(
    results: Path, setting: str | None, experiments: Sequence[Experiment]
) -> "list[RecordedRuns]":
    """Read the recorded runs of every setting and variant that hold a run of the experiments.

    Raises:
        ValueError: if there is no such folder, or no such run in it.
    """
    from plain_vs_residual.records.recorded_runs import load_recorded_runs

    if not results.is_dir():
        raise ValueError(f"--results {results}: no such folder; train some runs first: {command()}")
    found = load_recorded_runs(results, setting)
    chosen = [recorded for recorded in found if any(recorded.of(experiment) for experiment in experiments)]
    if not chosen:
        names = ", ".join(experiment.name for experiment in experiments)
        there = ", ".join(recorded.name for recorded in found)
        raise ValueError(f"no runs of {names} in {results}, only others of {there}; train some first")
    return chosen


def publish(results: Path, plots: Path | None, setting: str) -> list[Path]:
    """Draw the figures and write the reports of a setting.

    Args:
        results: where the records are.
        plots: where figures go; beside ``results`` if None.
        setting: which one.

    Returns:
        The paths of the reports.
    """
    from plain_vs_residual.report.page import write_report

    experiments = list(load_experiments().values())
    reports = []
    for recorded in find_recorded_runs(results, setting, experiments):
        reports += write_report(recorded, experiments, plots_folder(results, plots) / recorded.name)
    return reports


def headlines(results: Path, setting: str, name: str, named: Collection[str] = ()) -> Iterator[str]:
    """Say in a line each what came out of the claims of the runs whose reports have that name.

    Args:
        results: where the records are.
        setting: of the runs.
        name: of their reports: the setting's, or that of a variant.
        named: experiments that were asked for by name: all of their claims. Without any, the primary claims of
            every experiment that has a complete seed.
    """
    from plain_vs_residual.evidence.verdicts import judge
    from plain_vs_residual.report.tables import number_and_interval

    experiments = load_experiments()
    for recorded in find_recorded_runs(results, setting, list(experiments.values())):
        for verdict in judge(recorded, list(experiments.values())) if recorded.name == name else ():
            measured = verdict.measurement.num > 0
            if verdict.experiment in named and verdict.declared if named else verdict.claim.primary and measured:
                numbers = number_and_interval(verdict.measurement) if measured else verdict.reason
                unread = "".join(f"; {name} counted unread" for name in verdict.counted_unread)
                yield f"{verdict.outcome}: {verdict.statement} ({verdict.experiment}; {numbers}{unread})"


class Refresher:
    """Keeps the reports of a setting up to date while its runs are trained, without drawing all the time.

    Args:
        results: where the records are.
        plots: where figures go; beside ``results`` if None.
        setting: which one.
        name: of the reports that the seeds are for: the setting's, or that of a variant.
        seeds: the runs of each seed: once all of the first one are finished, the reports are drawn.
    """

    def __init__(
        self,
        results: Path,
        plots: Path | None,
        setting: str,
        name: str,
        seeds: Mapping[int, Sequence[RunFolder]],
    ) -> None:
        self.results = results
        self.plots = plots
        self.setting = setting
        self.name = name
        self.unfinished = {seed: runs for seed, runs in seeds.items() if not _finished(runs)}
        self.last = time.monotonic()
        self.drawn = False

    def __call__(self) -> None:
        """Draw everything, if the first seed has become complete or nothing was drawn for a while."""
        complete = [seed for seed, runs in self.unfinished.items() if _finished(runs)]
        first = complete and not self.drawn
        for seed in complete:
            del self.unfinished[seed]
        if not self.unfinished or not (first or time.monotonic() - self.last >= REFRESH_SECONDS):
            return  # what is drawn after the last run is not the refresher's
        self.drawn = True
        try:
            pages = publish(self.results, self.plots, self.setting)
            page = next((path for path in pages if path.suffix == ".html" and path.parent.name == self.name), None)
            if complete and page:
                print(f"  seed {', '.join(map(str, complete))} is complete: {page}", flush=True)
        except Exception as error:  # a figure must not end a training, whatever is wrong with it
            print(f"note: the report could not be refreshed ({error!r}); training goes on")
        self.last = time.monotonic()


def _finished(runs: Sequence[RunFolder]) -> bool:
    return all(run.finished for run in runs)
