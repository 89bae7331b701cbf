"""Works on several jobs at once, in processes with a device each, and ends them so that nothing is lost.

The other side is in ``worker.py``: SIGTERM asks a process to save its run and stop, SIGUSR1 to end once idle.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.process import BaseProcess
from types import TracebackType

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.board import Board
from plain_vs_residual.executors.children import WorkerDied, ended, handed_over, wait_for
from plain_vs_residual.executors.executor import Begins, DatasetOf, Work
from plain_vs_residual.executors.nvidia_mps import at_the_same_time
from plain_vs_residual.executors.worker import prepare, work_on
from plain_vs_residual.recipe import Split
from plain_vs_residual.run import Job
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.session import Stopped

# An evaluation on ImageNet takes minutes, and only after it can a run be saved.
STOP_SECONDS = 900.0
LOOK_SECONDS = 1.0  # how often the suite looks at how far the runs are


@dataclass(frozen=True)
class Processes:
    """Several processes on this machine.

    Attributes:
        at_once: how many.
        devices: shared out among them in turn.
        dataset_of: gives the images of a run.
    """

    at_once: int
    devices: Sequence[torch.device]
    dataset_of: DatasetOf

    def carry_out(self, jobs: Sequence[Job], work: Work, begins: Begins) -> Generator[Job, None, None]:
        """Do the work with each job.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; says what was saved.
            WorkerDied: if a process was killed.
        """
        datasets = {job.run.setting.split: self.dataset_of(job.run) for job in jobs}
        waiting, running, watching = list(jobs), dict[Future[None], Job](), dict[str, Monitor]()
        with Workers(max(1, min(self.at_once, len(jobs))), datasets, self.devices, work) as workers:
            while waiting or running:
                unfinished = {job.folder for job in (*waiting, *running.values())}
                ready = [job for job in waiting if not unfinished.intersection(job.needs)]
                for job in ready[: self.at_once - len(running)]:
                    waiting.remove(job)
                    watching[job.name] = begins(job)
                    running[workers.submit(job)] = job
                for future in wait(running, LOOK_SECONDS, FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
                for job in running.values():
                    workers.board.tell(job.name, watching[job.name])


class Workers:
    """A pool of processes. If the context is left by an exception, each process may save its run first.

    Args:
        number: how many processes.
        datasets: images by split; every process reads them once.
        devices: shared out among the processes in turn.
        work: what a process does with a job.
    """

    def __init__(
        self, number: int, datasets: dict[Split, Dataset], devices: Sequence[torch.device], work: Work
    ) -> None:
        self.work = work
        context = multiprocessing.get_context("spawn")
        assigned_devices = context.Queue()
        for _, device in zip(range(number), cycle(devices), strict=False):
            assigned_devices.put(device)
        self.cleanup = ExitStack()
        path = self.cleanup.enter_context(handed_over(datasets))
        self.board = Board(path.parent)
        shared = devices[0].type == "cuda" and number > len(devices)
        self.cleanup.enter_context(at_the_same_time() if shared else nullcontext())
        self.pool = ProcessPoolExecutor(number, context, prepare, (path, assigned_devices, os.getpid()))
        self.jobs: dict[Future[None], str] = {}

    def submit(self, job: Job) -> Future[None]:
        """Hand a job to the next free process."""
        self.jobs = {future: name for future, name in self.jobs.items() if not future.done()}
        # A new process inherits which signals are blocked. SIGINT stays so in it for good: Ctrl-C reaches all
        # processes of a terminal, and only this one acts on it. SIGTERM, the request to save, stays blocked until
        # `prepare` can obey it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        try:
            future = self.pool.submit(work_on, job, self.work)
            self.pool.submit(int)  # does nothing; the pool sees a new process die only after one more task
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.jobs[future] = job.name
        return future

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, after an exception as soon as their runs are saved.

        Raises:
            Stopped: in place of a KeyboardInterrupt; says what was saved.
            WorkerDied: if a process was killed.
        """
        said = self._stop() if error is not None else []
        self.pool.shutdown()
        self.cleanup.close()
        if isinstance(error, BrokenProcessPool):
            raise WorkerDied(
                "a training process was killed, perhaps for want of memory; what was finished or saved is kept: "
                "the same command goes on, with --jobs 1 it needs less memory"
            ) from error
        if isinstance(error, KeyboardInterrupt):
            raise Stopped("; ".join(said) or "nothing was being trained") from None

    def _stop(self) -> list[str]:
        """Let every process save its run, kill those that take too long, and say what became of each run.

        Another KeyboardInterrupt kills them at once.
        """
        deadline = time.monotonic() + STOP_SECONDS
        processes = multiprocessing.active_children()
        said = []
        with ended(lambda: processes):  # kills what is left, however this ends
            for process in processes:
                process.terminate()  # by SIGTERM, which asks a worker to save
            try:
                for future, name in self.jobs.items():
                    said += _outcome(future, name, processes, deadline)
            except KeyboardInterrupt:
                said.append("the others go on from their last checkpoints")
        return said


def _outcome(future: Future[None], name: str, processes: Sequence[BaseProcess], deadline: float) -> list[str]:
    """Wait until a job's process has stopped; return a line if it saved or took too long, none if it was done."""
    try:
        outcome = future.exception(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return [f"{name} took too long to save and goes on from its last checkpoint"]
    if isinstance(outcome, BrokenProcessPool):
        _let_the_others_save(processes, deadline)
    return [str(outcome)] if isinstance(outcome, Stopped) else []


def _let_the_others_save(processes: Sequence[BaseProcess], deadline: float) -> None:
    """Wait until all processes have ended, after one of them died.

    The pool then fails every future, also those of processes that still save their runs: futures cannot tell any
    more. SIGUSR1 lets each process end once it works on nothing.
    """
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)  # type: ignore[arg-type]
    wait_for(processes, deadline)
