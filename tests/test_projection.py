"""The projection of the paper's tables: its file is what the script computes, and its plans are possible ones."""

import pytest

from benchmarks import projection
from plain_vs_residual.records.files import REPOSITORY


def test_the_committed_tables_are_those_that_the_script_writes() -> None:
    text = projection.tables()
    assert (REPOSITORY / "benchmarks/results/projection.md").read_text(encoding="utf-8") == text
    assert text in (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")


def test_a_plan_takes_no_less_than_its_longest_run_and_no_less_than_its_work() -> None:
    depths = [18, 34, 152]
    for gpus in (1, 2, 8):
        total, devices = projection.shortest(depths, gpus)
        assert devices <= gpus
        assert total >= sum(map(projection.hours, depths)) / gpus
        assert total >= projection.hours(152, devices)
    assert projection.makespan([(18, 1)], 1) == projection.hours(18)
    assert projection.makespan([(18, 1), (18, 1)], 1) == pytest.approx(2 * projection.hours(18))
    assert projection.makespan([(152, 2), (18, 1)], 2) == projection.hours(152, 2) + projection.hours(18)


def test_eight_devices_keep_what_the_cited_measurement_kept() -> None:
    assert projection.hours(50) / projection.hours(50, 8) == pytest.approx(16_621 / 2_470)
