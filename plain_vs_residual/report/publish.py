"""Which recorded runs are drawn, and when: at the end, and now and then while runs end.

Imports pandas and matplotlib only once something is to be drawn; what is drawn meanwhile, another process draws.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.launcher import command
from plain_vs_residual.records.files import RunFolder, plots_folder
from plain_vs_residual.report.drawing import Drawing
from plain_vs_residual.report.kept_pages import KeptPages

if TYPE_CHECKING:
    from plain_vs_residual.records.recorded_runs import RecordedRuns

# A page with the curves so far is there within ten minutes, and then it is drawn anew now and then: drawing takes
# seconds of a core, and where every core trains it takes them slowly.
FIRST_SECONDS = 420.0
REFRESH_SECONDS = 600.0
AGAIN_SECONDS = 10.0  # until there is a curve


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
    """Draw the figures and write the reports of a setting, unless they would come out as they are.

    Args:
        results: where the records are.
        plots: where figures go; beside ``results`` if None.
        setting: which one.

    Returns:
        The paths of the reports.
    """
    experiments, where = list(load_experiments().values()), plots_folder(results, plots)
    kept = KeptPages(results, where, setting, experiments)
    if reports := kept.reports():
        return reports

    from plain_vs_residual.report.page import write_report

    for recorded in find_recorded_runs(results, setting, experiments):
        reports += write_report(recorded, experiments, where / recorded.name)
    kept.note(reports)
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
    """Keeps the reports of a setting up to date while its runs are trained, drawn by a process beside them.

    Drawn after a few minutes with the curves so far, as soon as the first seed is complete, and then now and then.

    Args:
        results: where the records are.
        plots: where figures go; beside ``results`` if None.
        setting: which one.
        name: of the reports that the seeds are for: the setting's, or that of a variant.
        seeds: the runs of each seed: once all of the first one are finished, the reports are drawn.
        begin: begins to draw by the words of a command, by a process if None.
    """

    def __init__(
        self,
        results: Path,
        plots: Path | None,
        setting: str,
        name: str,
        seeds: Mapping[int, Sequence[RunFolder]],
        begin: Callable[[Sequence[str]], Drawing] | None = None,
    ) -> None:
        where = ["--results", str(results), *(["--plots", str(plots)] if plots else [])]
        self.command = ["report", "--setting", setting, *where]
        self.page = plots_folder(results, plots) / name / "report.html"
        self.runs = [run for runs in seeds.values() for run in runs]
        self.unfinished = {seed: runs for seed, runs in seeds.items() if not _finished(runs)}
        self.begin = begin or Drawing
        self.due = time.monotonic() + FIRST_SECONDS
        self.first_seed = self.first_page = True  # is still to come
        self.complete: list[int] = []  # seeds, since the last drawing began
        self.drawing: Drawing | None = None
        self.drawn = ""  # what is said of it once it is there

    def __call__(self) -> None:
        """Hear that a run ended; the first seed that is complete is drawn at once."""
        complete = [seed for seed, runs in self.unfinished.items() if _finished(runs)]
        for seed in complete:
            del self.unfinished[seed]
        self.complete += complete
        if complete and self.first_seed:
            self.first_seed, self.due = False, time.monotonic()
        self.meanwhile()

    def meanwhile(self) -> None:
        """Say what was drawn; begin anew if that was a while ago, there is a curve, and runs are still to end."""
        if self.drawing:
            if not self.drawing.ended():
                return
            self._say(self.drawing.fault())
            self.drawing = None
        if not self.unfinished or time.monotonic() < self.due:
            return
        begun = any(run.metrics.exists() for run in self.runs)
        self.due = time.monotonic() + (REFRESH_SECONDS if begun else AGAIN_SECONDS)
        if begun:
            self._begin()

    def _begin(self) -> None:
        complete = f"seed {', '.join(map(str, self.complete))} is complete" if self.complete else ""
        self.drawn = complete or ("page so far" if self.first_page else "")
        self.complete, self.first_page = [], False
        try:
            self.drawing = self.begin(self.command)
        except OSError as error:  # no process is to be had: that must not end a training
            self._say(str(error))

    def _say(self, fault: str) -> None:
        if fault:
            print(f"note: the report could not be refreshed ({fault}); training goes on", flush=True)
        elif self.drawn:
            print(f"  {self.drawn}: {self.page}", flush=True)

    def close(self) -> None:
        """End what is being drawn: the suite has come to its end, or was stopped."""
        if self.drawing:
            self.drawing.stop()


def _finished(runs: Sequence[RunFolder]) -> bool:
    return all(run.finished for run in runs)
