"""From records to tables: settings, variants, studies, missing runs, means by network, and damaged files."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment, Study, load_experiments
from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import load_recorded_runs, read_table
from plain_vs_residual.records.rows import CurveRow
from plain_vs_residual.report.summary import summary
from tests.made_up_records import read_runs, reseal, write_results, write_run

EXPERIMENTS = load_experiments()
FIG4, FIG7 = EXPERIMENTS["fig4_depth"], EXPERIMENTS["fig7_layer_responses"]
PAIR = Experiment("Pair", "none", ("final_errors",), {"digits": ("plain18", "residual18-A")}, (), name="pair")


def by_seed(network: Architecture, seed: int) -> tuple[float, float]:
    return float(seed), 10.0 * seed


def test_runs_are_read_apart_by_setting_and_variant(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    write_run(tmp_path, "digits", "plain18", 0, variant="letters", dataset="letters", caveat="upper case")
    write_run(tmp_path, "cifar10", "plain18", 0)
    find_recorded_runs = load_recorded_runs(tmp_path)
    assert [recorded.name for recorded in find_recorded_runs] == ["cifar10", "digits", "digits-letters"]
    assert [recorded.dataset for recorded in find_recorded_runs] == [
        "CIFAR-10",
        "digits (scikit-learn)",
        "letters",
    ]
    assert [len(recorded.records) for recorded in find_recorded_runs] == [1, 1, 1]
    assert "upper case" in find_recorded_runs[2].caveats
    assert "upper case" not in find_recorded_runs[1].caveats


def test_one_setting_can_be_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    write_run(tmp_path, "cifar10", "plain18", 0)
    assert [recorded.setting for recorded in load_recorded_runs(tmp_path, "digits")] == ["digits"]


def test_reference_records_and_runs_set_aside_do_not_mix_with_the_users_own(tmp_path: Path) -> None:
    write_run(tmp_path / "reference", "digits", "plain18", 0)
    write_run(tmp_path, "digits", "plain18", 1)
    write_run(tmp_path, "digits", "plain18", 2).set_aside()
    (recorded,) = load_recorded_runs(tmp_path)
    assert recorded.seeds == [1]
    assert load_recorded_runs(tmp_path / "reference")[0].seeds == [0]


@pytest.mark.parametrize("setting", [None, "digits"])
def test_no_runs_is_an_error_that_says_how_to_get_some(tmp_path: Path, setting: str | None) -> None:
    with pytest.raises(ValueError, match=r"no runs.*run_all\.sh"):
        load_recorded_runs(tmp_path, setting)


def test_runs_of_a_study_belong_to_its_experiment_alone(tmp_path: Path) -> None:
    study = Study("slow", {"epochs": 20}, "twenty epochs")
    slow = replace(FIG7, studies={"digits": (study,)})
    write_run(tmp_path, "digits", "cifar-plain20", 0)
    write_run(tmp_path, "digits", "cifar-plain20", 0, study=study)
    recorded = read_runs(tmp_path, "digits")
    assert [record.name for record in recorded.of(FIG7)] == ["cifar-plain20-s0"]
    assert [record.name for record in recorded.of(slow)] == ["cifar-plain20-slow-s0"]
    for table in (recorded.finals, recorded.curves, recorded.responses):
        assert set(recorded.select(table, FIG7)["study"]) == {""}
        assert set(recorded.select(table, slow)["study"]) == {study.name}


def test_what_is_missing_is_named_as_its_folder_would_be(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    write_run(tmp_path, "digits", "plain18", 4)
    write_run(tmp_path, "digits", "residual18-A", 0, finished=False)
    assert read_runs(tmp_path, "digits").missing(PAIR) == ["residual18-A-s0", "residual18-A-s4"]


def test_what_is_missing_of_a_study_and_a_variant_is_named_as_its_folder_would_be(tmp_path: Path) -> None:
    experiment = Experiment(
        "P", "none", ("final_errors",), PAIR.networks, (), studies={"digits": (Study("long", {}, "longer"),)}
    )
    there = write_run(
        tmp_path, "digits", "plain18", 0, study=experiment.studies_in("digits")[0], variant="letters"
    )
    assert there.path.name == "plain18-long-letters-s0"
    assert read_runs(tmp_path, "digits").missing(experiment) == ["residual18-A-long-letters-s0"]


def test_nothing_is_missing_when_all_runs_are_finished(tmp_path: Path) -> None:
    assert write_results(tmp_path, [FIG7], "digits").missing(FIG7) == []


def test_the_summary_has_mean_deviation_and_number_of_seeds(tmp_path: Path) -> None:
    recorded = write_results(tmp_path, [PAIR], "digits", seeds=(1, 2, 3), errors=by_seed)
    table = summary(recorded, PAIR).set_index("network")
    assert list(table.index) == ["plain18", "residual18-A"]
    for _, row in table.iterrows():
        assert (row["n"], row["diverged"]) == (3, 0)
        assert (row["training_error_mean"], row["training_error_sd"]) == pytest.approx((2, 1))
        assert (row["validation_error_mean"], row["validation_error_sd"]) == pytest.approx((20, 10))
        assert row["images_per_second"] == pytest.approx(50_000 / 18)
    assert math.isnan(table.loc["plain18", "mean_ratio_mean"])
    assert table.loc["residual18-A", "mean_ratio_mean"] < 1
    assert table.loc["residual18-A", "label"] == "ResNet-18 A"
    numbers = {"training_loss", "training_seconds", *RESPONSE_MEANS}
    assert {f"{name}_{end}" for name in numbers for end in ("mean", "sd")} <= set(table.columns)


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    recorded = write_results(tmp_path, [PAIR], "digits", seeds=(1,), errors=by_seed)
    assert summary(recorded, PAIR)["training_error_sd"].isna().all()


def test_a_network_without_runs_keeps_its_row(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "residual18-A", 0)
    table = summary(read_runs(tmp_path, "digits"), PAIR)
    assert table["network"].to_list() == ["plain18", "residual18-A"]
    assert table["n"].to_list() == [0, 1]


def test_an_unfinished_run_has_curves_but_no_final_errors(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0, finished=False)
    recorded = read_runs(tmp_path, "digits")
    assert len(recorded.curves) == 2
    assert recorded.finals.empty
    assert summary(recorded, PAIR)["n"].to_list() == [0, 0]


def test_a_diverged_run_counts_as_chance_and_is_flagged(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0, classes="abcd", outcome="diverged", errors=by_seed)
    write_run(tmp_path, "digits", "plain18", 1, classes="abcd", errors=by_seed)
    recorded = read_runs(tmp_path, "digits")
    finals = counted(recorded).set_index("seed")
    assert finals["diverged"].to_list() == [True, False]
    assert finals.loc[0, ["training_error", "validation_error"]].to_list() == [75.0, 75.0]
    row = summary(recorded, PAIR).iloc[0]
    assert (row["n"], row["diverged"]) == (2, 1)
    assert row["training_error_mean"] == pytest.approx((75 + 1) / 2)


def test_chance_in_the_first_five_guesses_is_counted_too(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0, outcome="diverged")
    assert counted(read_runs(tmp_path, "digits"))["validation_top5_error"].to_list() == [50.0]


def test_the_record_of_a_diverged_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    """What it counts as is decided in one place, and neither the reader nor a cached table is changed by that."""
    write_run(tmp_path, "digits", "plain18", 1, outcome="diverged", errors=by_seed)
    recorded = read_runs(tmp_path, "digits")
    assert counted(recorded)["training_error"].to_list() == [90.0]
    (row,), (record,) = recorded.finals.to_dict("records"), recorded.records
    assert record.final
    assert row["diverged"]
    assert row["training_error"] == record.final.training_error != 90.0


def damaged(tmp_path: Path, file: str, change: Callable[[Any], Any]) -> Path:
    """Write a run, change one of its JSON files, and return the path of that file."""
    folder = write_run(tmp_path, "digits", "plain18", 0)
    path = folder.path / file
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return path


@pytest.mark.parametrize("file", ["run.json", "final.json"])
@pytest.mark.parametrize("content", [b"", b'{"network": "pla', b"[1, 2]", b"\xff\xfe\x00"])
def test_a_torn_file_is_named(tmp_path: Path, file: str, content: bytes) -> None:
    path = write_run(tmp_path, "digits", "plain18", 0).path / file
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}.*delete its folder to train this run anew"):
        load_recorded_runs(tmp_path)


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("run.json", "seed"),
        ("run.json", "dataset"),
        ("run.json", "configuration"),
        ("run.json", "environment"),
        ("run.json", "initial_parameters"),
        ("run.json", "departures"),
        ("run.json", "caveat"),
        ("final.json", "outcome"),
        ("final.json", "training_error"),
        ("final.json", "images_per_second"),
        ("final.json", "mean_ratio"),
    ],
)
def test_a_missing_field_is_named_with_its_file(tmp_path: Path, file: str, field: str) -> None:
    path = damaged(tmp_path, file, lambda values: {key: values[key] for key in values if key != field})
    with pytest.raises(ValueError, match=f"{path}: field '{field}' is missing"):
        load_recorded_runs(tmp_path)


@pytest.mark.parametrize(
    ("field", "inner"),
    [("dataset", "name"), ("dataset", "variant"), ("dataset", "classes"), ("configuration", "num_training")],
)
def test_a_missing_inner_field_is_named_with_its_file(tmp_path: Path, field: str, inner: str) -> None:
    path = damaged(
        tmp_path,
        "run.json",
        lambda run: run | {field: {key: value for key, value in run[field].items() if key != inner}},
    )
    with pytest.raises(ValueError, match=rf"{path}: field '{field}\.{inner}' is missing"):
        load_recorded_runs(tmp_path)


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("run.json", "seed", "zero"),
        ("run.json", "dataset", "digits"),
        ("run.json", "network", 18),
        ("final.json", "training_error", "low"),
        ("final.json", "validation_error", None),
        ("final.json", "iteration", []),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_file(
    tmp_path: Path, file: str, field: str, value: object
) -> None:
    path = damaged(tmp_path, file, lambda values: values | {field: value})
    with pytest.raises(ValueError, match=f"{path}: {field} cannot be "):
        load_recorded_runs(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'a,b\n1,2\n"3', b"a,b\n1,2,3,4\n5,6\n7,8,9,1,2\n"])
@pytest.mark.parametrize("table", ["curves", "responses"])
def test_a_table_that_is_none_is_named(tmp_path: Path, table: str, content: bytes) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    path = folder.metrics if table == "curves" else folder.responses
    path.write_bytes(content)
    reseal(folder)
    with pytest.raises(ValueError, match=f"{path}: not a table this suite wrote"):
        getattr(read_runs(tmp_path, "digits"), table)


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    path = folder.metrics
    path.write_text(path.read_text().replace("validation_error", "validation_accuracy", 1))
    reseal(folder)
    with pytest.raises(ValueError, match=f"{path}.*'validation_error'"):
        _ = read_runs(tmp_path, "digits").curves


def test_a_table_that_is_older_than_a_column_is_read_without_it(tmp_path: Path) -> None:
    class LaterRow(CurveRow):
        gradient_norm: float | None = None
        share: float = 1.0

    path = write_run(tmp_path, "digits", "plain18", 0).training_curve
    table = read_table(path, LaterRow)
    assert table["gradient_norm"].isna().all()
    assert table["gradient_norm"].dtype == float
    assert set(table["share"]) == {1.0}
    assert list(table.columns[:-2]) == list(CurveRow.model_fields)


def test_words_where_numbers_belong_are_named_with_file_and_column(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    path = folder.responses
    path.write_text(path.read_text().replace("1.0", "one", 1))
    reseal(folder)
    with pytest.raises(ValueError, match=f"{path}.*'value'"):
        _ = read_runs(tmp_path, "digits").responses


def test_a_copied_run_is_refused_rather_than_counted_twice(tmp_path: Path) -> None:
    first = write_run(tmp_path, "digits", "plain18", 0)
    copy = first.path.with_name("plain18-s0-backup")
    copy.mkdir()
    for path in first.path.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"plain18-s0 and .*plain18-s0-backup.*same run"):
        load_recorded_runs(tmp_path)
