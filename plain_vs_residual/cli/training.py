"""The commands that train runs and that list them: options, selection, plan, place, run, publish."""

import inspect
import io
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plain_vs_residual.cli.announcements import FirstMinutes, say_what_is_trained, say_why_this_setting
from plain_vs_residual.cli.checks import check_computing, check_folders, check_writable
from plain_vs_residual.cli.options import (
    ClusterAddress,
    Data,
    Deterministic,
    Device,
    DevicesPerRun,
    Evaluations,
    ExecutionName,
    FirstSeed,
    Iterations,
    Jobs,
    Names,
    Networks,
    PlotsFolder,
    PrecisionName,
    Report,
    Rerun,
    ResultsFolder,
    Runs,
    Seeds,
    SettingName,
    Split,
)
from plain_vs_residual.cli.selecting import SelectionOptions, picked
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.launcher import command
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.files import RESULTS, plots_folder
from plain_vs_residual.report.publish import Refresher, headlines, publish

if TYPE_CHECKING:
    from plain_vs_residual.executors.common_arithmetic import ComputeOptions
    from plain_vs_residual.executors.placement import PlacedJobs
    from plain_vs_residual.executors.suite import SuiteMonitor
    from plain_vs_residual.ledger import Ledger


def train(
    names: Names = None,
    setting: SettingName = None,
    data: Data = None,
    seeds: Seeds = None,
    first_seed: FirstSeed = 0,
    device: Device = None,
    precision: PrecisionName = None,
    execution: ExecutionName = None,
    deterministic: Deterministic = False,
    split: Split = "test",
    iterations: Iterations = None,
    evaluations: Evaluations = None,
    network: Networks = None,
    run: Runs = None,
    results: ResultsFolder = RESULTS,
    plots: PlotsFolder = None,
    jobs: Jobs = None,
    devices_per_run: DevicesPerRun = 1,
    cluster: ClusterAddress = None,
    rerun: Rerun = False,
    report: Report = True,
) -> None:
    """Train what is not finished yet and keep the report up to date; everything by default."""
    options = dict(locals())  # by name; nothing else is there yet
    selection = _selection(options)
    check_folders(results, plots)
    check_writable(results)

    from plain_vs_residual.executors.common_arithmetic import ComputeOptions

    wanted = picked(ComputeOptions, options)
    with _only_the_first_speaks():
        say_why = setting is None
        trained = _train(
            selection, wanted, results, plots, names or [], rerun=rerun, refresh=report, say_why=say_why
        )
        if trained and report:
            named = [experiment.name for experiment in selection.experiments] if names else []
            _publish(selection, named, results, plots)


def runs(**options: Any) -> None:
    """Print every run that train would plan with these options: its name, then those that it needs, if any.

    For a scheduler: train --run NAME trains one of them.
    """
    for run in _selection(options).plan():
        print(" ".join([run.name, *run.needs]))


# Whoever lists runs gives the options that whoever trains them gets: typer reads them off the signature.
runs.__signature__ = inspect.signature(train)  # type: ignore[attr-defined]
runs.__annotations__ = train.__annotations__


def _selection(options: Mapping[str, Any]) -> Selection:
    """Check what can be checked without torch, and make the selection."""
    names = ("device", "precision", "execution", "jobs", "devices_per_run")
    check_computing(**{name: options[name] for name in names})
    return picked(SelectionOptions, options).selection()


@contextmanager
def _only_the_first_speaks() -> Iterator[None]:
    """Keep processes that torchrun started from printing, but for the first."""
    from plain_vs_residual.group import launched

    with redirect_stdout(sys.stdout if launched().rank == 0 else io.StringIO()):
        yield


