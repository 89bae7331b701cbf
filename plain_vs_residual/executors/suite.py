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


def train_all(placed: PlacedJobs, monitor: SuiteMonitor) -> None:
    """Train what is not finished.

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
        return monitor.begins(job, pending.index(job) + 1, len(pending), seconds_left)

    with closing(placed.executor.carry_out(pending, placed.work, begins)) as trained:
        for job in trained:
            estimate.ended(job.name)
            monitor.ended(job, read_final(job.folder))


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
