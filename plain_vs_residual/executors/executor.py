"""What an executor is: it does some work with each of the jobs that it is given, each at a place that it picks.

Here, in processes, on a Ray cluster: whoever hands the jobs out need not know which. (A scheduler such as Slurm
starts this suite anew for each run: ``experiments/on_slurm.sh``.)
"""

from collections.abc import Callable, Generator, Sequence
from functools import cache
from typing import Protocol

from plain_vs_residual.data.datasets import split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.recipe import Split
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place

ShouldStop = Callable[[], bool]
Work = Callable[[Job, Place, Dataset, Monitor, ShouldStop], None]
Begins = Callable[[Job], Monitor]  # hears that a job begins, and returns what watches it
DatasetOf = Callable[[Run], Dataset]


class Executor(Protocol):
    """Does the work with jobs.

    Attributes:
        at_once: how many jobs are worked on at once.
    """

    @property
    def at_once(self) -> int: ...

    def carry_out(self, jobs: Sequence[Job], work: Work, begins: Begins) -> Generator[Job, None, None]:
        """Do the work with each job, after those that it needs, and yield it afterwards.

        Args:
            jobs: those that others need come before them.
            work: what is done with a job.
            begins: called as a job begins; what it returns watches the job where that is done in this process.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; says what was saved.
        """
        ...


def split_once(dataset: Dataset) -> DatasetOf:
    """Return what gives each run its images, split as its setting says; each split is made once for all."""

    @cache
    def made(how: Split) -> Dataset:
        return split(dataset, how)

    return lambda run: made(run.setting.split)


class SilentMonitor:
    """The monitor of a run of which nobody hears before it ends."""

    def advanced(self, iteration: int, num_iterations: int) -> None:
        """Say nothing."""

    def evaluated(self, row: object, num_iterations: int) -> None:
        """Say nothing."""
