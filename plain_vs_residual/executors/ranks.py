"""Trains one run by several processes, each with a device of its own, that share every batch (torch.distributed).

The suite starts the processes for each run, on one machine; for several machines there is ``torchrun.py``.
"""

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.children import WorkerDied, end_when, ended, handed_over
from plain_vs_residual.executors.executor import ShouldStop, SilentMonitor
from plain_vs_residual.executors.gpus import alike_from
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.group import join
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped

# Processes that wait for a dead one are ended after this long, and killed after as long again.
GRACE_SECONDS = 15.0


def check_shares(run: Run, num_devices: int) -> None:
    """Refuse a number of devices by which the batch cannot be shared out without changing the recipe.

    Raises:
        ValueError: names the numbers that are accepted.
    """
    recipe = run.setting
    if recipe.num_ghost_batches % num_devices == 0:
        return
    accepted = ", ".join(
        str(n) for n in range(1, recipe.num_ghost_batches + 1) if recipe.num_ghost_batches % n == 0
    )
    over = f"groups of {recipe.norm_batch}" if recipe.norm_batch else "the whole batch"
    raise ValueError(
        f"--devices-per-run {num_devices}: in setting {recipe.name}, BN normalises over {over} of "
        f"{recipe.batch_size} images, which no number of devices may change; accepted are {accepted}"
    )


@dataclass(frozen=True)
class Task:
    """What every process of a run is told."""

    job: Job
    device: torch.device
    dataset: Dataset
    parent: int


def train_on_several_devices(
    job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: ShouldStop
) -> None:
    """Train a run in as many processes as its arithmetic has devices, from the device of the place on.

    Raises:
        Stopped: if ``stops`` said so.
        WorkerDied: if a process was killed; all have ended then.
        ValueError: what a process said in one line.
    """
    size = job.arithmetic.devices
    heard, told = mp.Pipe(duplex=False)
    stopping = mp.get_context("spawn").Event()
    with handed_over(Task(job, place.device, dataset, os.getpid())) as task_path:
        folder = task_path.parent
        arguments = (size, task_path, told, stopping)
        ranks: Any = start_processes(_train_rank, arguments, size, join=False, start_method="spawn")
        told.close()
        with ended(lambda: ranks.processes):
            try:
                while not ranks.join(0.1, GRACE_SECONDS):
                    _forward(heard, monitor)
                    if stops():
                        stopping.set()
                _forward(heard, monitor)
            except (ProcessExitedException, ProcessRaisedException) as error:
                _explain(job, folder, ranks.processes, error)
        if (folder / "stopped").exists():
            raise Stopped((folder / "stopped").read_text())


def _explain(job: Job, folder: Path, processes: list[Any], error: Exception) -> None:
    """Say in one line why the processes ended, unless the run is finished all the same."""
    if job.folder.finished:
        return  # some versions of torch abort now and then when the processes part
    if (folder / "failed").exists():
        raise pickle.loads((folder / "failed").read_bytes()) from error
    dead = [rank for rank, process in enumerate(processes) if process.exitcode == -signal.SIGKILL]
    if not dead and isinstance(error, ProcessExitedException):
        dead = [error.error_index]
    if not dead:
        raise error
    raise WorkerDied(
        f"{job.name}: process {dead[0]} of {len(processes)} was killed, and the others have ended with it; what "
        "was saved is kept: the same command goes on from the last checkpoint"
    ) from error


def _forward(heard: Connection, monitor: Monitor) -> None:
    """Tell the monitor what the first process said since."""
    with suppress(EOFError, OSError):
        while heard.poll():
            said, arguments = heard.recv()
            getattr(monitor, said)(*arguments)


class _Messenger:
    """Tells the suite's process how far the run is; not of every iteration."""

    SECONDS = 0.2

    def __init__(self, told: Connection) -> None:
        self.told = told
        self.last = 0.0

    def advanced(self, iteration: int, num_iterations: int) -> None:
        if time.monotonic() - self.last > self.SECONDS:
            self.last = time.monotonic()
            self._say("advanced", iteration, num_iterations)

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        self._say("evaluated", row, num_iterations)

    def _say(self, said: str, *arguments: object) -> None:
        with suppress(OSError):  # the suite's process is gone; the loop stops for that
            self.told.send((said, arguments))


def _train_rank(rank: int, size: int, task_path: Path, told: Connection, stopping: threading.Event) -> None:
    """Train a part of every batch: what each process of a run does."""
    # Ctrl-C reaches every process of a terminal; the suite's process passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task: Task = pickle.loads(task_path.read_bytes())
    # The lock of the suite's process is gone when that is: another may train the run by then.
    end_when(lambda: os.getppid() != task.parent)
    with _joined(task.device, rank, size, f"file://{task_path.parent}/meeting") as place:
        monitor = _Messenger(told) if place.group.is_first else SilentMonitor()
        try:
            train_job(task.job, place, task.dataset, monitor, stopping.is_set)
        except Stopped as stop:
            if place.group.is_first:
                (task_path.parent / "stopped").write_text(str(stop))
        except ValueError as error:
            (task_path.parent / "failed").write_bytes(pickle.dumps(error))
            raise


@contextmanager
def _joined(first: torch.device, rank: int, size: int, meeting_place: str) -> Iterator[Place]:
    """Join the processes of a run for as long as the context lasts, at the place of this one."""
    device = first
    if device.type == "cuda":
        device = alike_from(device)[rank]
        torch.cuda.set_device(device)
    yield Place(device, join(device.type, rank, size, meeting_place))
    # Not after an error, which the others may never reach: the processes end together then.
    dist.barrier()
    dist.destroy_process_group()
