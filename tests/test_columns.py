"""The figures with a column per network: every run is drawn, and one that is missing is named."""

from pathlib import Path

import pandas as pd
import pytest

from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.report.figures import FIGURES, draw
from plain_vs_residual.report.figures.columns import _in_words, _on_the_way
from plain_vs_residual.settings import FASHION
from tests.made_up_records import write_results

NAMES = ("shortcut_scale", "scaled_branches", "tailored_activations", "optimizers")
EXPERIMENTS = load_experiments()


def drawn(recorded: RecordedRuns, experiment: Experiment, folder: Path) -> pd.DataFrame:
    draw(recorded, experiment, experiment.name, folder)
    return pd.read_csv(folder / f"{experiment.name}.csv", keep_default_na=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_run_of_the_experiment_is_drawn_with_its_error(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    assert experiment.figures == (name,)
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(2))
    table = drawn(recorded, experiment, tmp_path)
    column = "running_training_error"
    table = table[table[column] != ""]
    keys = ["network", "study", "seed"]
    finals = recorded.finals.set_index(keys)[column]
    found = {tuple(row[:3]): float(row[3]) for row in table[[*keys, column]].itertuples(index=False)}
    expected = {
        (network, study.name, seed) for network, study in experiment.runs_in("fashion") for seed in range(2)
    }
    assert set(found) == expected
    assert all(value == pytest.approx(finals[key]) for key, value in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_axes_have_labels_with_units_and_the_images_and_seeds_are_named(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(2))
    drawn(recorded, experiment, tmp_path)
    text = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    assert "training error, last tenth (%)" in text
    assert "Fashion-MNIST" in text
    assert "2 seeds" in text
    assert FIGURES[name].caption


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_are_missing_are_named(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(1))
    for record in recorded.records:
        if record.run.study.startswith(("shortcut-0.5", "scaled-", "tailored", "muon")):
            record.folder.final.unlink()
    (recorded,) = load_recorded_runs(tmp_path / "results", "fashion")
    drawn(recorded, experiment, tmp_path)
    text = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    missing = {"shortcut_scale": 1, "scaled_branches": 2, "tailored_activations": 1, "optimizers": 2}
    assert text.count("not run") == missing[name]


def test_the_gain_of_all_shortcuts_stands_below_each_column(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["shortcut_scale"]
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(2))
    table = drawn(recorded, experiment, tmp_path)
    rows = table[table["quantity"] == "row_sum"]
    assert len(rows) == 6 * 2 * 6  # columns, seeds, made-up blocks
    measured = recorded.measured("shortcut_gain")
    keys = ["network", "study", "seed", "position"]
    ends = measured[(measured["quantity"] == "row_sum") & (measured["iteration"] > 0)].set_index(keys)["value"]
    for row in rows.itertuples(index=False):
        place = (row.network, row.study, int(float(row.seed)), float(row.position))
        assert float(row.value) == pytest.approx(ends[place])
    for record in recorded.records:
        if record.run.study == "free-streams":
            record.folder.measurement("shortcut_gain").unlink()
            record.folder.measured("shortcut_gain").unlink()
    (recorded,) = load_recorded_runs(tmp_path / "results", "fashion")
    drawn(recorded, experiment, tmp_path)
    assert (tmp_path / "shortcut_scale.svg").read_text(encoding="utf-8").count("not measured") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.2, 1.8, 1.2], "1.2 (up to 1.8)"),
        ([1.0, 1.0, 1.0], "1"),
        ([0.5, 0.25, 0.125], "0.1"),
        ([0, 0, 0], "0"),
        ([], "not measured"),
    ],
)
def test_the_largest_gain_on_the_way_is_said_where_something_is_amplified(values: list[float], said: str) -> None:
    assert _on_the_way(pd.DataFrame({"position": range(len(values)), "value": values})) == said


def test_a_factor_is_said_so_that_it_is_read_at_a_glance() -> None:
    said = {gain: _in_words(gain) for gain in (0.0, 0.5**27, 0.9**27, 0.5, 1.0, 3.71, 12.0)}
    assert list(said.values()) == ["0", "1 / 134 million", "1 / 17", "0.5", "1", "3.7", "12"]


@pytest.mark.parametrize("setting", ["fashion", "digits", "cifar10", "cifar10-short"])
def test_each_study_changes_what_its_name_says(setting: str) -> None:
    for name in ("shortcut_scale", "tailored_activations"):
        own, *studies = EXPERIMENTS[name].studies_in(setting)
        assert not own.changes
        assert all(study.changes["modification"] == study.name for study in studies)
        assert all(set(study.changes) <= {"modification", "learning_rate"} for study in studies)
    own, *studies = EXPERIMENTS["optimizers"].studies_in(setting)
    assert not own.changes
    for study in studies:
        assert study.name == f"{study.changes['optimizer']}-lr{study.changes['learning_rate']}"
        assert len(study.changes) == 2
    depth = {study.name: study.changes for study in EXPERIMENTS["learning_rate_and_depth"].studies_in(setting)}
    for study in EXPERIMENTS["scaled_branches"].studies_in(setting):
        rate = study.changes["learning_rate"]
        if "modification" in study.changes:
            assert (study.name, len(study.changes)) == (f"scaled-lr{rate}", 2)
            assert study.changes["modification"] == "scaled-branches"
        else:  # the same run as there
            assert study.changes == depth[study.name] == {"learning_rate": rate}


def test_runs_that_other_experiments_have_as_well_are_planned_once() -> None:
    names = [*NAMES, "learning_rate_and_depth", "cures", "fig6_cifar_depth"]
    plan = Selection(tuple(EXPERIMENTS[name] for name in names), FASHION, (100,)).plan()
    needed = {run.name: run.experiments for run in plan}
    assert needed["cifar-residual56-A-lr0.05-s100"] == ("scaled_branches", "learning_rate_and_depth")
    assert {*NAMES} - {"scaled_branches"} <= set(needed["cifar-plain56-s100"])
