"""What a run's record says before the run is trained: its configuration, its code, and the machine."""

import importlib.metadata
import platform
import time
from functools import cache
from pathlib import Path

import torch

from plain_vs_residual.arithmetic import Execution
from plain_vs_residual.data.decoding import decoder
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.fingerprint import code_hashes, hash_of
from plain_vs_residual.records.git import ask_git
from plain_vs_residual.records.models import Configuration, DatasetRecord, Environment, RunDescription
from plain_vs_residual.records.store import read_final
from plain_vs_residual.run import Job
from plain_vs_residual.training.execution import compiler_version
from plain_vs_residual.training.plateau import leader_rates
from plain_vs_residual.training.schedule import num_iterations


def describe(job: Job, dataset: Dataset, device: torch.device) -> RunDescription:
    """Write down everything that is known of a run before its network is built.

    Args:
        job: the run, its arithmetic and its folder.
        dataset: its images, split as its setting says.
        device: where it is to be computed.
    """
    run = job.run
    # Other images take with them what is said of the setting's own.
    setting = run.setting.with_changes({"images": dataset.name if dataset.variant else ""})
    return RunDescription(
        network=run.architecture.name,
        label=run.architecture.label,
        setting=setting.name,
        study=run.study,
        seed=run.seed,
        dataset=DatasetRecord(
            name=dataset.name,
            caveat=dataset.caveat,
            variant=run.variant,
            classes=list(dataset.classes),
            validation_name=dataset.validation_name,
        ),
        caveat=setting.caveat,
        departures=list(setting.departures),
        configuration=configuration(job, dataset),
        arithmetic=job.arithmetic,
        sources=code_hashes(),
        environment=environment(device).model_copy(update={"compiler": _compiler(job.arithmetic.execution)}),
        started=time.strftime("%Y-%m-%d %H:%M:%S"),
    )


def configuration(job: Job, dataset: Dataset) -> Configuration:
    """Resolve everything that was chosen for a run, but for its arithmetic."""
    run = job.run
    source = job.folder.beside(run.grown_from[1]) if run.grown_from else None
    grown = source is not None and source.finished
    leader = job.folder.beside(run.leader) if run.leader else None
    led = leader is not None and leader.finished
    return Configuration(
        **run.setting.recipe() | {"iterations": num_iterations(run.setting, len(dataset.training))},
        network=run.architecture.name,
        seed=run.seed,
        num_training=len(dataset.training),
        num_validation=len(dataset.validation),
        data_fingerprint=dataset.fingerprint,
        replayed_rates=hash_of(list(leader_rates(job))) if led else None,
        source_weights=read_final(source).files[source.weights.name] if source and grown else None,
    )


@cache
def environment(device: torch.device) -> Environment:
    """Describe versions, device and git commit, as they go into the record."""
    cuda = device.type == "cuda"
    commit = ask_git("rev-parse", "--short=12", "HEAD")
    changes = ask_git("status", "--porcelain", "--", *code_hashes())
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=importlib.metadata.version("torchvision"),
        numpy=importlib.metadata.version("numpy"),
        platform=platform.platform(),
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if cuda else _processor(),
        cuda=torch.version.cuda if cuda else None,
        cudnn=torch.backends.cudnn.version() if cuda else None,
        decoder=decoder(),
        git_commit=None if commit is None else commit.strip(),
        git_changes=None if changes is None else bool(changes.strip()),
    )


def _compiler(execution: Execution) -> str | None:
    """Return which compiler makes the steps of an execution; None where none does."""
    return None if execution.uncompiled is execution else compiler_version()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
