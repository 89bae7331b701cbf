"""A short version of the benchmark `faults`: kills, stops, a full disk, damaged files, a second suite."""

from pathlib import Path

from benchmarks.faults.scenarios import scenarios


def test_no_fault_costs_anything_that_was_finished(tmp_path: Path) -> None:
    rows = list(scenarios(kills=2, corruptions=2, folder=tmp_path, seed=0, device="cpu"))
    assert {row.fault: dict(row.outcomes) for row in rows if row.lost} == {}
    assert all(row.tries for row in rows)
    assert len(rows) == 13
