"""How long a suite will still take, from what its runs have taken so far."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from heapq import heapify, heapreplace

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import abstract
from plain_vs_residual.run import Run
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.schedule import num_iterations

WARM_UP = 10  # iterations, in which graphs are recorded and code is compiled
# How many iterations in how many seconds say how fast a run is. A GPU is told of iterations before it takes them,
# so that many are needed there; where few take a minute, nobody should wait for many.
ENOUGH = ((300, 15.0), (10, 60.0))


class Estimate:
    """The time that is left, by the work that each run is and the speed at which finished runs were done.

    Until one is finished, the speed is that of the first iterations of the run that got so far first.

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
        self.seen_first: tuple[str, int, float] | None = None  # which run, at which iteration, when
        self.first_speed = 0.0  # seconds per work

    def begins(self, name: str) -> None:
        """Note that a run begins."""
        self.running[name] = (self.waiting.pop(name), self.now())

    def advanced(self, name: str, iteration: int, num_iterations: int) -> None:
        """Note how far a run is."""
        if self.first_speed or iteration < WARM_UP:
            return
        first, since, at = self.seen_first = self.seen_first or (name, iteration, self.now())
        steps, seconds = iteration - since, self.now() - at
        if name == first and any(steps >= enough and seconds >= long for enough, long in ENOUGH):
            self.first_speed = seconds / steps * num_iterations / self.running[name][0]

    def ended(self, name: str) -> None:
        """Note that a run is done."""
        work, since = self.running.pop(name)
        self.done_work += work
        self.done_seconds += self.now() - since

    def seconds_left(self) -> float | None:
        """Estimate the time that is left; None until a run is done, or a first one far enough."""
        seconds = self.done_seconds / self.done_work if self.done_work else self.first_speed
        if not seconds:
            return None
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
    setting = run.setting
    computed = multiply_adds_of(run, dataset) * setting.batch_size / 1e9
    # Thin networks spend their time starting operations, wide ones computing: count some of each.
    return num_iterations(setting, len(dataset.training)) * (computed + run.architecture.depth)


def multiply_adds_of(run: Run, dataset: Dataset) -> int:
    """Return the multiply-adds of a run's network for one image, counted once for all seeds."""
    return _multiply_adds(run.architecture, run.setting, dataset.channels, len(dataset.classes))


@cache
def _multiply_adds(architecture: Architecture, setting: Setting, channels: int, num_classes: int) -> int:
    """Count with zeros for weights: without any values, torch loads its compiler, a second's work and 140 MB."""
    network = abstract(architecture, setting, channels=channels, num_classes=num_classes)
    zeros = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in network.state_dict().items()}
    network.load_state_dict(zeros, assign=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for one image several spend their time waiting for each other
    try:
        return multiply_adds(network, (channels, setting.input_size, setting.input_size))
    finally:
        torch.set_num_threads(threads)