def _train(
    selection: Selection,
    wanted: "ComputeOptions",
    results: Path,
    plots: Path | None,
    names: Sequence[str],
    *,
    rerun: bool,
    refresh: bool,
    say_why: bool,
) -> bool:
    """Plan, place and train; say whether this process publishes: under torchrun the first one alone does."""
    from plain_vs_residual.data.datasets import load_dataset
    from plain_vs_residual.executors.placement import choose_placement
    from plain_vs_residual.executors.progress import SuiteProgress
    from plain_vs_residual.ledger import Ledger

    say_why_this_setting(selection, wanted, say_why=say_why)
    ledger = Ledger(results.resolve() if wanted.cluster else results)  # a cluster's processes start elsewhere
    planned = selection.plan()
    placed = choose_placement(planned, ledger, load_dataset(selection.setting, wanted.data), wanted)
    say_what_is_trained(selection, placed, ledger)
    folders = {seed: [job.folder for job in placed.jobs if job.run.seed == seed] for seed in selection.seeds}
    seeds = folders if refresh else {}  # of none, no page is drawn on the way
    with closing(Refresher(results, plots, selection.setting.name, selection.name, seeds)) as refresher:
        progress = SuiteProgress(refresher, bars=placed.executor.at_once == 1)
        meanwhile = FirstMinutes(selection, names, refresher.meanwhile)
        return _lock_and_carry_out(selection, ledger, placed, progress, meanwhile, rerun=rerun)


def _lock_and_carry_out(
    selection: Selection,
    ledger: "Ledger",
    placed: "PlacedJobs",
    monitor: "SuiteMonitor",
    meanwhile: FirstMinutes,
    *,
    rerun: bool,
) -> bool:
    """Lock the runs, check what is recorded of them, train and measure; say whether to publish, as above."""
    from plain_vs_residual.evidence.registering import register
    from plain_vs_residual.executors.signals import interrupt
    from plain_vs_residual.executors.suite import measure_all, train_all
    from plain_vs_residual.executors.torchrun import under_torchrun
    from plain_vs_residual.group import launched
    from plain_vs_residual.records.kept_code import keep_code
    from plain_vs_residual.training.session import Stopped

    signal.signal(signal.SIGTERM, interrupt)
    locking = placed.jobs if launched().rank == 0 else []  # the first process locks for all
    with ledger.locked(job.run for job in locking):
        try:
            with under_torchrun(placed) as mine:
                if mine is None:
                    return False  # another process of torchrun, which has trained with the first one
                _check(ledger, mine, rerun=rerun)
                for remark in register(selection, list(load_experiments().values()), ledger.results):
                    print(remark)
                keep_code(ledger.results / selection.setting.name)
                train_all(mine, monitor, meanwhile)
            # On this machine, by the first process alone.
            measure_all(placed, selection.experiments, print)
        except Stopped as stop:
            print(f"stopped: {stop}; the same command goes on from there", file=sys.stderr)
            raise SystemExit(130) from None
    return True


def _check(ledger: "Ledger", placed: "PlacedJobs", *, rerun: bool) -> None:
    """Refuse recorded runs that are not what would be trained now, or set them aside."""
    from plain_vs_residual.ledger import Changed

    try:
        for aside in ledger.check(placed.jobs, placed.describe, rerun=rerun):
            print(f"set aside: {aside}")
    except Changed as changed:
        raise ValueError(
            f"{changed}; --rerun sets them aside and trains anew, --results DIR/results keeps them and writes "
            f"elsewhere, and the two are put side by side by {command('compare', ledger.results, 'DIR/results')}"
        ) from None
    if finished := sum(job.folder.finished for job in placed.jobs):
        print(f"{finished} of {len(placed.jobs)} runs are finished already")


def _publish(selection: Selection, named: list[str], results: Path, plots: Path | None) -> None:
    """Draw the report, and say what came out, above all of the experiments that were named."""
    setting = selection.setting.name
    for path in publish(results, plots, setting):
        print(f"report: {path}")
    for line in headlines(results, setting, selection.name, named):
        print(line)
    for path in _compared(results / setting, plots):
        print(f"comparison with {RESULTS}: {path}")


def _compared(folder: Path, plots: Path | None) -> list[Path]:
    """Put results that are elsewhere beside those of the default folder, where it has some of the same runs."""
    default = RESULTS / folder.name
    if folder.resolve() == default.resolve() or not any(default.glob("*/final.json")):
        return []
    from plain_vs_residual.report.comparison import compare, find_sides

    pages = []
    try:
        for before, after in find_sides(default, folder):
            if before.by_identity.keys() & after.by_identity.keys():
                where = plots_folder(folder.parent, plots) / f"{after.recorded.name}-comparison"
                pages += compare(before, after, list(load_experiments().values()), where)
    except Exception as error:  # nobody asked for it, and everything was trained
        print(f"note: not compared with {default} ({error})")
    return pages
