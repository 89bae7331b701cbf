"""The plan of the fault injection: which faults, how often, and what is expected of each."""

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from benchmarks import measuring
from benchmarks.faults.injection import (
    Row,
    changed_images,
    damaged_finished,
    damaged_unfinished,
    full_disk,
    half_way,
    killed_at_random,
    killed_while_writing,
    out_of_memory,
    read_only,
    second_suite,
    stopped,
    worker_killed,
)
from benchmarks.faults.sandbox import SCRIPT, Sandbox, Surprise

DAMAGES = ("truncated", "bit flipped", "removed")
OF_STOPPED = [(name, how) for name in ("checkpoint.pt", "metrics.csv", "run.json") for how in DAMAGES]
OF_FINISHED = [
    (name, how)
    for name in ("metrics.csv", "training_curve.csv", "run.json", "final.json", "responses.csv")
    for how in DAMAGES
]
WRITTEN = {
    **{"checkpoint.pt": 2, "metrics.csv": 2, "training_curve.csv": 2},
    **{"run.json": 1, "weights.pt": 1, "final.json": 1},
}


WRITING = [
    *(
        (name, number, stage)
        for name, number in WRITTEN.items()
        for stage in ("half written", "written", "replaced")
    ),
    ("checkpoint.pt", 2, "moved aside"),
    ("fig4_depth.png", 1, "half written"),
]


def scenarios(kills: int, corruptions: int, folder: Path, seed: int, device: str) -> Iterator[Row]:
    """Inject the faults and yield their rows in order, as many at a time as there are cores.

    With fewer than 20 kills, only one fault of each kind is drawn.
    """
    chance = random.Random(seed)
    long = kills >= 20
    with ThreadPoolExecutor(measuring.CORES, initializer=_take_a_core, initargs=(_cores(),)) as pool:
        # Both run at once, because the kills are timed by how long a suite takes while another one runs beside it.
        one, two = pool.map(lambda jobs: Sandbox(folder / str(jobs), jobs, device), (1, 2))
        half = pool.submit(half_way, one).result()
        rows: list[Future[Row]] = []

        def row(
            fault: str, expected: str, act: Callable[..., None], box: Sandbox, *given: Any, times: int = 1
        ) -> None:
            own = random.Random(f"{seed} {fault}")
            rows.append(pool.submit(_tried, Row(fault, expected), own, times, act, box, *given))

        def part(tenths: int) -> int:
            return max(1, tenths * kills // 10)

        def some(cases: list[Any]) -> list[Any]:
            return cases if long else chance.sample(cases, 1)

        equal = "resumes, byte-equal results"
        row("SIGKILL at random, one run at a time", equal, killed_at_random, one, part(4), ())
        row("SIGKILL at random, two at once", equal, killed_at_random, two, part(4), ())
        row("SIGKILL of run_all.sh at random", equal, killed_at_random, one, part(2), SCRIPT)
        row("SIGKILL of one of two workers", "one line, exit 2", worker_killed, two, times=max(1, kills // 25))
        for name, nth, stage in some(WRITING):
            row(f"SIGKILL with {name} {stage}", equal, killed_while_writing, one, name, nth, stage)
        for number, box in some(
            [(number, box) for number in (signal.SIGTERM, signal.SIGINT) for box in (one, two)]
        ):
            fault = f"{number.name}, {box.jobs} at a time"
            row(fault, "exit 130, says what was saved", stopped, box, number, times=max(1, kills // 25))
        for name, nth in some(list(WRITTEN.items())):
            row(f"disk full at {name}", "one line, exit 2", full_disk, one, name, nth)
        fewer = corruptions // len([*OF_STOPPED, *OF_FINISHED])
        for name, how in some(OF_STOPPED):
            fault, expected = f"{name} of a stopped run {how}", "repaired, or one line and exit 2"
            row(fault, expected, damaged_unfinished, one, half, name, how, times=fewer + 1)
        for name, how in some(OF_FINISHED):
            fault, expected = f"{name} of a finished run {how}", "one line and exit 2"
            row(fault, expected, damaged_finished, one, name, how, times=max(1, fewer))
        row("memory exhausted", "one line, exit 2", out_of_memory, one)
        row("images that changed", "another run", changed_images, one)
        row("two run_all.sh on one folder", "the second refuses", second_suite, one)
        row("results that cannot be written", "one line, exit 2", read_only, one)
        for future in rows:
            yield future.result()


def _cores() -> "Queue[int]":
    """Return a queue of the cores that this process may use."""
    queue: Queue[int] = Queue()
    for core in sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ():
        queue.put(core)
    return queue


def _take_a_core(cores: "Queue[int]") -> None:
    """Pin this thread and the suites it starts to one core; on shared cores, suites wait for each other."""
    if not cores.empty():
        os.sched_setaffinity(0, {cores.get()})


def _tried(
    line: Row, chance: random.Random, times: int, act: Callable[..., None], box: Sandbox, *given: Any
) -> Row:
    try:
        for _ in range(times):
            act(box, line, chance, *given)
    except (Surprise, subprocess.TimeoutExpired, OSError, ValueError) as error:
        line.outcomes[f"SURPRISE: {' '.join(str(error).split())}"] += 1
        line.lost += 1
    return line
