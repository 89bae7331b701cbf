"""A short version of the benchmark `faults`: kills, stops, a full disk, damaged files, a second suite."""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.faults import sandbox
from benchmarks.faults.sandbox import Sandbox
from benchmarks.faults.scenarios import scenarios
from tests.warm import Forked, warm_process


def _images(folder: Path) -> Path:
    """Write some images of 16 px: more to evaluate than a batch holds, so that an evaluation takes new memory."""
    for part, label, number in product(("train", "val"), range(2), range(60)):
        path = folder / "few" / part / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (255 * label, 4 * number, 200 if part == "val" else 100)).save(path)
    return folder / "few"


def test_no_fault_costs_anything_that_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every suite is a process of its own, with few images; what `python -m` would start is forked instead."""
    address, honest = tmp_path / "warm", Sandbox.start
    suite = (*sandbox.SUITE, "--data", str(_images(tmp_path)))
    monkeypatch.setattr(sandbox, "SUITE", suite)

    def start(self: Sandbox, results: Path, *options: str, program: tuple[str, ...] = ()) -> Any:
        module, words = "plain_vs_residual", ("train",)
        if program[:2] == (sys.executable, "-m"):
            module, words = program[2], program[3:]
        elif program:
            return honest(self, results, *options, program=program)
        where = ("--device", self.device, "--jobs", str(self.jobs), "--results", str(results))
        another = ("--network", "residual18-A") if self.jobs > 1 else ()
        report = () if "--report" in options else ("--no-report",)
        return Forked(address, module, (*words, *suite, *another, *where, *options, *report))

    with warm_process(address):
        monkeypatch.setattr(Sandbox, "start", start)
        rows = list(scenarios(kills=2, corruptions=2, folder=tmp_path, seed=0, device="cpu"))
    assert {row.fault: dict(row.outcomes) for row in rows if row.lost} == {}
    assert all(row.tries for row in rows)
    assert len(rows) == 13
