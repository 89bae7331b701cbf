"""What figures draw beside their tables, by value: means of skewed seeds, bands, and lines from seed to seed."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.report.figures.curves import limit_error_axis
from plain_vs_residual.report.figures.landscape import LEAST, MOST
from plain_vs_residual.report.figures.style import BOLD
from tests.made_up_records import read_runs, write_results

EXPERIMENTS = load_experiments()
SKEWED = (0.0, 1.0, 20.0)  # mean 7, median 1

Write = Callable[[Experiment], RecordedRuns]


def skewed(architecture: Architecture, seed: int) -> tuple[float, float]:
    """Return final errors of which no two are equal, and whose mean over seeds is not their median."""
    training = 10 + SKEWED[seed] + architecture.depth / 100 + len(architecture.name) / 10
    return training, training + 3


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Return a function that writes three seeds of an experiment whose errors are skewed."""
    return lambda experiment: write_results(tmp_path, [experiment], "digits", seeds=range(3), errors=skewed)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def bands_of(axes: Axes) -> list[tuple[float, float]]:
    """Return the lowest and highest value of each shaded band."""
    every = [
        path.vertices[:, 1] for band in axes.collections for path in band.get_paths() if len(path.vertices) > 4
    ]
    return [(float(np.min(values)), float(np.max(values))) for values in every]


def test_the_band_of_a_curve_goes_from_the_least_to_the_greatest_seed(written: Write) -> None:
    figure, table = FIGURES["cifar_curves"].draw(
        written(EXPERIMENTS["fig6_cifar_depth"]), EXPERIMENTS["fig6_cifar_depth"]
    )
    training = table[table["column"] == "running_training_error"]
    expected = [(group["min"].min(), group["max"].max()) for _, group in training.groupby("network")]
    found = [band for axes in figure.axes for band in bands_of(axes)]
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(expected)))
    at_the_end = training[training["iteration"] == training["iteration"].max()]
    assert (at_the_end["max"] - at_the_end["min"]).to_numpy() == pytest.approx(20.0)
    assert (at_the_end["mean"] - at_the_end["min"]).to_numpy() == pytest.approx(7.0)


def test_the_cures_are_means_and_a_mark_a_seed(written: Write) -> None:
    experiment = EXPERIMENTS["cures"]
    figure, _ = FIGURES["cures"].draw(written(experiment), experiment)
    (axes,) = figure.axes
    _, *studies = experiment.studies_in("digits")
    means = [
        np.mean([skewed(Architecture.parse(name), seed)[0] for seed in range(3)])
        for name in experiment.networks["digits"]
    ]
    upright = [
        float(line.get_xdata()[0])
        for line in axes.get_lines()
        if line.get_linewidth() == BOLD and list(line.get_ydata()) == [0, 1]
    ]
    assert sorted(upright) == pytest.approx(sorted(means))
    for place, study in enumerate(studies):
        (name,) = study.networks
        errors = [skewed(Architecture.parse(name), seed)[0] for seed in range(3)]
        here = [
            line for line in axes.get_lines() if set(line.get_ydata()) == {place} and line.get_marker() != "None"
        ]
        marks, mean = sorted(here, key=lambda line: -len(line.get_xdata()))
        assert sorted(marks.get_xdata()) == pytest.approx(sorted(errors)), study.name
        assert list(mean.get_xdata()) == pytest.approx([np.mean(errors)]), study.name


def test_a_cell_of_the_input_scalings_is_the_mean_of_its_own_study(written: Write) -> None:
    experiment = EXPERIMENTS["input_scaling"]
    figure, table = FIGURES["input_scaling_grid"].draw(written(experiment), experiment)
    (mesh,) = figure.axes[0].collections
    (name,) = set(table["network"])
    mean = np.mean([skewed(Architecture.parse(name), seed)[0] for seed in range(3)])
    assert np.asarray(mesh.get_array()).ravel() == pytest.approx(mean)
    assert len(np.asarray(mesh.get_array()).ravel()) == len(experiment.studies_in("digits"))
    assert {text.get_text() for text in figure.axes[0].texts} == {f"{mean:.1f}"}


