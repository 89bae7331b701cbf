"""Inside a worker process: what it keeps between its jobs, and how it is asked to save and to end."""

import os
import pickle
import signal
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.board import Board, Noting
from plain_vs_residual.executors.children import end_when
from plain_vs_residual.executors.executor import Work
from plain_vs_residual.recipe import Split
from plain_vs_residual.run import Job
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped


@dataclass
class _Worker:
    """What a worker process keeps between its jobs.

    SIGTERM asks it to stop: it saves its run. SIGUSR1 dismisses it: it ends once it works on nothing.
    """

    datasets: dict[Split, Dataset]
    board: Board
    device: torch.device
    parent: int
    asked_to_stop: bool = False
    dismissed: bool = False
    working: bool = False

    def stops(self) -> bool:
        """Say whether the suite asked for it, or was killed: a new suite must not find old workers training."""
        return self.asked_to_stop or self.orphaned()

    def orphaned(self) -> bool:
        return os.getppid() != self.parent

    def should_exit(self) -> bool:
        """Say whether the process works on nothing and will get no more work, whatever became of its pool."""
        return not self.working and (self.dismissed or self.orphaned())


_worker: _Worker  # of this process; set by `prepare`


def prepare(datasets_path: Path, devices: "Queue[torch.device]", parent: int) -> None:
    """Make a worker of this process: read the images, take a device, and obey the suite's signals."""
    global _worker  # noqa: PLW0603 -- the way to hand something to the tasks of a process pool
    datasets = pickle.loads(datasets_path.read_bytes())
    _worker = _Worker(datasets, Board(datasets_path.parent), devices.get(), parent)
    signal.signal(signal.SIGTERM, lambda *_: setattr(_worker, "asked_to_stop", True))
    signal.signal(signal.SIGUSR1, lambda *_: setattr(_worker, "dismissed", True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    end_when(_worker.should_exit)  # a thread asks again and again


def work_on(job: Job, work: Work) -> None:
    """Do the work with a job.

    Raises:
        Stopped: if the suite asked for it; says what was saved.
    """
    if _worker.stops():
        raise Stopped(f"{job.name} was about to begin")
    _worker.working = True
    try:
        noting = Noting(_worker.board, job.name)
        work(job, Place(_worker.device), _worker.datasets[job.run.setting.split], noting, _worker.stops)
    finally:
        _worker.working = False
