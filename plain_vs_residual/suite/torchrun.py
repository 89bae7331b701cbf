"""Trains runs by the processes that torchrun started, on one machine or several: the first is the suite.

All of them were given the same command. The first plans, locks, writes and prints, and tells the others which run
they train with it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
import torch.distributed as dist

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.group import Group, join, launched
from plain_vs_residual.suite.description import describe
from plain_vs_residual.suite.interrupt import StopRequest
from plain_vs_residual.suite.progress import Unwatched
from plain_vs_residual.suite.workers import Work, train_run
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.session import Stopped


class Leading:
    """Trains a run together with the processes that follow this one.

    Attributes:
        midway: whether the others are in the middle of a run, and hear nothing before its end.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.midway = False

    def __call__(self, run: Run, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
        """Tell the others which run it is, and train it with them."""
        placed = _placed(run, self.group)
        description = describe(placed, dataset)
        self.group.as_first((run, description))
        self.midway = True
        try:
            train_run(placed, dataset, monitor, stops, description)
        except Stopped:
            self.midway = False  # all have saved and left
            raise
        self.midway = False


@contextmanager
def under_torchrun(
    device: torch.device, dataset_of: Callable[[Run], Dataset], otherwise: Work
) -> Iterator[Work | None]:
    """Join the processes that torchrun started: give the first its way to train a run, and None to the others.

    The others train with the first until it leaves the context, before they enter theirs.

    Args:
        device: of the suite.
        dataset_of: gives the images of a run.
        otherwise: given where torchrun started nothing.
    """
    if launched().size == 1:
        yield otherwise
        return
    group = join(device.type, launched().rank, launched().size, "env://")
    leading = Leading(group)
    try:
        if not group.leads:
            _follow(group, dataset_of)
        yield leading if group.leads else None
    finally:
        if group.leads and not leading.midway:  # else torchrun ends the others when this process ends
            group.as_first(None)
    dist.destroy_process_group()


def _follow(group: Group, dataset_of: Callable[[Run], Dataset]) -> None:
    while task := group.as_first(None):
        run, description = task
        with StopRequest() as stops, suppress(Stopped):
            train_run(_placed(run, group), dataset_of(run), Unwatched(), stops, description)


def _placed(run: Run, group: Group) -> Run:
    device = torch.device("cuda", launched().local_rank) if run.device.type == "cuda" else run.device
    return replace(run, device=device, group=group)
