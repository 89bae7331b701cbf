"""Trains what is not finished and measures what is not measured, by whatever executor, and tells a monitor."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from plain_vs_residual.executors.estimate import Estimate, relative_work
from plain_vs_residual.executors.executor import SilentMonitor
from plain_vs_residual.executors.measuring import Measuring
from plain_vs_residual.executors.placement import PlacedJobs
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.records.store import read_final
from plain_vs_residual.run import Job
from plain_vs_residual.training.loop import Monitor


class SuiteMonitor(Protocol):
    """Is told what the suite does."""

    def begins(self, job: Job, number: int, total: int, seconds_left: float | None) -> Monitor:
        """Hear that a run begins, and return what watches it."""
        ...

    def ended(self, job: Job, final: FinalRecord) -> None:
        """Hear that a run was recorded."""
        ...


Meanwhile = Callable[[float | None], None]


def train_all(placed: PlacedJobs, monitor: SuiteMonitor, meanwhile: Meanwhile = lambda seconds_left: None) -> None:
    """Train what is not finished.

    Args:
        placed: the jobs, and what it takes to train them.
        monitor: is told what becomes of each run.
        meanwhile: called once in a second or more rarely while runs are trained, and as each of them ends, with an
            estimate of the time that is left for all; None before there is one.

    Raises:
        Stopped: after Ctrl-C or SIGTERM; says what was saved.
        OutOfMemory: if a run does not fit.
    """
    pending = [job for job in placed.jobs if not job.folder.finished]
    runs = [job.run for job in pending]
    estimate = Estimate(relative_work(runs, placed.dataset_of), placed.executor.at_once)

    def begins(job: Job) -> Monitor:
        seconds_left = estimate.seconds_left()
        estimate.begins(job.name)
        watching = monitor.begins(job, pending.index(job) + 1, len(pending), seconds_left)
        return _Timed(job.name, watching, estimate, meanwhile)

    with closing(placed.executor.carry_out(pending, placed.work, begins)) as trained:
        for job in trained:
            estimate.ended(job.name)
            monitor.ended(job, read_final(job.folder))
            meanwhile(estimate.seconds_left())


class _Timed:
    """Watches a run for its own monitor and, once in a second, for the suite."""

    SECONDS = 1.0

    def __init__(self, name: str, watching: Monitor, estimate: Estimate, meanwhile: Meanwhile) -> None:
        self.name = name
        self.watching = watching
        self.estimate = estimate
        self.meanwhile = meanwhile
        self.last = estimate.now()

    def advanced(self, iteration: int, num_iterations: int) -> None:
        self.watching.advanced(iteration, num_iterations)
        if (now := self.estimate.now()) - self.last >= self.SECONDS:
            self.last = now
            self.estimate.advanced(self.name, iteration, num_iterations)
            self.meanwhile(self.estimate.seconds_left())

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        self.watching.evaluated(row, num_iterations)


def measure_all(placed: PlacedJobs, experiments: Sequence[Experiment], say: Callable[[str], object]) -> None:
    """Measure on finished runs what the experiments ask for and is not measured yet.

    Raises:
        Stopped: after Ctrl-C or SIGTERM.
        ValueError: if a run's weights are not kept.
    """
    measuring = Measuring.of(placed.jobs, experiments)
    pending = [job for job in placed.jobs if measuring.wanted[job.name]]

    def begins(job: Job) -> SilentMonitor:
        names = ", ".join(measuring.wanted[job.name])
        say(f"measuring {pending.index(job) + 1}/{len(pending)} {job.name}: {names}")
        return SilentMonitor()

    with closing(placed.measuring.carry_out(pending, measuring, begins)) as measured:
        for _ in measured:
            pass
