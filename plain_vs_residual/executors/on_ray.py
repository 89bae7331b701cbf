"""Hands runs to a Ray cluster: each is a task with its share of a device, on whatever machine has one free.

The cluster places and restarts; what a run is, whether it is finished, who may write it and how it goes on are the
suite's matter, as everywhere. All machines see the repository, the images and ``results/`` under the same paths.
"""

import os
import platform
import shlex
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.console import Console

from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.children import WorkerDied
from plain_vs_residual.executors.executor import Begins, DatasetOf, ShouldStop, Work
from plain_vs_residual.executors.processes import STOP_SECONDS
from plain_vs_residual.executors.progress import RunProgress
from plain_vs_residual.executors.signals import StopRequest
from plain_vs_residual.launcher import INSTALLED
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from plain_vs_residual.records.fingerprint import code_hashes, differing_code
from plain_vs_residual.records.locks import Locked, RunLocks
from plain_vs_residual.run import Job
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped

LOCAL = "local"
RETRIES = 3


@dataclass(frozen=True)
class OnRay:
    """A Ray cluster, and how much of it a run gets.

    Attributes:
        address: of the cluster; ``local`` starts one on this machine for as long as it is needed.
        device: what the cluster gives each run one of, or a share of.
        data: where the images are, if not where the setting has them.
        gpus: GPUs per run; less than 1 where several runs share one. Its CPU cores are the threads of a run.
        at_once: how many runs this machine alone could train, for the estimate of the time.
        dataset_of: gives the images of a run.
    """

    address: str
    device: torch.device
    data: Path | None
    gpus: float
    at_once: int
    dataset_of: DatasetOf

    def carry_out(self, jobs: Sequence[Job], work: Work, begins: Begins) -> Generator[Job, None, None]:
        """Submit every job, each after those that it needs, and yield them as they end.

        Raises:
            ValueError: if there is no Ray here or no cluster at the address, or what a run said in one line.
            WorkerDied: if a run was lost more often than it is retried.
            Stopped: in place of a KeyboardInterrupt; says what was saved.
        """
        ray = _ray()
        with _connected(ray, self.address):
            submitted: dict[Any, Job] = {}
            references: dict[Path, Any] = {}
            for job in jobs:
                begins(job)
                options = {"num_cpus": job.arithmetic.threads, "num_gpus": self.gpus, "max_retries": RETRIES}
                remote = ray.remote(**options, retry_exceptions=[WorkerDied])(_work_here)
                fingerprint = self.dataset_of(job.run).fingerprint
                task = Task(job, work, self.device, self.data, fingerprint, code_hashes())
                needed = [references[one.path] for one in job.needs if one.path in references]
                reference = remote.remote(task, *needed)
                submitted[reference], references[job.folder.path] = job, reference
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
        wanted = "ray" if INSTALLED else shlex.quote(f"{REPOSITORY}[cluster]")
        raise ValueError(
            f"--cluster: Ray is not installed; {shlex.quote(sys.executable)} -m pip install {wanted} installs it "
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


def _as_they_end(ray: ModuleType, submitted: dict[Any, Job]) -> Iterator[Job]:
    while submitted:
        (ended, *_), _ = ray.wait(list(submitted), num_returns=1)
        job = submitted[ended]
        try:
            ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ValueError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise WorkerDied(
                f"{job.name}: lost its process {RETRIES + 1} times ({_first_line(error)}); what was saved is "
                "kept: the same command goes on"
            ) from error
        if not job.folder.finished:
            raise WorkerDied(
                f"{job.name} was stopped where it was trained, and is saved: the same command goes on"
            )
        del submitted[ended]
        yield job


def _stop(ray: ModuleType, submitted: dict[Any, Job]) -> str:
    """Let every task save its run, and say what became of each."""
    for reference in submitted:
        with suppress(ValueError):  # it has ended
            ray.cancel(reference, recursive=False)
    ray.wait(list(submitted), num_returns=len(submitted), timeout=STOP_SECONDS)
    saved = [job.name for job in submitted.values() if job.folder.checkpoint.exists()]
    return f"{', '.join(saved)} saved" if saved else "nothing was being trained"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# ---- inside a task -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a task is told of its job: the path of the images rather than the images."""

    job: Job
    work: Work
    device: torch.device
    data: Path | None
    fingerprint: str
    sources: dict[str, str]


def _work_here(task: Task, *_needed: object) -> None:
    """Do the work with a job on the machine and device that the cluster chose.

    Raises:
        ValueError: if this machine has other code or other images than the suite.
    """
    job = task.job
    if changed := differing_code(task.sources, code_hashes()):
        raise ValueError(f"{platform.node()} has other code than the suite: {', '.join(changed)}")
    dataset = _images(job.run.setting, task.data)
    if dataset.fingerprint != task.fingerprint:
        raise ValueError(f"{platform.node()} has other images than the suite in {task.data or 'its own folder'}")
    # The cluster hides the other GPUs.
    place = Place(torch.device("cuda", 0) if task.device.type == "cuda" else task.device)
    with StopRequest() as stops, _only_writer(job, stops):
        if job.folder.finished:
            return  # by the process that was taken for dead
        monitor = RunProgress(Console(soft_wrap=True), job.name, f"on {platform.node()}", bar=False)
        with suppress(Stopped):
            task.work(job, place, dataset, monitor, stops)


@cache
def _images(setting: Setting, data: Path | None) -> Dataset:
    return split(load_dataset(setting, data), setting.split)


@contextmanager
def _only_writer(job: Job, stops: ShouldStop) -> Iterator[None]:
    """Wait until no other process writes the run's records.

    The suite's lock says that the run is taken. This one says which process trains it: one that a cluster takes
    for dead may only have been cut off, and goes on writing.
    """
    while True:
        try:
            with RunLocks([writer_of(job.folder)]):
                yield
                return
        except Locked:
            if stops():
                raise
            time.sleep(1)


def writer_of(folder: RunFolder) -> Path:
    """Return under which name the writer of a run's records is locked."""
    return folder.path.with_name(f"{folder.name}.writer")
