"""Trains runs in processes of their own, one device each, and ends them so that nothing is lost."""

import gc
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.recipe import Split
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.suite.description import describe
from plain_vs_residual.suite.memory import OutOfMemory, is_out_of_memory, what_to_try
from plain_vs_residual.suite.progress import Unwatched
from plain_vs_residual.training.loop import Monitor, train
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.session import Stopped

# An evaluation on ImageNet takes minutes, and only after it can a run be saved.
STOP_SECONDS = 900.0

Work = Callable[[Run, Dataset, Monitor, Callable[[], bool]], None]


class WorkerDied(ValueError):
    """A process was killed from outside."""


def train_run(
    run: Run,
    dataset: Dataset,
    monitor: Monitor,
    stops: Callable[[], bool],
    description: RunDescription | None = None,
) -> None:
    """Train a run in this process.

    Args:
        run: what to train.
        dataset: its images.
        monitor: is told about progress.
        stops: says whether to stop.
        description: what is known of the run beforehand, if somebody else has written it down.

    Raises:
        OutOfMemory: says the batch, the peak and what to try; a smaller batch would be another recipe.
        Stopped: if ``stops`` said so.
        ValueError: if ``--deterministic`` asks for what the device cannot do.
    """
    if run.execution.compiled:
        torch.compiler.reset()  # else torch compiles eight networks per process and trains the others eagerly
    try:
        train(run, dataset, description or describe(run, dataset), monitor, stops)
        if run.device.type == "cuda":
            gc.collect()  # else a graph and its memory stay until chance collects them
            torch.cuda.empty_cache()
    except (MemoryError, RuntimeError) as error:
        if "does not have a deterministic implementation" in str(error):
            line = str(error).split(". ")[0]
            raise ValueError(f"--deterministic: {line}; leave it out for this network") from error
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(what_to_try(run)) from error


class Workers:
    """A pool of ``jobs`` processes; a KeyboardInterrupt within the context lets each save its run first.

    Args:
        jobs: how many processes.
        datasets: images by split; every process reads them once.
        devices: shared out among the processes in turn.
        work: what a process does with a run.
    """

    def __init__(
        self, jobs: int, datasets: dict[Split, Dataset], devices: Sequence[torch.device], work: Work = train_run
    ) -> None:
        self.work = work
        context = multiprocessing.get_context("spawn")
        assigned = context.Queue()
        for _, device in zip(range(jobs), cycle(devices), strict=False):
            assigned.put(device)
        # Through a file: tensors that are handed over use shared memory, of which a container has little, and a
        # process that is killed before it has read its pipe to the end leaves this one waiting for ever.
        self.handed_over = tempfile.TemporaryDirectory(prefix="plain_vs_residual-")
        path = Path(self.handed_over.name) / "datasets"
        path.write_bytes(pickle.dumps(datasets))
        prepared = (path, torch.get_num_threads(), assigned, os.getpid())
        self.pool = ProcessPoolExecutor(jobs, context, _prepare, prepared)
        self.runs: dict[Future[None], str] = {}

    def submit(self, run: Run) -> Future[None]:
        """Hand a run to the next free process."""
        self.runs = {future: name for future, name in self.runs.items() if not future.done()}
        # A new process inherits which signals are blocked: Ctrl-C, which reaches every process of a terminal, for
        # good; a request to stop until the process can obey it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        try:
            future = self.pool.submit(_work_on, run, self.work)
            self.pool.submit(int)  # the pool watches for the death of a new process from the next task on only
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.runs[future] = run.name
        return future

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes.

        Raises:
            Stopped: in place of a KeyboardInterrupt; says what was saved.
            WorkerDied: if a process was killed.
        """
        said = self._stop() if error is not None else []
        self.pool.shutdown()
        self.handed_over.cleanup()
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
                    self._wait_for_the_others(processes, deadline)
                if isinstance(outcome, Stopped):
                    said.append(str(outcome))
        except KeyboardInterrupt:
            said.append("the others go on from their last checkpoints")
        finally:
            for process in processes:
                process.kill()
        return said

    @staticmethod
    def _wait_for_the_others(processes: Iterable[BaseProcess], deadline: float) -> None:
        """Dismiss the other processes of a broken pool, which would neither report on them nor let them end."""
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)  # type: ignore[arg-type]
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))


# ---- inside a worker process ------------------------------------------------------------------------------


@dataclass
class _Worker:
    """What a worker process keeps between its runs."""

    datasets: dict[Split, Dataset]
    device: torch.device
    parent: int
    asked_to_stop: bool = False
    dismissed: bool = False
    training: bool = False

    def stops(self) -> bool:
        """Say whether the suite asked for it, or was killed: a new suite must not find old workers training."""
        return self.asked_to_stop or self.orphaned()

    def orphaned(self) -> bool:
        return os.getppid() != self.parent

    def exit_when_unneeded(self) -> None:
        """End the process, which would otherwise wait for work for ever, whatever became of its pool."""
        while self.training or not (self.dismissed or self.orphaned()):
            time.sleep(0.2)
        os._exit(1)


_worker: _Worker


def _prepare(datasets: Path, threads: int, devices: "Queue[torch.device]", parent: int) -> None:
    global _worker  # noqa: PLW0603 -- the way to hand something to the tasks of a process pool
    _worker = _Worker(pickle.loads(datasets.read_bytes()), devices.get(), parent)
    signal.signal(signal.SIGTERM, lambda *_: setattr(_worker, "asked_to_stop", True))
    signal.signal(signal.SIGUSR1, lambda *_: setattr(_worker, "dismissed", True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    torch.set_num_threads(threads)
    threading.Thread(target=_worker.exit_when_unneeded, daemon=True).start()


def _work_on(run: Run, work: Work) -> None:
    if _worker.stops():
        raise Stopped(f"{run.name} was about to begin")
    placed = replace(run, device=_worker.device)
    _worker.training = True
    try:
        work(placed, _worker.datasets[run.setting.split], Unwatched(), _worker.stops)
    finally:
        _worker.training = False
