"""What is read from records: which columns there are, what changed through training, which run speaks for all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plain_vs_residual.evidence.bookkeeping import contradictions
from plain_vs_residual.evidence.copies import contents_of_tables
from plain_vs_residual.evidence.measured_otherwise import measured_otherwise
from plain_vs_residual.evidence.own_faults import CONSUMED, own_faults
from plain_vs_residual.evidence.summaries import SUMMARIES, wrong_summaries
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records import kept_code
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.fingerprint import code, hash_of
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.registered import Registration, add_registrations
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.records.store import read_record, sealed, write_rows
from plain_vs_residual.subject.from_run import finished_record
from tests.made_up_records import read_json, read_runs, write_made_up_measurement, write_run

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
    # The made-up ratios: 1 / sqrt(order) before training, half of it after it, three quarters by estimated BN.
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


def test_every_table_of_a_run_and_of_its_measurement_is_compared_with_those_of_others(tmp_path: Path) -> None:
    measurement = "gradient_norms"
    experiment = Experiment("E", "none", (), {"digits": ("plain18",)}, (), measurement=measurement, name="mine")
    folders = [write_run(tmp_path, "digits", "plain18", seed) for seed in range(2)]
    tables = ["metrics.csv", "training_curve.csv", "responses.csv"]
    assert [name for name, _ in contents_of_tables(read_record(folders[0]), measurement)] == tables
    for folder in folders:
        write_made_up_measurement(folder, experiment)
    measured = folders[0].measured(measurement)
    first, second = (dict(contents_of_tables(read_record(folder), measurement)) for folder in folders)
    assert list(first) == [*tables, measured.name]
    assert not set(first.values()) & set(second.values())
    assert list(dict(contents_of_tables(read_record(folders[0]), ""))) == tables
    # The same rows again are the same content; few different numbers say nothing.
    rows = [MeasuredRow(**row) for row in read_table(measured, MeasuredRow).to_dict("records")]
    write_rows(folders[1].measured(measurement), rows)
    copied = dict(contents_of_tables(read_record(folders[1]), measurement))
    assert copied[measured.name] == first[measured.name]
    write_rows(measured, [row.model_copy(update={"value": float(place % 9)}) for place, row in enumerate(rows)])
    assert measured.name not in dict(contents_of_tables(read_record(folders[0]), measurement))
    write_rows(measured, [row.model_copy(update={"value": float(place % 10)}) for place, row in enumerate(rows)])
    assert measured.name in dict(contents_of_tables(read_record(folders[0]), measurement))


@pytest.mark.parametrize("part", CONSUMED)
def test_whatever_a_run_consumed_has_to_be_recorded(tmp_path: Path, part: str) -> None:
    record = read_record(write_run(tmp_path, "digits", "plain18", 0))
    assert record.final
    assert list(own_faults(record)) == []
    kept = {name: value for name, value in record.final.consumed.items() if name != part}
    without = replace(record, final=record.final.model_copy(update={"consumed": kept, "checksum": part}))
    assert list(own_faults(without)) == [f"{CONSUMED[part]}: not recorded"]


def test_a_measurement_says_what_it_is_of_and_two_of_them_how_they_were_taken(tmp_path: Path) -> None:
    experiment = Experiment(
        "E", "none", (), {"digits": ("plain18",)}, (), measurement="gradient_norms", name="mine"
    )
    folders = [write_run(tmp_path, "digits", "plain18", seed) for seed in range(2)]
    for folder in folders:
        write_made_up_measurement(folder, experiment)
    first, second = (read_record(folder) for folder in folders)
    assert list(wrong_summaries(first, "gradient_norms")) == []
    assert list(measured_otherwise(first, second, "gradient_norms")) == []
    path = folders[1].measurement("gradient_norms")
    values = read_json(path)
    write_json(path, sealed(values | {"environment": values["environment"] | {"torch": "3.0"}}))
    assert list(measured_otherwise(first, second, "gradient_norms")) == [
        "gradient_norms was measured with torch 2.99.0+made-up against 3.0"
    ]
    assert list(measured_otherwise(second, first, "gradient_norms")) == [
        "gradient_norms was measured with torch 3.0 against 2.99.0+made-up"
    ]
    assert list(measured_otherwise(first, second, "")) == []
    write_json(path, sealed(values | {"summary": values["summary"] | {"age": 1.0}}))
    said = ["gradient_norms: age was summed up of one of them only"]
    assert list(measured_otherwise(first, second, "gradient_norms")) == said
    assert list(measured_otherwise(second, first, "gradient_norms")) == said
    write_json(path, sealed(values | {"measurement": "lesions"}))
    assert list(wrong_summaries(second, "gradient_norms")) == ["gradient_norms: its record is of lesions"]


def test_every_file_of_a_run_is_vouched_for_and_a_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    tables = (folder.run, folder.metrics, folder.training_curve, folder.responses)
    assert set(read_json(folder.final)["files"]) >= {path.name for path in tables}
    for path in tables[1:]:
        before = path.read_bytes()
        path.write_bytes(before[:-1])
        with pytest.raises(ValueError, match=rf"{path.name}.*; delete its folder, or train it anew with --rerun$"):
            read_record(folder)
        path.write_bytes(before.replace(b"\n", b"\r\n"))
        with pytest.raises(ValueError, match="line endings") as raised:
            read_record(folder)
        assert "delete its folder" not in str(raised.value)
        path.write_bytes(before)
    read_record(folder)


def test_what_is_registered_may_be_chosen_one_by_one_and_nothing_is_written_of_nothing(tmp_path: Path) -> None:
    assert add_registrations(tmp_path, lambda _: iter(())) == ()
    assert not (tmp_path / "registered.json").exists()
    one = Registration(
        variant="", family="f", seeds=[0], error_rate=0.05, num_primary=1, unread=[], claims=[], registered="now"
    )
    assert add_registrations(tmp_path, lambda there: (one for _ in "1" if not there)) == (one,)
    assert add_registrations(tmp_path, lambda there: (one for _ in "1" if not there)) == ()


@pytest.mark.parametrize(("there", "shown"), [("x = 1\n", True), ("x = 3\n", False), (None, False)])
def test_code_that_is_kept_nowhere_is_taken_from_the_commit_of_its_run_if_it_is_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None, shown: bool
) -> None:
    path, run = "plain_vs_residual/gone.py", read_record(write_run(tmp_path, "digits", "plain18", 0)).run
    before, after = (run.model_copy(update={"sources": {path: hash_of(code(f"x = {one}\n"))}}) for one in (1, 2))
    texts = {f"{run.environment.git_commit}:{path}": there, f"later:{path}": "x = 2\n"}
    monkeypatch.setattr(kept_code, "ask_git", lambda show, what: texts[what] if show == "show" else None)
    later = after.model_copy(update={"environment": run.environment.model_copy(update={"git_commit": "later"})})
    (diff,) = kept_code.diff_of_code((tmp_path, before), (tmp_path, later))
    if shown:
        assert "-x = 1\n+x = 2\n" in diff
    else:
        assert diff == f"{path}: differs, but its text before is not kept\n"
    unknown = run.environment.model_copy(update={"git_commit": None})
    (diff,) = kept_code.diff_of_code(
        (tmp_path, before.model_copy(update={"environment": unknown})), (tmp_path, later)
    )
    assert "its text before is not kept" in diff


def test_of_a_folder_of_runs_the_first_is_named_in_place_of_it(tmp_path: Path) -> None:
    first, *_ = (write_run(tmp_path, "digits", "plain18", seed) for seed in range(3))
    with pytest.raises(ValueError, match=rf"give one such as {first.path}$"):
        finished_record(tmp_path / "digits")


def test_gradients_are_compared_at_the_start_and_at_iteration_10() -> None:
    weights = {0: (1.0, 100.0, 1.0), 9: (1.0, 5.0, 1.0), 10: (1.0, 10.0, 1.0), 11: (1.0, 7.0, 1.0)}
    rows = [
        {"iteration": iteration, "quantity": "weight", "place": "", "position": place, "value": value}
        for iteration, values in weights.items()
        for place, value in enumerate(values)
    ]
    record: Any = None  # of which these read nothing
    columns, table = SUMMARIES["gradient_norms"], pd.DataFrame(rows)
    assert columns["log10_gradient_ratio"](table, record) == pytest.approx(2)
    assert columns["log10_gradient_ratio_at_iteration_10"](table, record) == pytest.approx(1)


def test_numbers_that_no_run_can_have_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    record = read_record(folder)
    assert record.final
    assert list(contradictions(record)) == []

    def named(**changes: Any) -> list[str]:
        return list(contradictions(replace(record, final=record.final.model_copy(update=changes))))

    larger = ["errors: a top-5 error is larger than the error"]
    assert named(ten_crop_error=10.0, ten_crop_top5_error=5.0) == []
    assert named(ten_crop_error=10.0, ten_crop_top5_error=20.0) == larger
    assert named(ten_crop_error=101.0, ten_crop_top5_error=20.0) == ["errors: one is no percentage"]
    first, *others = record.final.confusion
    first = [first[0], first[1] + first[2] + 1, -1, *first[3:]]  # as many images, as many of them right
    assert named(confusion=[first, *others]) == ["images by class and prediction: less than none"]
    for name in ("training_loss", "validation_loss", "running_training_loss"):
        header, row, *rest = folder.metrics.read_text().splitlines()
        cells = row.split(",")
        cells[header.split(",").index(name)] = "-0.5"
        before = folder.metrics.read_bytes()
        folder.metrics.write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
        assert "losses: one is negative" in list(contradictions(record)), name
        folder.metrics.write_bytes(before)