def test_lines_between_shortcut_options_join_the_runs_of_one_seed(written: Write) -> None:
    experiment = EXPERIMENTS["table3_shortcuts"]
    figure, table = FIGURES["shortcut_options"].draw(written(experiment), experiment)
    right = figure.axes[1]
    ends = table[table["seed"].notna()]
    of_seeds = [
        list(line.get_ydata())
        for line in right.get_lines()
        if len(line.get_xdata()) > 1 and line.get_linewidth() < 1
    ]
    expected = [
        of_seed["mean"].tolist()
        for _, of_column in ends.groupby("column")
        for _, of_seed in of_column.groupby("seed")
    ]
    assert sorted(map(sorted, of_seeds)) == pytest.approx(np.array(sorted(map(sorted, expected))))


def test_the_colours_of_a_landscape_begin_at_the_least_loss_of_its_planes(written: Write) -> None:
    experiment = EXPERIMENTS["loss_landscape"]
    recorded = written(experiment)
    measured = recorded.measured(experiment.measurement)
    measured = measured.assign(value=measured["value"].where(measured["quantity"] == "plane_E", 0.002))
    object.__setattr__(recorded, "measured", lambda _: measured)
    figure, _ = FIGURES["loss_landscape"].draw(recorded, experiment)
    norms = [image.norm for axes in figure.axes for image in axes.get_images()]
    planes = measured[measured["quantity"] == "plane_E"]["value"]
    assert planes.min() > LEAST
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(planes.min(), MOST)}


@pytest.mark.parametrize(
    ("means", "limit"),
    [
        ([[90.0, 70.0, 30.0, 20.0], [95.0, 80.0, 40.0, 10.0]], 44.0),  # a tenth above the greatest from 40 % on
        ([[99.0, 98.0, 97.0, 96.0]], 100.0),
        ([[50.0, 0.0, 0.0, 0.0]], 100.0),
    ],
)
def test_the_axis_of_errors_leaves_out_the_first_two_fifths(means: list[list[float]], limit: float) -> None:
    _, axes = plt.subplots()
    limit_error_axis(axes, [pd.DataFrame({"iteration": [10, 39, 40, 100], "mean": one}) for one in means])
    assert axes.get_ylim() == pytest.approx((0.0, limit))


def test_the_gap_of_each_budget_is_the_deeper_minus_the_shallower_network_seed_by_seed(tmp_path: Path) -> None:
    """Of made-up errors that differ by depth and seed; a budget that lacks a network has no dot."""
    horizon = EXPERIMENTS["horizon"]

    def errors(architecture: Architecture, seed: int) -> tuple[float, float]:
        cost = (1 + SKEWED[seed]) * architecture.depth / 10
        return 10 + (cost if architecture.kind == "plain" else 0), 50

    recorded = write_results(tmp_path, [horizon], "fashion", seeds=range(3), errors=errors)
    figure, table = FIGURES["gap_by_budget"].draw(recorded, horizon)
    of_layers = {"34 against 18 layers": 1.6, "56 against 20 layers": 3.6}
    assert {axes.get_title() for axes in figure.axes} == set(of_layers)
    for axes in figure.axes:
        expected = {"plain": [(1 + seed) * of_layers[axes.get_title()] for seed in SKEWED], "residual": [0.0] * 3}
        plain, residual = (line for line in axes.get_lines() if line.get_linewidth() == BOLD)
        for line, dots, kind in zip((plain, residual), axes.collections, expected, strict=True):
            assert list(line.get_xdata()) == [350, 1050, 3150, 9450]
            assert list(line.get_ydata()) == pytest.approx([np.mean(expected[kind])] * 4)
            places = np.asarray(dots.get_offsets())
            of_usual = places[places[:, 0] == 350][:, 1]
            assert sorted(of_usual) == pytest.approx(sorted(expected[kind]))
    assert len(table) == 2 * 2 * 4 * 3


def test_a_gap_of_which_a_network_is_missing_is_named_in_the_legend(tmp_path: Path) -> None:
    horizon = EXPERIMENTS["horizon"]
    write_results(tmp_path, [horizon], "fashion", seeds=range(1))
    for folder in (tmp_path / "fashion").glob("plain34*"):
        shutil.rmtree(folder)
    figure, _ = FIGURES["gap_by_budget"].draw(read_runs(tmp_path, "fashion"), horizon)
    said = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert [text for text in said if "not run" in text] == ["plain-34 minus plain-18: not run"]
    assert len(said) == 4
