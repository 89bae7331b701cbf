"""What is read from records: which columns there are, what changed through training, and of which run they speak."""

from pathlib import Path

import pytest

from plain_vs_residual.experiment import Study
from tests.made_up_records import read_runs, write_run

HELD_OUT = Study("held-out", {"split": "45k/5k"})


def test_errors_that_were_not_measured_are_no_columns_and_those_that_were_are(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "residual18-A", 0)
    assert not {"test_error", "ten_crop_error", "ten_crop_top5_error"} & set(read_runs(tmp_path, "digits").finals)
    write_run(tmp_path, "digits", "residual18-A", 1, study=HELD_OUT)
    finals = read_runs(tmp_path, "digits").finals.set_index("seed")
    assert finals["test_error"].isna().to_dict() == {0: True, 1: False}
    assert finals["test_error"][1] == 50.0
    assert finals["study"].to_dict() == {0: "", 1: "held-out"}


def test_a_ratio_changed_by_what_it_is_now_less_what_it_was(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "residual18-A", 3)
    (row,) = read_runs(tmp_path, "digits").finals.to_dict("records")
    blocks = range(1, 9)
    # The made-up ratios: 1 / sqrt(order) before training, half of it after, three quarters by estimated statistics.
    before, after, estimated = (
        sum(factor / order**0.5 + 0.03 for order in blocks) / len(blocks) for factor in (1.0, 0.5, 0.75)
    )
    assert row["initial_mean_ratio"] == pytest.approx(before)
    assert row["ratio_change"] == pytest.approx(after - before)
    assert row["ratio_change_estimated"] == pytest.approx(estimated - before)


def test_a_run_of_the_setting_as_it_is_speaks_for_all(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0, study=HELD_OUT)
    alone = read_runs(tmp_path, "digits")
    assert alone.usual.study == "held-out"
    write_run(tmp_path, "digits", "residual18-A", 0)
    both = read_runs(tmp_path, "digits")
    assert (both.records[0].run.study, both.usual.study) == ("held-out", "")
