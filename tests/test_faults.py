"""A short version of the benchmark `faults`: kills, stops, a full disk, damaged files, a second suite."""

import sys
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from benchmarks.faults import injection, scenarios
from benchmarks.faults.injection import Row
from benchmarks.faults.sandbox import SUITE, Sandbox
from tests.warm import Forked, warm_process


def few_images(folder: Path) -> Path:
    for part, label, number in product(("train", "val"), range(2), range(4)):
        path = folder / "few" / part / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (255 * label, 30 * number, 200 if part == "val" else 100)).save(path)
    return folder / "few"


def test_no_fault_costs_anything_that_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every suite is a process of its own, with few images; what `python -m` would start is forked instead.

    Memory is exhausted by a suite on all digits that has imported torch by itself: others need no new memory.
    """
    address, honest = tmp_path / "warm", Sandbox.start
    few = ("--data", str(few_images(tmp_path)))

    def start(self: Sandbox, results: Path, *options: str, program: tuple[str, ...] = ()) -> Any:
        data = () if self.folder.name == "digits" else few
        module, words = "plain_vs_residual", ("train",)
        if program[:2] == (sys.executable, "-m") and program[-1] != "little memory":
            module, words = program[2], program[3:]
        elif program:
            return honest(self, results, *data, *options, program=program)
        where = ("--device", self.device, "--jobs", str(self.jobs), "--results", str(results))
        another = ("--network", "residual18-A") if self.jobs > 1 else ()
        report = () if "--report" in options else ("--no-report",)
        return Forked(address, module, (*words, *SUITE, *another, *where, *data, *options, *report))

    def out_of_memory(_: Sandbox, row: Row, chance: Random) -> None:
        injection.out_of_memory(Sandbox(tmp_path / "digits", 1, "cpu"), row, chance)

    with warm_process(address):
        monkeypatch.setattr(Sandbox, "start", start)
        monkeypatch.setattr(scenarios, "out_of_memory", out_of_memory)
        monkeypatch.setattr(injection, "WORKER", "tests.warm")  # what forked workers are called
        # Forked suites end sooner than they did when two began at once, which gave their times.
        monkeypatch.setattr(Sandbox, "moment", lambda box, chance: box.first_run + 0.2 * chance.random())
        rows = list(scenarios.scenarios(kills=1, corruptions=1, folder=tmp_path, seed=0, device="cpu"))
    assert {row.fault: dict(row.outcomes) for row in rows if row.lost} == {}
    assert all(row.tries for row in rows)
    assert len(rows) == 13
