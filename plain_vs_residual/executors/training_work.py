"""The work of training one job on one device, in this process."""

import gc

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.description import describe
from plain_vs_residual.executors.executor import ShouldStop
from plain_vs_residual.executors.memory import within_memory
from plain_vs_residual.run import Job
from plain_vs_residual.training.loop import Monitor, train
from plain_vs_residual.training.place import Place


def train_job(job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: ShouldStop) -> None:
    """Train a run in this process.

    Args:
        job: what to train.
        place: where.
        dataset: its images.
        monitor: is told about progress.
        stops: says whether to stop.

    Raises:
        OutOfMemory: says the batch, the peak and what to try; a smaller batch would be another recipe.
        Stopped: if ``stops`` said so.
        ValueError: if ``--deterministic`` asks for what the device cannot do.
    """
    if job.arithmetic.execution.compiled:
        torch.compiler.reset()  # else torch compiles eight networks per process and trains the others eagerly
    try:
        with within_memory(job.run, place.device):
            train(job, place, dataset, describe(job, dataset, place.device), monitor, stops)
        if place.device.type == "cuda":
            gc.collect()  # else a graph and its memory stay until chance collects them
            torch.cuda.empty_cache()
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        line = str(error).split(". ")[0]
        raise ValueError(f"--deterministic: {line}; leave it out for this network") from error
