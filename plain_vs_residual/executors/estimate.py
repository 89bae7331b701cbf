"""How long a suite will still take, from what its runs have taken so far."""

import time
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import abstract
from plain_vs_residual.run import Run
from plain_vs_residual.training.schedule import num_iterations


class Estimate:
    """The time that is left, by the work that each run is and the speed at which finished runs were done.

    Args:
        work: of every run that is to be trained, by name, in any unit.
        jobs: how many runs are trained at once.
        now: a clock, in seconds.
    """

    def __init__(self, work: dict[str, float], jobs: int, now: Callable[[], float] = time.perf_counter) -> None:
        self.waiting = dict(work)
        self.running: dict[str, tuple[float, float]] = {}
        self.jobs = jobs
        self.now = now
        self.done_work = self.done_seconds = 0.0

    def begins(self, name: str) -> None:
        """Note that a run begins."""
        self.running[name] = (self.waiting.pop(name), self.now())

    def ended(self, name: str) -> None:
        """Note that a run is done."""
        work, since = self.running.pop(name)
        self.done_work += work
        self.done_seconds += self.now() - since

    def seconds_left(self) -> float | None:
        """Estimate the time that is left; None until a run is done."""
        if not self.done_work:
            return None
        seconds = self.done_seconds / self.done_work
        busy = [max(0.0, work * seconds - (self.now() - since)) for work, since in self.running.values()]
        busy += [0.0] * (self.jobs - len(busy))
        heapify(busy)
        for work in self.waiting.values():  # each goes to whoever is free first
            heapreplace(busy, busy[0] + work * seconds)
        return max(busy)


def relative_work(runs: Sequence[Run], dataset_of: Callable[[Run], Dataset]) -> dict[str, float]:
    """Estimate how long runs take beside each other, by name."""
    return {run.name: _work(run, dataset_of(run)) for run in runs}


def _work(run: Run, dataset: Dataset) -> float:
    setting, classes = run.setting, len(dataset.classes)
    network = abstract(run.architecture, setting, channels=dataset.channels, num_classes=classes)
    shape = (dataset.channels, setting.input_size, setting.input_size)
    computed = multiply_adds(network, shape) * setting.batch_size / 1e9
    # Thin networks spend their time starting operations, wide ones computing: count some of each.
    return num_iterations(setting, len(dataset.training)) * (computed + run.architecture.depth)
