"""Hands runs to whatever works on them: one after the other, or several at once in processes of their own."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.suite.interrupt import StopRequest
from plain_vs_residual.suite.workers import Work, Workers
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.run import Run

Begins = Callable[[Run], Monitor]
DatasetOf = Callable[[Run], Dataset]


def hand_out(
    runs: Sequence[Run],
    dataset_of: DatasetOf,
    work: Work,
    begins: Begins,
    devices: Sequence[torch.device],
    jobs: int,
) -> Generator[Run, None, None]:
    """Do the work with each run, ``jobs`` of them at once, and yield it afterwards.

    Args:
        runs: those that others need come before them.
        dataset_of: gives the images of a run.
        work: what is done with a run.
        begins: hears that a run begins, and returns what watches it.
        devices: shared out among the processes where there are several.
        jobs: how many runs at once; 1 needs no other process.
    """
    if jobs == 1:
        return one_by_one(runs, dataset_of, work, begins)
    datasets = {run.setting.split: dataset_of(run) for run in runs}
    workers = Workers(min(jobs, len(runs)) or 1, datasets, devices, work)
    return in_processes(runs, workers, begins, jobs)


def one_by_one(
    runs: Sequence[Run], dataset_of: DatasetOf, work: Work, begins: Begins
) -> Generator[Run, None, None]:
    """Do the work with one run after the other, in this process, and yield each afterwards."""
    for run in runs:
        with StopRequest() as stops:
            work(run, dataset_of(run), begins(run), stops)
        yield run


def in_processes(runs: Sequence[Run], workers: Workers, begins: Begins, jobs: int) -> Generator[Run, None, None]:
    """Hand ``jobs`` runs at once to the processes, each after those that it needs, and yield them as they end."""
    waiting, running = list(runs), dict[Future[None], Run]()
    with workers:
        while waiting or running:
            unfinished = {run.folder for run in (*waiting, *running.values())}
            ready = [run for run in waiting if not unfinished.intersection(run.needs)]
            for run in ready[: jobs - len(running)]:
                waiting.remove(run)
                begins(run)
                running[workers.submit(run)] = run
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)
