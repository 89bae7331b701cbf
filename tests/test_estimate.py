"""The estimate of the remaining time: close and steady, although short and long runs alternate."""

import heapq
from dataclasses import replace
from itertools import pairwise

import pytest

from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.executors import estimate as measuring
from plain_vs_residual.executors.estimate import WARM_UP, Estimate, relative_work
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.plan import Selection
from plain_vs_residual.settings import FASHION

# Seconds that the fourteen runs of one seed of digits took on two cores, and actual over predicted time of each.
SECONDS = (6, 12, 7, 13, 14, 17, 8, 17, 9, 19, 8, 17, 9, 19)
MISJUDGED = (0.91, 1.08, 1.07, 0.93, 1.03, 0.93, 1.15, 0.97, 0.95, 0.96, 0.95, 1.03, 0.94, 1.1)


def estimates(jobs: int) -> list[tuple[float, float]]:
    """Simulate a suite with a fake clock; return pairs of estimated and actual remaining time."""
    clock = 0.0
    work = {str(number): taken / off for number, (taken, off) in enumerate(zip(SECONDS, MISJUDGED, strict=True))}
    estimate = Estimate(work, jobs, now=lambda: clock)
    waiting, running = list(work), list[tuple[float, str]]()
    said: list[tuple[float, float | None]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            said.append((clock, estimate.seconds_left()))
            estimate.begins(name)
            heapq.heappush(running, (clock + SECONDS[int(name)], name))
        clock, name = heapq.heappop(running)
        estimate.ended(name)
    return [(left, clock - then) for then, left in said if left is not None]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_the_estimate_is_close_from_the_first_run_on(jobs: int) -> None:
    played = estimates(jobs)
    assert len(played) >= len(SECONDS) - jobs
    for left, really in played:
        assert left == pytest.approx(really, rel=0.25, abs=8)


def test_the_estimate_never_jumps_up_by_much() -> None:
    left = [estimate for estimate, _ in estimates(jobs=2)]
    assert all(after < before * 1.1 for before, after in pairwise(left))


def test_nothing_is_said_before_a_run_is_done() -> None:
    estimate = Estimate({"a": 1.0, "b": 2.0}, jobs=1)
    assert estimate.seconds_left() is None
    estimate.begins("a")
    assert estimate.seconds_left() is None


@pytest.mark.parametrize(
    ("step_seconds", "num_iterations", "said_after"),
    [(0.01, 64_000, 15), (0.1, 64_000, 30), (3.0, 64_000, 60), (0.002, 64_000, 15)],
)
def test_the_first_iterations_say_how_long_everything_takes(
    step_seconds: float, num_iterations: int, said_after: float
) -> None:
    """Of two runs, the second twice as much work, begun with a minute that counts for nothing (compiling)."""
    clock = 0.0
    estimate = Estimate({"a": 1.0, "b": 2.0}, jobs=1, now=lambda: clock)
    estimate.begins("a")
    clock, iteration = 60.0, WARM_UP
    begun = clock
    while estimate.seconds_left() is None:
        assert clock < begun + 200
        estimate.advanced("a", iteration, num_iterations)
        iteration += 1
        clock += step_seconds
    assert clock - begun == pytest.approx(said_after, abs=2.5 * step_seconds)
    everything = 3 * num_iterations * step_seconds
    assert estimate.seconds_left() == pytest.approx(everything - clock, rel=0.05)


def test_the_speed_is_that_of_one_run_and_of_whole_ones_as_soon_as_one_ended() -> None:
    clock = 0.0
    estimate = Estimate({"a": 1.0, "b": 1.0, "c": 1.0}, jobs=2, now=lambda: clock)
    estimate.begins("a")
    estimate.begins("b")
    estimate.advanced("a", 10, 1000)
    clock = 20.0
    estimate.advanced("b", 900, 1000)  # is further, which says nothing of a's speed
    assert estimate.seconds_left() is None
    estimate.advanced("a", 410, 1000)
    assert estimate.seconds_left() == pytest.approx(2 * 50.0 - 20.0)  # steps of 50 ms; c comes after the first
    clock = 60.0
    estimate.ended("a")
    assert estimate.seconds_left() == pytest.approx(60.0)


def test_a_network_is_counted_once_for_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(
        measuring, "multiply_adds", lambda network, shape: counted.append(network) or multiply_adds(network, shape)
    )
    measuring._multiply_adds.cache_clear()
    dataset = load_dataset(FASHION)
    runs = Selection((load_experiments()["fig4_depth"],), FASHION, range(3)).plan()
    work = relative_work(runs, lambda run: dataset)
    assert len(counted) == 4
    assert len(work) == 12
    assert work["plain18-s0"] == work["plain18-s2"] < work["plain34-s0"]
    enlarged = [replace(run, setting=run.setting.with_changes({"enlarge_to": 28})) for run in runs[:1]]
    assert relative_work(enlarged, lambda run: dataset)["plain18-s0"] > work["plain18-s0"]
