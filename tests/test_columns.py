"""The figures with a column per network: every run is drawn, and one that is missing is named."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.report.figures import FIGURES, draw
from plain_vs_residual.report.figures.columns import _in_words, _on_the_way
from plain_vs_residual.settings import FASHION
from tests.made_up_records import read_runs, write_results, write_run

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


def by_study(folder: Path, experiment: Experiment) -> tuple[RecordedRuns, dict[tuple[str, str], list[float]]]:
    """Write three seeds of each run, whose errors tell network and study, and whose mean is not their median."""
    errors = {}
    for number, (network, study) in enumerate(experiment.runs_in("fashion")):
        errors[network, study.name] = [10.0 + 3 * number + more for more in (20.0, 0.0, 1.0)]
        for seed, error in enumerate(errors[network, study.name]):
            write_run(folder, "fashion", network, seed, study=study, errors=lambda *_, end=error: (end, 50))
    return read_runs(folder, "fashion"), errors


PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
COLUMNS: dict[str, dict[float, tuple[str, str, str]]] = {
    "shortcut_scale": {
        0: (PLAIN, "", "0 x\n(plain-56)"),
        1: (RESIDUAL, "shortcut-0.5", "0.5 x"),
        2: (RESIDUAL, "shortcut-0.9", "0.9 x"),
        3: (RESIDUAL, "", "x itself\n(ResNet-56 A)"),
        4: (RESIDUAL, "free-streams", "4 streams,\nmixed freely"),
        5: (RESIDUAL, "doubly-stochastic-streams", "4 streams, mixing\nkept doubly\nstochastic"),
    },
    "tailored_activations": {
        0: (PLAIN, "", "plain-56:\nno shortcut,\nBN, ReLU"),
        1: (PLAIN, "tailored", "plain-56:\nno shortcut, no BN,\ntailored leaky ReLU"),
        2: (RESIDUAL, "", "ResNet-56 A:\nshortcuts,\nBN, ReLU"),
    },
    "optimizers": {
        -0.2: (PLAIN, "", "SGD\n(rates 0.01 and 0.01)"),
        0.2: (RESIDUAL, "", "SGD\n(rates 0.01 and 0.01)"),
        0.8: (PLAIN, "adamw-lr0.003", "AdamW\n(rates 0.003 and 0.003)"),
        1.2: (RESIDUAL, "adamw-lr0.003", "AdamW\n(rates 0.003 and 0.003)"),
        1.8: (PLAIN, "muon-lr0.1", "Muon\n(rates 0.1 and 0.01)"),
        2.2: (RESIDUAL, "muon-lr0.01", "Muon\n(rates 0.1 and 0.01)"),
    },
}


@pytest.mark.usefixtures("small_figures")
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_a_dot_per_seed_from_left_to_right_and_a_bar_at_their_mean(name: str, tmp_path: Path) -> None:
    recorded, errors = by_study(tmp_path, EXPERIMENTS[name])
    figure, _ = FIGURES[name].draw(recorded, EXPERIMENTS[name])
    (axes,) = figure.axes
    dots = {line.get_xdata()[1]: line for line in axes.get_lines() if len(line.get_xdata()) == 3}
    bars = [segment for lines in axes.collections for segment in lines.get_segments()]
    assert sorted(dots) == pytest.approx(list(COLUMNS[name]))
    heads = dict(zip(axes.get_xticks(), (text.get_text() for text in axes.get_xticklabels()), strict=True))
    beside = {text.get_position(): text.get_text() for text in axes.texts}
    for (place, line), bar, (network, study, words) in zip(
        sorted(dots.items()), sorted(bars, key=lambda one: one[0][0]), COLUMNS[name].values(), strict=True
    ):
        of_seeds = errors[network, study]
        mean = sum(of_seeds) / 3
        assert list(line.get_xdata()) == pytest.approx([place - 0.2 / 3, place, place + 0.2 / 3])
        assert list(line.get_ydata()) == pytest.approx(of_seeds)
        assert bar.ravel() == pytest.approx([place - 0.13, mean, place + 0.13, mean])
        assert [said for (x, y), said in beside.items() if (x, y) == pytest.approx((place + 0.15, mean))] == [
            f"{mean:.0f} %"
        ]
        assert heads[min(heads, key=lambda tick: abs(tick - place))] == words
    plt.close(figure)


@pytest.mark.usefixtures("small_figures")
def test_networks_as_they_are_stand_left_and_with_scaled_branches_right_by_learning_rate(tmp_path: Path) -> None:
    recorded, errors = by_study(tmp_path, EXPERIMENTS["scaled_branches"])
    figure, _ = FIGURES["scaled_branches"].draw(recorded, EXPERIMENTS["scaled_branches"])
    for axes, begins, title in zip(
        figure.axes, ("lr", "scaled-lr"), ("x + F(x)", "x + F(x) / sqrt(n), n blocks"), strict=True
    ):
        assert axes.get_title() == title
        for network, label, line, band in zip(
            ("cifar-residual20-A", RESIDUAL),
            ("ResNet-20 A", "ResNet-56 A"),
            axes.get_lines(),
            axes.collections,
            strict=True,
        ):
            of_rates = [errors[network, f"{begins}{rate:g}"] for rate in (0.02, 0.05, 0.1)]
            assert line.get_label() == label
            assert list(line.get_xdata()) == [0.02, 0.05, 0.1]
            assert list(line.get_ydata()) == pytest.approx([sum(one) / 3 for one in of_rates])
            heights = band.get_paths()[0].vertices[:, 1]
            assert (heights.min(), heights.max()) == pytest.approx((min(of_rates[0]), max(of_rates[-1])))
    plt.close(figure)


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
