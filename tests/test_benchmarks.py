"""The yardstick of speed: textbook loops at once, and whole runs with evaluations."""

from typing import Any

import pytest

from benchmarks import throughput, whole_runs
from plain_vs_residual.settings import SETTINGS


def test_a_whole_run_counts_its_steps_and_its_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """350 steps, and five evaluations of 4,000 images in batches of 32, shared by two cores."""
    measured = {"textbook": [0.02, 0.03], "engine": [0.01, 0.01]}
    monkeypatch.setattr(whole_runs.measuring, "interleaved", lambda contestants, *_: measured)
    monkeypatch.setattr(whole_runs.measuring, "CORES", 2)
    found = whole_runs.whole_runs("plain18@fashion", [0.1, 0.1], [0.05, 0.05], rounds=2)
    batches = 5 * 4000 / 32 / 2
    expected = [(350 * 0.1 + batches * second) / (350 * 0.05 + batches * 0.01) for second in (0.02, 0.03)]
    assert found["ratio_of_whole_runs"] == pytest.approx(sum(expected) / 2, abs=0.005)
    assert found["ratio_of_evaluations"] == 2.5


def test_both_evaluations_take_as_many_images_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    network, setting, images = whole_runs.measuring.case("plain18@fashion")
    built = whole_runs.measuring.build_case(network, setting, images)
    seen = []
    built.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    for contestant in (
        whole_runs.textbook_evaluation(built, images, setting),
        whole_runs.engine_evaluation(built, images, setting, "fp32"),
    ):
        seen.clear()
        contestant(3)
        assert sum(seen) == 3 * setting.batch_size


def test_the_table_has_both_yardsticks_and_leaves_out_what_was_not_measured() -> None:
    row: dict[str, Any] = {
        "rung": "textbook",
        "images_per_second": 100.0,
        "ratio_to_textbook": 1.0,
        "gflops": 3.0,
        "share_of_floor": 0.1,
        "memory_mib": None,
    }
    entry: dict[str, Any] = {
        "case": "plain34@fashion",
        "convolutions_share_of_eager_step": 0.5,
        "images_per_second_by_operations": 1.0,
        "images_per_second_by_bytes": 2.0,
    }
    earlier = throughput.table([{**entry, "rungs": [row]}])
    assert "whole runs" not in earlier
    assert "| plain34@fashion | textbook | 100 | 1.00 |  | 3 | 10 |  |" in earlier
    ratios = {"ratio_of_evaluations": 1.4, "ratio_of_whole_runs": 1.234}
    now = throughput.table([{**entry, **ratios, "rungs": [{**row, "ratio_to_textbooks": 0.66}]}])
    assert "| plain34@fashion | textbook | 100 | 1.00 | 0.66 | 3 | 10 |  |" in now
    assert "| plain34@fashion | 1.40 | 1.23 |" in now


def test_every_case_can_be_computed_as_a_whole_run() -> None:
    for case in throughput.CASES:
        setting = case.partition("@")[2]
        assert setting in SETTINGS
        assert whole_runs.NUM_IMAGES[setting][1] > whole_runs.NUM_IMAGES[setting][0]
