"""Measures on finished runs what the seminar's experiments ask for, unless it was measured by this code before."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.cores import num_cores
from plain_vs_residual.executors.description import environment
from plain_vs_residual.executors.executor import ShouldStop
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import PACKAGE, hashes_of_modules
from plain_vs_residual.records.models import MeasurementRecord
from plain_vs_residual.records.registered import digests
from plain_vs_residual.records.store import read_final, read_measurement, write_measurement
from plain_vs_residual.run import Job
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.precision import prepare_arithmetic


@dataclass(frozen=True)
class Measuring:
    """What a process does with a run that is finished: it takes the measurements that are wanted of it.

    Attributes:
        wanted: names of measurements by name of the run.
    """

    wanted: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, jobs: Iterable[Job], experiments: Iterable[Experiment]) -> "Measuring":
        """Find out what the experiments want measured of runs and was not measured by this code yet."""
        asked = {experiment.name: experiment.measurement for experiment in experiments}
        return cls(
            {
                job.name: tuple(
                    name
                    for name in dict.fromkeys(asked[one] for one in job.run.experiments)
                    if name and not is_measured(job.folder, name)
                )
                for job in jobs
            }
        )

    def __call__(self, job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: ShouldStop) -> None:
        """Measure; a process that is asked to stop does so between two measurements."""
        for name in self.wanted[job.name]:
            if not stops():
                measure(job, place.device, dataset, name)


def measure(job: Job, device: torch.device, dataset: Dataset, name: str) -> None:
    """Take one measurement of a finished run and record it.

    Raises:
        ValueError: if the run's weights are not kept, or there is no such measurement.
    """
    began_at = time.perf_counter()
    # Alone on this machine, however many devices and machines trained it.
    alone = {"devices": 1, "threads": min(job.arithmetic.threads, num_cores())}
    job = replace(job, arithmetic=job.arithmetic.model_copy(update=alone))
    arithmetic = job.arithmetic.model_copy(update={"precision": "fp32"})
    prepare_arithmetic(device, arithmetic)
    measured = import_module(f"plain_vs_residual.seminar.{name}").measure(FinishedRun.of(job, device, dataset))
    record = MeasurementRecord(
        measurement=name,
        summary={key: value if math.isfinite(value) else None for key, value in measured.summary.items()},
        run=read_final(job.folder).checksum,
        sources=code_of(name),
        environment=environment(device),
        registered=digests(job.folder.path.parent, job.run.variant),
        arithmetic=arithmetic,
        seconds=round(time.perf_counter() - began_at, 3),
    )
    write_measurement(job.folder, record, measured.rows)


def code_of(name: str) -> dict[str, str]:
    """Hash the code of every module that determines a measurement's numbers, by its path in the repository.

    Raises:
        ValueError: if there is no such measurement.
    """
    path = PACKAGE / "seminar" / f"{name}.py"
    if not path.is_file():
        raise ValueError(f"measurement '{name}': there is no {path}")
    return hashes_of_modules(path)


def is_measured(folder: RunFolder, name: str) -> bool:
    """Say whether a measurement of a run is there, whole, and was made by this code.

    What is not is measured anew without asking: it takes seconds, and nothing is lost.
    """
    try:
        return folder.measurement(name).exists() and read_measurement(folder, name).sources == code_of(name)
    except ValueError:
        return False
