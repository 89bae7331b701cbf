"""Shows how far a network has come through its images: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from plain_vs_residual.data.batches import Batch
from plain_vs_residual.executors.progress import minutes
from plain_vs_residual.subject.subject import Subject

LINE_SECONDS = 10.0


@contextmanager
def shown(subject: Subject, num_images: int) -> Iterator[Subject]:
    """Yield the subject as one that shows its progress on standard error whenever images are looked at.

    Args:
        subject: what is looked at.
        num_images: how many images it will be shown in all, each as often as it is.
    """
    console = Console(stderr=True, soft_wrap=True)
    if console.is_terminal:
        columns = (TextColumn("images"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("images", total=num_images)

            def moved(batches: Iterator[Batch]) -> Iterator[Batch]:
                for images, labels in batches:
                    yield images, labels
                    bar.advance(task, len(labels))

            yield replace(subject, watch=moved)
    else:
        yield replace(subject, watch=_Lines(num_images))


class _Lines:
    """Prints a line every ten seconds, so that what is quick prints none."""

    def __init__(self, num_images: int) -> None:
        self.num_images, self.seen = num_images, 0
        self.started = self.last_line = time.perf_counter()

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for images, labels in batches:
            yield images, labels
            self.seen += len(labels)
            now = time.perf_counter()
            if now - self.last_line >= LINE_SECONDS and self.seen < self.num_images:
                self.last_line = now
                left = (now - self.started) / self.seen * (self.num_images - self.seen)
                print(f"  {self.seen:,} of {self.num_images:,} images; {minutes(left)} left", file=sys.stderr)
