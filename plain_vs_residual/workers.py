"""Trains runs in processes of their own, one device each, and ends them so that nothing is lost."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.training.job import Job
from plain_vs_residual.training.loop import Monitor, Stopped, train

# An evaluation on ImageNet takes minutes, and only after it can a run be saved.
STOP_SECONDS = 900.0


class OutOfMemory(ValueError):
    """A run does not fit into memory."""


class WorkerDied(ValueError):
    """A process was killed from outside."""


@dataclass(frozen=True)
class Task:
    """A run as a process is told to train it."""

    job: Job
    folder: records.RunFolder
    run: dict[str, Any]
    rates: list[list[float]]

    def train(self, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
        """Trains it here.

        Raises:
            OutOfMemory: says the batch, the peak and what to try; a smaller batch would be another recipe.
            Stopped: if ``stops`` said so.
            ValueError: if ``--deterministic`` asks for what the device cannot do.
        """
        try:
            train(self.job, dataset, self.folder, self.run, monitor, self.rates, stops)
        except (MemoryError, RuntimeError) as error:
            if "does not have a deterministic implementation" in str(error):
                line = str(error).split(". ")[0]
                raise ValueError(f"--deterministic: {line}; leave it out for this network") from error
            if not _is_out_of_memory(error):
                raise
            raise OutOfMemory(self._out_of_memory()) from error

    def _out_of_memory(self) -> str:
        setting, device = self.job.setting, self.job.device
        size = setting.enlarge_to or setting.image_size
        peak = (
            f", peak {torch.cuda.max_memory_allocated(device) / 2**20:,.0f} MiB" if device.type == "cuda" else ""
        )
        return (
            f"{self.folder.path.name}: out of memory on {device} with batches of {setting.batch_size} images of "
            f"{size} px{peak}; the batch belongs to the recipe and stays as it is; try fewer runs at once "
            "(--jobs 1), --precision bf16, or a device with more memory. What was finished or saved is kept"
        )


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


class Workers:
    """A pool of ``jobs`` processes; a KeyboardInterrupt within the context lets each save its run first."""

    def __init__(self, jobs: int, datasets: dict[str, Dataset], devices: list[torch.device]) -> None:
        context = multiprocessing.get_context("spawn")
        assigned = context.Queue()
        for _, device in zip(range(jobs), cycle(devices), strict=False):
            assigned.put(device)
        prepared = (datasets, torch.get_num_threads(), assigned, os.getpid())
        self.pool = ProcessPoolExecutor(jobs, context, _prepare, prepared)
        self.runs: dict[Future[None], str] = {}

    def submit(self, task: Task) -> Future[None]:
        """Hands a run to the next free process."""
        self.runs = {future: name for future, name in self.runs.items() if not future.done()}
        # A new process inherits what is blocked: Ctrl-C, which reaches every process of a terminal, for good;
        # a request to stop until it can be obeyed.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        try:
            future = self.pool.submit(_train, task)
            self.pool.submit(int)  # whether a new process dies is watched from the next task on only
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.runs[future] = task.folder.path.name
        return future

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the processes.

        Raises:
            Stopped: in place of a KeyboardInterrupt; says what was saved.
            WorkerDied: if a process was killed.
        """
        said = self._stop() if error is not None else []
        self.pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise WorkerDied(
                "a training process was killed, perhaps for want of memory; what was finished or saved is kept: "
                "the same command goes on, with --jobs 1 it needs less memory"
            ) from error
        if isinstance(error, KeyboardInterrupt):
            raise Stopped("; ".join(said) or "nothing was being trained") from None

    def _stop(self) -> list[str]:
        """Lets every process save its run, and kills those that take too long; a line a run.

        Another KeyboardInterrupt kills them at once.
        """
        deadline = time.monotonic() + STOP_SECONDS
        processes = multiprocessing.active_children()
        said = []
        try:
            for process in processes:
                process.terminate()
            for future, name in self.runs.items():
                try:
                    outcome = future.exception(max(0.0, deadline - time.monotonic()))
                except TimeoutError:
                    said.append(f"{name} took too long to save and goes on from its last checkpoint")
                    continue
                if isinstance(outcome, BrokenProcessPool):
                    self._dismiss(processes, deadline)
                if isinstance(outcome, Stopped):
                    said.append(str(outcome))
        except KeyboardInterrupt:
            said.append("the others go on from their last checkpoints")
        finally:
            for process in processes:
                process.kill()
        return said

    @staticmethod
    def _dismiss(processes: Iterable[BaseProcess], deadline: float) -> None:
        """Waits for the other processes of a broken pool, which neither tells of them nor lets them go."""
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)  # type: ignore[arg-type]
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))


class _Unwatched:
    def advanced(self, iteration: int, iterations: int) -> None:
        pass

    def evaluated(self, row: dict[str, Any], iterations: int) -> None:
        pass


@dataclass
class _Here:
    """What a worker process keeps between its runs."""

    datasets: dict[str, Dataset]
    device: torch.device
    suite: int
    asked_to_stop: bool = False
    dismissed: bool = False
    at_work: bool = False

    def stops(self) -> bool:
        """Whether the suite asked for it, or was killed: whoever starts it again must not meet its workers."""
        return self.asked_to_stop or self.deserted()

    def deserted(self) -> bool:
        return os.getppid() != self.suite

    def leave_in_time(self) -> None:
        """A pool's process would wait for work for ever, whatever became of the pool."""
        while self.at_work or not (self.dismissed or self.deserted()):
            time.sleep(0.2)
        os._exit(1)


_here: _Here


def _prepare(datasets: dict[str, Dataset], threads: int, devices: "Queue[torch.device]", suite: int) -> None:
    global _here  # noqa: PLW0603 -- the way to hand something to the tasks of a process pool
    _here = _Here(datasets, devices.get(), suite)
    signal.signal(signal.SIGTERM, lambda *_: setattr(_here, "asked_to_stop", True))
    signal.signal(signal.SIGUSR1, lambda *_: setattr(_here, "dismissed", True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    torch.set_num_threads(threads)
    threading.Thread(target=_here.leave_in_time, daemon=True).start()


def _train(task: Task) -> None:
    if _here.stops():
        raise Stopped(f"{task.folder.path.name} was about to begin")
    placed = replace(task, job=replace(task.job, device=_here.device))
    _here.at_work = True
    try:
        placed.train(_here.datasets[task.job.setting.split], _Unwatched(), _here.stops)
    finally:
        _here.at_work = False
