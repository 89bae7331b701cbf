"""Hands runs to a Ray cluster: each is a task with its share of a device, on whatever machine has one free.

The cluster places and restarts; what a run is, whether it is finished, who may write it and how it goes on are the
suite's matter, as everywhere. All machines see the repository, the images and ``results/`` under the same paths.
"""

import os
import platform
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.console import Console

from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.fingerprint import differing_sources, source_hashes
from plain_vs_residual.settings import Setting
from plain_vs_residual.suite.dispatch import Begins
from plain_vs_residual.suite.interrupt import StopRequest
from plain_vs_residual.suite.locks import Locked, RunLocks
from plain_vs_residual.suite.progress import RunProgress
from plain_vs_residual.suite.workers import STOP_SECONDS, Work, WorkerDied
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.session import Stopped

LOCAL = "local"
RETRIES = 3


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and how much of it a run gets.

    Attributes:
        address: of the cluster; ``local`` starts one on this machine for as long as it is needed.
        data: where the images are, if not where the setting has them.
        cores: CPU cores per run.
        gpus: GPUs per run; less than 1 where several runs share one.
    """

    address: str
    data: Path | None
    cores: int
    gpus: float

    def train(
        self, runs: Sequence[Run], dataset_of: Callable[[Run], Dataset], work: Work, begins: Begins
    ) -> Generator[Run, None, None]:
        """Submit every run, each after those that it needs, and yield them as they end.

        Raises:
            ValueError: if there is no Ray here or no cluster at the address, or what a run said in one line.
            WorkerDied: if a run was lost more often than it is retried.
            Stopped: in place of a KeyboardInterrupt; says what was saved.
        """
        ray = _ray()
        with _connected(ray, self.address):
            options = {"num_cpus": self.cores, "num_gpus": self.gpus, "max_retries": RETRIES}
            remote = ray.remote(**options, retry_exceptions=[WorkerDied])(_train_here)
            submitted: dict[Any, Run] = {}
            references: dict[Path, Any] = {}
            for run in runs:
                begins(run)
                task = Task(run, self.data, dataset_of(run).fingerprint, source_hashes(), self.cores, work)
                needed = [references[one.path] for one in run.needs if one.path in references]
                reference = remote.remote(task, *needed)
                submitted[reference], references[run.folder.path] = run, reference
            try:
                yield from _as_they_end(ray, submitted)
            except KeyboardInterrupt:
                raise Stopped(_stop(ray, submitted)) from None
            except BaseException:
                _stop(ray, submitted)  # one run that fails costs the others nothing
                raise


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "--cluster: Ray is not installed; install the extra: python -m pip install '.[cluster]' "
            "(docs/scale.md has Slurm without it)"
        ) from error
    module: ModuleType = ray
    return module


@contextmanager
def _connected(ray: ModuleType, address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do by itself; else it warns
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
        try:
            ray.init(
                address=address,
                logging_level="error",
                runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}},
                **options,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"--cluster {address}: no Ray cluster answers there ({_first_line(error)})"
            ) from error
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _as_they_end(ray: ModuleType, submitted: dict[Any, Run]) -> Iterator[Run]:
    while submitted:
        (ended, *_), _ = ray.wait(list(submitted), num_returns=1)
        run = submitted[ended]
        try:
            ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ValueError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise WorkerDied(
                f"{run.name}: lost its process {RETRIES + 1} times ({_first_line(error)}); what was saved is "
                "kept: the same command goes on"
            ) from error
        if not run.folder.finished:
            raise WorkerDied(
                f"{run.name} was stopped where it was trained, and is saved: the same command goes on"
            )
        del submitted[ended]
        yield run


def _stop(ray: ModuleType, submitted: dict[Any, Run]) -> str:
    """Let every task save its run, and say what became of each."""
    for reference in submitted:
        with suppress(ValueError):  # it has ended
            ray.cancel(reference, recursive=False)
    ray.wait(list(submitted), num_returns=len(submitted), timeout=STOP_SECONDS)
    saved = [run.name for run in submitted.values() if run.folder.checkpoint.exists()]
    return f"{', '.join(saved)} saved" if saved else "nothing was being trained"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# ---- inside a task -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a task is told of its run: the path of the images rather than the images."""

    run: Run
    data: Path | None
    fingerprint: str
    sources: dict[str, str]
    cores: int
    work: Work


def _train_here(task: Task, *_needed: object) -> None:
    """Train a run on the machine and device that the cluster chose.

    Raises:
        ValueError: if this machine has other code or other images than the suite.
    """
    run = task.run
    if changed := differing_sources(task.sources, source_hashes()):
        raise ValueError(f"{platform.node()} has other code than the suite: {', '.join(changed)}")
    dataset = _images(run.setting, task.data)
    if dataset.fingerprint != task.fingerprint:
        raise ValueError(f"{platform.node()} has other images than the suite in {task.data or 'its own folder'}")
    torch.set_num_threads(task.cores)
    if run.device.type == "cuda":
        run = replace(run, device=torch.device("cuda", 0))  # the cluster hides the others
    with StopRequest() as stops, _only_writer(run, stops):
        if run.folder.finished:
            return  # by the process that was taken for dead
        monitor = RunProgress(Console(soft_wrap=True), run.name, f"on {platform.node()}", bar=False)
        with suppress(Stopped):
            task.work(run, dataset, monitor, stops)


@cache
def _images(setting: Setting, data: Path | None) -> Dataset:
    return split(load_dataset(setting, data), setting.split)


@contextmanager
def _only_writer(run: Run, stops: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other process writes the run's records.

    The suite's lock says that the run is taken. This one says which process trains it: one that a cluster takes
    for dead may only have been cut off, and goes on writing.
    """
    while True:
        try:
            with RunLocks([writer_of(run)]):
                yield
                return
        except Locked:
            if stops():
                raise
            time.sleep(1)


def writer_of(run: Run) -> Path:
    """Return under which name the writer of a run's records is locked."""
    return run.folder.path.with_name(f"{run.folder.name}.writer")
