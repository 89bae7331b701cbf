"""Hands runs to whatever works on them: one after the other, or several at once in processes of their own."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.suite.interrupt import StopRequest
from plain_vs_residual.suite.workers import Work, Workers
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.run import Run

Begins = Callable[[Run], Monitor]


def one_by_one(
    runs: Sequence[Run], dataset_of: Callable[[Run], Dataset], work: Work, begins: Begins
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
