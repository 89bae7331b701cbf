"""The estimate of the remaining time: close and steady, although short and long runs alternate."""

import heapq
from itertools import pairwise

import pytest

from plain_vs_residual.executors.estimate import Estimate

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
