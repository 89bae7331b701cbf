"""Trains runs by the processes that torchrun started, on one machine or several: the first is the suite.

All of them were given the same command. The first plans, locks, writes and prints, and tells the others which run
they train with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
import torch.distributed as dist

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.executor import DatasetOf, ShouldStop, SilentMonitor
from plain_vs_residual.executors.here import Here
from plain_vs_residual.executors.placement import PlacedJobs
from plain_vs_residual.executors.signals import StopRequest
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.group import Group, join, launched
from plain_vs_residual.run import Job
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped


class WithFollowers:
    """The work of training a job together with the processes that follow this one.

    Attributes:
        midway: whether the others are in the middle of a run, and hear nothing before its end.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.midway = False

    def __call__(self, job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: ShouldStop) -> None:
        """Tell the others which job it is, and train it with them."""
        self.group.as_first(job)
        self.midway = True
        try:
            train_job(job, place, dataset, monitor, stops)
        except Stopped:
            self.midway = False  # all have saved and left
            raise
        self.midway = False


@contextmanager
def under_torchrun(placed: PlacedJobs) -> Iterator[PlacedJobs | None]:
    """Join the processes that torchrun started: let the first lead the work, and give None to the others.

    The others train with the first until it leaves the context, before they enter theirs. Where torchrun started
    nothing, nothing changes.
    """
    if launched().size == 1:
        yield placed
        return
    on_gpu = placed.device.type == "cuda"
    device = torch.device("cuda", launched().local_rank) if on_gpu else placed.device
    place = Place(device, join(device.type, launched().rank, launched().size, "env://"))
    together = WithFollowers(place.group)
    try:
        if place.group.is_first:
            yield replace(placed, executor=Here(place, placed.dataset_of), work=together)
        else:
            _follow(place, placed.dataset_of)
            yield None
    finally:
        if place.group.is_first and not together.midway:  # else torchrun ends the others when this process ends
            place.group.as_first(None)
    dist.destroy_process_group()


def _follow(place: Place, dataset_of: DatasetOf) -> None:
    nothing: Job | None = None  # what the first has is what counts
    while job := place.group.as_first(nothing):
        with StopRequest() as stops, suppress(Stopped):
            train_job(job, place, dataset_of(job.run), SilentMonitor(), stops)
