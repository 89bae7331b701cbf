"""Tells a person how far the suite has come: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.run import Job


def minutes(seconds: float) -> str:
    """Write a duration for people.

    >>> minutes(42), minutes(420), minutes(12_000)
    ('42 s', '7 min', '3 h 20 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return "{} h {} min".format(*divmod(round(seconds / 60), 60))


class RunProgress:
    """Progress of one run; a bar with the last errors and the time left, or a line every few evaluations."""

    LINE_SECONDS = 10.0

    def __init__(self, console: Console, title: str, suite_left: str, *, bar: bool = True) -> None:
        self.console = console
        self.title = title
        self.suite_left = suite_left
        self.started = self.last_line = time.perf_counter()
        self.first_iteration: int | None = None
        self.bar: Progress | None = None
        if bar and console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:3.0f} %"),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[errors]}"),
                TextColumn(suite_left),
                console=console,
                transient=True,
            )
            self.task = self.bar.add_task(title, total=None, errors="")
            self.bar.start()
        else:
            console.print(f"{title} {suite_left}".rstrip(), highlight=False)

    def advanced(self, iteration: int, num_iterations: int) -> None:
        """Move the bar."""
        if self.bar:
            self.bar.update(self.task, completed=iteration, total=num_iterations)

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        """Show the newest errors."""
        errors = f"error: training {row.training_error:.2f} %, validation {row.validation_error:.2f} %"
        if self.bar:
            self.bar.update(self.task, errors=errors)
            return
        now = time.perf_counter()
        if self.first_iteration is None:
            self.first_iteration, self.started = row.iteration, now
        if row.iteration < num_iterations and now - self.last_line >= self.LINE_SECONDS:
            self.last_line = now
            trained = row.iteration - self.first_iteration
            left = (now - self.started) / trained * (num_iterations - row.iteration) if trained else 0
            self.console.print(
                f"  iteration {row.iteration:,} of {num_iterations:,}; {errors}; {minutes(left)} left",
                highlight=False,
            )

    def close(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()


class SuiteProgress:
    """Progress of the whole suite on standard output."""

    def __init__(self, after_run: Callable[[], None] | None = None, *, bars: bool = True) -> None:
        self.bars = bars  # several runs at once have lines instead
        self.console = Console(file=sys.stdout, soft_wrap=True)
        self.after_run = after_run
        self.current: RunProgress | None = None

    def begins(self, job: Job, number: int, total: int, seconds_left: float | None) -> RunProgress:
        """Open the progress of one run."""
        left = f"(suite: {minutes(seconds_left)} left)" if seconds_left is not None else ""
        self.current = RunProgress(self.console, f"{number}/{total} {job.name}", left, bar=self.bars)
        return self.current

    def ended(self, job: Job, final: FinalRecord) -> None:
        """Print the outcome of one run."""
        if self.current:
            self.current.close()
        outcome = "" if final.outcome == "finished" else f" {final.outcome.upper()}"
        self.console.print(
            f"  {job.name}:{outcome} training error {final.training_error:.2f} %, "
            f"validation error {final.validation_error:.2f} %, "
            f"{minutes(final.training_seconds + final.evaluation_seconds)}",
            highlight=False,
        )
        waited = final.waited_for_data_seconds / max(final.training_seconds, 1e-9)
        if waited > 0.1:
            self.console.print(
                f"  note: {100 * waited:.0f} % of its training time went by waiting for images to be decoded; "
                "more cores or smaller files would shorten it",
                highlight=False,
            )
        if self.after_run:
            self.after_run()
