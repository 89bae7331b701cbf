"""What figures draw beside their tables, by value: means of skewed seeds, bands, and lines from seed to seed."""

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.markers import MarkerStyle

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.experiment import Claim, Experiment, load_experiments
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.report.figures.curves import TRAINED, enlarge_end, limit_error_axis
from plain_vs_residual.report.figures.forest import AS_CLAIMED, MOST_ROWS, OPEN_STILL, OTHERWISE, forest, screens
from plain_vs_residual.report.figures.landscape import LEAST, MOST
from plain_vs_residual.report.figures.one_network import WORDS, _by_quantity
from plain_vs_residual.report.figures.studies import draw_confusion
from plain_vs_residual.report.figures.style import BOLD, DASHED, SCREEN, SOLID, THIN, network_line
from plain_vs_residual.settings import find_setting
from tests.made_up_records import read_runs, write_results, write_run

EXPERIMENTS = load_experiments()
SKEWED = (0.0, 1.0, 20.0)  # mean 7, median 1

Write = Callable[[Experiment], RecordedRuns]
WriteIn = Callable[[Experiment, str], RecordedRuns]

pytestmark = pytest.mark.usefixtures("undrawn_figures")


def skewed(architecture: Architecture, seed: int) -> tuple[float, float]:
    """Return final errors of which no two are equal, and whose mean over seeds is not their median."""
    training = 10 + SKEWED[seed] + architecture.depth / 100 + len(architecture.name) / 10
    return training, training + 3


@pytest.fixture(scope="module")
def written_in(tmp_path_factory: pytest.TempPathFactory) -> WriteIn:
    """Return a function that writes three seeds of an experiment whose errors are skewed: once, read by many."""
    kept: dict[tuple[str, str], RecordedRuns] = {}

    def write(experiment: Experiment, setting: str) -> RecordedRuns:
        key = (experiment.name, setting)
        if key not in kept:
            folder = tmp_path_factory.mktemp("written")
            kept[key] = write_results(folder, [experiment], setting, seeds=range(3), errors=skewed)
        return copy.copy(kept[key])

    return write


@pytest.fixture
def written(written_in: WriteIn) -> Write:
    """Return that function for digits."""
    return lambda experiment: written_in(experiment, "digits")


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
    spans = [(span.get_x(), span.get_x() + span.get_width()) for span in axes.patches]
    assert np.array(sorted(spans)) == pytest.approx(np.array([(mean - 7, mean + 13) for mean in sorted(means)]))
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
    assert figure.axes[1].get_ylabel() == "training error at the end (%)"


def test_a_cell_of_the_input_scalings_stands_at_its_pixels_and_its_rate(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["input_scaling"]
    (name,), studies = experiment.networks["digits"], experiment.studies_in("digits")
    for number, study in enumerate(studies):
        write_run(tmp_path, "digits", name, 0, study=study, errors=lambda *_, number=number: (10 + number, 50))
    figure, _ = FIGURES["input_scaling_grid"].draw(read_runs(tmp_path, "digits"), experiment)
    axes = figure.axes[0]
    columns, rows = (
        [text.get_text() for text in ticks] for ticks in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    cells = np.asarray(axes.collections[0].get_array()).reshape(len(rows), len(columns))
    for number, study in enumerate(studies):
        pixels, mean, rate, start = study.name.split("-")  # such as 0..255-raw-lr0.1-cold
        row = rows.index(f"{pixels}\n{'mean subtracted' if mean == 'mean' else 'raw'}")
        column = columns.index(f"{rate.removeprefix('lr')}\n{'warm-up' if start == 'warm' else 'no warm-up'}")
        assert cells[row, column] == pytest.approx(10 + number), study.name


def test_a_kind_of_which_nothing_was_run_has_no_line_among_the_final_errors(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["fig4_depth"]
    for name in ("plain18", "plain34"):
        write_run(tmp_path, "digits", name, 0)
    figure, _ = FIGURES["final_errors"].draw(read_runs(tmp_path, "digits"), experiment)
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["plain"]
        assert all(len(line.get_xdata()) == 2 for line in axes.get_lines())


def test_names_stand_where_the_longer_curves_end(tmp_path: Path) -> None:
    """A third of the iterations ends at 40 and 80 %, all of them at 15 and 60 %, for 18 and 34 layers."""
    experiment = EXPERIMENTS["footnote3_longer"]
    for study in experiment.studies_in("fashion"):
        for name in experiment.networks["fashion"]:
            deep = Architecture.parse(name).depth == 34
            error = (60 if deep else 15) if study.name else (80 if deep else 40)
            write_run(tmp_path, "fashion", name, 0, study=study, errors=lambda *_, error=error: (error, error))
    figure, _ = FIGURES["longer_curves"].draw(read_runs(tmp_path, "fashion"), experiment)
    for axes, names in zip(
        figure.axes[:2], (("plain-18", "plain-34"), ("ResNet-18 A", "ResNet-34 A")), strict=True
    ):
        _, top = axes.get_ylim()
        heights = {text.get_text(): text.xy[1] * top for text in axes.texts}
        assert heights == pytest.approx(dict(zip(names, (15, 60), strict=True)), abs=1)


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


def test_filled_dots_of_training_stand_left_and_hollow_ones_of_validation_right_of_their_option(
    written: Write,
) -> None:
    experiment = EXPERIMENTS["table3_shortcuts"]
    figure, _ = FIGURES["shortcut_options"].draw(written(experiment), experiment)
    found = {True: [], False: []}
    for dots in figure.axes[1].collections:
        if len(dots.get_offsets()) == 3:  # the others are bars of means
            found[len(dots.get_facecolors()) > 0].append(dots.get_offsets().tolist())
    names = experiment.networks["digits"]
    for filled, shift in ((True, -0.15), (False, 0.15)):
        expected = [
            [[place + shift, skewed(Architecture.parse(name), seed)[not filled]] for seed in range(3)]
            for place, name in enumerate(names)
        ]
        assert np.array(found[filled]) == pytest.approx(np.array(expected))


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


def test_true_classes_stand_at_the_rows_of_a_confusion_matrix_and_predicted_ones_below() -> None:
    _, axes = plt.subplots()
    draw_confusion(axes, np.array([[8, 2, 0], [1, 9, 0], [0, 4, 6]]), ("shirt", "coat", "bag"))
    below, beside = (
        [text.get_text() for text in ticks] for ticks in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    assert below == beside == ["shirt", "coat", "bag"]
    assert axes.yaxis_inverted()  # the first row above
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert (counts[1.5, 0.5], counts[0.5, 1.5], counts[1.5, 2.5]) == ("2", "1", "4")


@pytest.mark.parametrize("primary", [True, False])
def test_sentence_and_outcome_of_a_primary_claim_are_bold_in_the_forest(primary: bool) -> None:
    claim = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, above=0.5, primary=primary)
    measured = Measurement({0: 1.0, 1: 2.0, 2: 3.0}, 0.95, 0.0)
    figure, _ = forest([Verdict("made-up", claim, 0.5, "validation", measured, "open")])
    weights = {text.get_text(): text.get_fontweight() for text in figure.axes[0].texts}
    bold = "bold" if primary else "normal"
    numbers = dict.fromkeys(("mean +2", "claimed: > 0.5 points"), "normal")
    assert weights == {"deeper is worse [made-up]": bold, "open (3 seeds)": bold, **numbers}


OUTCOMES = {
    **dict.fromkeys(("holds here", "reproduced", "agrees"), AS_CLAIMED),
    **dict.fromkeys(("does not hold here", "not reproduced", "disagrees", "falls short"), OTHERWISE),
    **dict.fromkeys(("undecided", "open", "not comparable"), OPEN_STILL),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_came_out_of_a_claim_has_a_mark_and_a_colour_which_is_no_networks(outcome: str) -> None:
    looks = OUTCOMES[outcome]
    claim = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, above=0.5)
    measured = Measurement({0: 1.0, 1: 2.0, 2: 3.0}, 0.95, 0.0)
    figure, _ = forest([Verdict("made-up", claim, 0.5, "validation", measured, outcome)])
    _, _, interval, mean, _ = figure.axes[0].collections
    colour = to_rgb(looks.colour)
    assert interval.get_colors()[0][:3] == pytest.approx(colour)
    assert mean.get_facecolors()[0][:3] == pytest.approx(colour if looks.filled else (1, 1, 1))
    shape = MarkerStyle(looks.marker)
    assert np.array_equal(
        mean.get_paths()[0].vertices, shape.get_path().transformed(shape.get_transform()).vertices
    )
    (said,) = (text for text in figure.axes[0].texts if text.get_text() == f"{outcome} (3 seeds)")
    assert to_rgb(said.get_color()) == pytest.approx(colour)
    assert len({one.colour for one in OUTCOMES.values()}) == 3
    assert len({(one.marker, one.filled) for one in OUTCOMES.values()}) == 3
    plt.close(figure)


def test_each_claim_of_the_forest_has_a_scale_on_which_its_margin_is_seen() -> None:
    """Of -0.034 against -0.02 beside 31 against 2; and seeds, interval and margin are inside."""
    small = Claim("F becomes smaller", {"plain34": 1}, column="ratio_change", below=-0.02, primary=True)
    large = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, above=2, primary=True)
    verdicts = [
        Verdict("made-up", claim, margin, "validation", Measurement(dict(enumerate(seeds)), 0.95, 0.0), "open")
        for claim, margin, seeds in ((small, -0.02, (-0.034, -0.041, -0.027)), (large, 2, (31.0, 25.0, 37.0)))
    ]
    figure, _ = forest(verdicts)
    for axes, verdict in zip(figure.axes, verdicts, strict=True):
        low, high = axes.get_xlim()
        ends = (*verdict.measurement.interval, *verdict.measurement.values.values(), verdict.margin)
        assert low < min(ends) < max(ends) < high
        assert abs(verdict.measurement.mean - verdict.margin) > 0.2 * (high - low)


def test_primary_claims_are_shared_out_to_screens() -> None:
    def verdict(number: int, *, primary: bool = True, seeds: int = 3) -> Verdict:
        claim = Claim(f"claim {number}", {"plain34": 1}, above=2, primary=primary)
        return Verdict(
            "made-up", claim, 2, "validation", Measurement(dict.fromkeys(range(seeds), 3.0), 0.95, 0), "open"
        )

    primary = [verdict(number) for number in range(20)]
    described, unmeasured = verdict(20, primary=False), verdict(21, seeds=0)
    parts = screens([*primary[:4], described, unmeasured, *primary[4:]])
    assert [len(part) for part in parts] == [7, 7, 6]
    assert [one for part in parts for one in part] == primary
    assert [len(part) for part in screens(primary[: MOST_ROWS + 1])] == [5, 4]
    assert screens(primary[:MOST_ROWS]) == [primary[:MOST_ROWS]]
    assert screens([described, unmeasured]) == [[]]
    for part in (*parts, primary[:MOST_ROWS]):
        assert tuple(forest(part)[0].get_size_inches()) == SCREEN
    plt.close("all")


@pytest.mark.parametrize(("margin", "limits"), [(20.0, (-2.9422, 22.4581)), (0.5, (-1.0803, 5.0803))])
def test_the_forest_reaches_beyond_the_farthest_of_margin_and_interval(
    margin: float, limits: tuple[float, float]
) -> None:
    """The interval of 1, 2 and 3 is 2 +- 4.3027 / sqrt(3); on each side 12 % of the whole are left."""
    measured = Measurement({0: 1.0, 1: 2.0, 2: 3.0}, 0.95, 0.0)
    claim = Claim("more", {"plain34": 1, "plain18": -1}, above=margin)
    figure, table = forest([Verdict("made-up", claim, margin, "validation", measured, "open")])
    (axes,) = figure.axes
    assert axes.get_xlim() == pytest.approx(limits, abs=1e-3)
    assert axes.get_xscale() == "linear"
    low, high = limits
    assert 2 <= len(axes.get_xticks()) <= 5
    assert all(low < tick - 0.05 * (high - low) < tick + 0.05 * (high - low) < high for tick in axes.get_xticks())
    assert table["high"].tolist() == pytest.approx([4.4841] * 3, rel=1e-4)


# ---- the seminar -----------------------------------------------------------------------------------------

Lines = dict[float, float]
Measure = Callable[[str], tuple[RecordedRuns, pd.DataFrame]]
BEGIN, END = 0, 2_000  # iterations of the made-up measurements
# What the panels of a figure draw of each network: quantities and iteration of each of their lines.
PANELS: dict[str, list[list[tuple[str, int]]]] = {
    "gradient_norms": [[("weight", 0)], [("weight", 10)]],
    "shattered_gradients": [[("correlation", BEGIN)], [("correlation", END)]],
    "signal_propagation": [[(f"{one}_of_images", 0)] for one in ("variance", "squared_mean", "before_bn")],
    "path_lengths": [[("gradient", BEGIN), ("gradient", END)], [("share", BEGIN)], [("share", END)]],
    "loss_landscape": [[("loss_E", END)], [("loss_R", END)], [("line_R", END)]],
    "further_lesions": [
        [("intact_E removed_at_random_E", END)],
        [("intact_R removed_at_random_R", END)],
        [("removed_R", END)],
    ],
}


@pytest.fixture
def measured(
    written_in: WriteIn, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[RecordedRuns, pd.DataFrame]]:
    """Return a function that writes three seeds of an experiment, and measurements of which no two are alike."""

    def write(name: str) -> tuple[RecordedRuns, pd.DataFrame]:
        recorded = written_in(EXPERIMENTS[name], "fashion")
        table = recorded.measured(EXPERIMENTS[name].measurement)
        table = table.assign(value=np.random.default_rng(0).uniform(0.1, 0.9, len(table)))
        if name == "construction":  # whose first mixture has nothing of what would have been drawn
            table = table.assign(position=table["position"] - 1)
        monkeypatch.setattr(RecordedRuns, "measured", lambda *_: table)
        return recorded, table

    return write


def mean_by_position(rows: pd.DataFrame) -> Lines:
    """Return the mean of all seeds at each position, one by one."""
    found: dict[float, list[float]] = {}
    for position, value in zip(rows["position"], rows["value"], strict=True):
        found.setdefault(float(position), []).append(value)
    return {position: sum(values) / len(values) for position, values in sorted(found.items())}


def drawn_in(axes: Axes, label: str) -> list[Lines]:
    lines = [line for line in axes.get_lines() if line.get_gid() == f"curve:{label}"]
    return [dict(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True)) for line in lines]


def same(found: Lines, expected: Lines) -> bool:
    return list(found) == pytest.approx(list(expected)) and list(found.values()) == pytest.approx(
        list(expected.values())
    )


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_of_the_seminar_draws_the_means_of_its_own_quantity(measured: Measure, name: str) -> None:
    (experiment,) = (one for one in EXPERIMENTS.values() if name in one.figures)
    recorded, table = measured(experiment.name)
    figure, drawn = FIGURES[name].draw(recorded, experiment)
    panels = figure.axes
    if name == "further_lesions":
        panels = [panels[place] for place in (0, 3, 5)]
    networks = experiment.networks["fashion"]
    for axes, lines in zip(panels, PANELS[name], strict=False):
        for network in networks:
            found = drawn_in(axes, Architecture.parse(network).label)
            assert len(found) == len(lines)
            for line, (quantities, iteration) in zip(found, lines, strict=True):
                of = table[(table["network"] == network) & (table["iteration"] == iteration)]
                assert same(line, mean_by_position(of[of["quantity"].isin(quantities.split())])), quantities
    assert set(drawn["network"]) == set(networks)


def test_the_ratio_of_gradients_is_the_second_layers_over_the_last_ones_seed_by_seed(
    measured: Measure,
) -> None:
    recorded, table = measured("gradient_norms")
    figure, _ = FIGURES["gradient_norms"].draw(recorded, EXPERIMENTS["gradient_norms"])
    for network in EXPERIMENTS["gradient_norms"].networks["fashion"]:
        rows = table[(table["network"] == network) & (table["quantity"] == "weight")]
        expected = {}
        for iteration in (0, 10, 2_000):
            ratios = []
            for seed in range(3):
                values = rows[(rows["seed"] == seed) & (rows["iteration"] == iteration)]["value"].tolist()
                ratios.append(values[1] / values[-1])
            expected[float(iteration)] = sum(ratios) / 3
        (found,) = drawn_in(figure.axes[2], Architecture.parse(network).label)
        assert same(found, expected)


def test_exchanged_blocks_stand_at_the_mean_share_out_of_order_and_the_intact_network_at_none(
    measured: Measure,
) -> None:
    recorded, table = measured("lesions")
    figure, _ = FIGURES["further_lesions"].draw(recorded, EXPERIMENTS["lesions"])
    for mode, axes in zip("ER", (figure.axes[1], figure.axes[4]), strict=True):
        for network in EXPERIMENTS["lesions"].networks["fashion"]:
            rows = table[table["network"] == network].set_index("quantity")
            order = mean_by_position(rows.loc[["kendall_tau"]])
            errors = mean_by_position(rows.loc[[f"exchanged_{mode}"]])
            expected = {50 * (1 - order[position]): error for position, error in errors.items()}
            expected[0.0] = rows.loc[[f"intact_{mode}"], "value"].mean()
            (found,) = drawn_in(axes, Architecture.parse(network).label)
            assert same(found, dict(sorted(expected.items())))


def test_the_share_of_paths_of_each_length_is_drawn_in_grey(
    measured: Measure,
) -> None:
    recorded, table = measured("path_lengths")
    figure, _ = FIGURES["path_lengths"].draw(recorded, EXPERIMENTS["path_lengths"])
    for axes, iteration in zip(figure.axes[1:], (BEGIN, END), strict=True):
        grey = [line for line in axes.get_lines() if not str(line.get_gid()).startswith("curve:")]
        for line, network in zip(grey, EXPERIMENTS["path_lengths"].networks["fashion"], strict=True):
            of = table[(table["network"] == network) & (table["iteration"] == iteration)]
            found = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
            assert same(found, mean_by_position(of[of["quantity"] == "paths"]))


def test_the_map_of_residual_functions_counts_doublings_since_the_start(
    measured: Measure,
) -> None:
    recorded, table = measured("residual_functions")
    experiment = EXPERIMENTS["residual_functions"]
    figure, _ = FIGURES["residual_functions"].draw(recorded, experiment)
    studies = experiment.studies_in("fashion")
    first, *maps = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    begun, *ends = [line for line in first.get_lines() if len(line.get_xdata())]
    for place, (axes, end, study) in enumerate(zip(maps, ends, studies, strict=True)):
        rows = table[(table["study"] == study.name) & (table["quantity"] == "ratio")]
        start, ten, last = (mean_by_position(rows[rows["iteration"] == at]) for at in (0, 10, 2_000))
        doublings = [[np.log2(now[at] / start[at]) for now in (start, ten, last)] for at in start]
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array(doublings))
        lines = [(end, last)] + ([(begun, start)] if place == 0 else [])
        for line, values in lines:
            assert list(line.get_xdata()) == pytest.approx(list(values.values()))
            assert list(line.get_ydata()) == list(values)


def test_the_construction_is_drawn_from_the_errors_that_were_given_and_with_its_mixtures(
    measured: Measure,
) -> None:
    recorded, table = measured("construction")
    experiment = EXPERIMENTS["construction"]
    figure, _ = FIGURES["construction"].draw(recorded, experiment)
    valley, _ = FIGURES["construction_valley"].draw(recorded, experiment)
    every = experiment.networks["fashion"]
    panels = [
        (figure.axes[0], "grown", [name for name in every if "plain" in name]),
        (figure.axes[1], "grown", [name for name in every if "residual" in name]),
        (valley.axes[0], "grown-slow", ["cifar-plain20", "cifar-plain56"]),
    ]
    before = table[table["iteration"] == 0]
    for axes, study, networks in panels:
        curves = recorded.training_curves[recorded.training_curves["study"] == study]
        first, last = (
            curves[curves["iteration"] == at()] for at in (curves["iteration"].min, curves["iteration"].max)
        )
        given = [
            before[(before["network"] == name) & (before["study"] == study)].set_index("quantity")
            for name in networks
        ]
        marks = [rows.loc[["error_T"]].query("position == 0")["value"].mean() for rows in given]
        points = [line for line in axes.get_lines() if line.get_marker() == "o"]
        assert [point.get_xydata().tolist() for point in points] == [
            [[0.0, pytest.approx(mark)]] for mark in marks
        ]
        ends = {
            (line.get_ydata()[0], line.get_ydata()[-1]) for line in axes.get_lines() if len(line.get_xdata()) > 2
        }
        for name in networks:
            ours = tuple(part[part["network"] == name]["running_training_error"].mean() for part in (first, last))
            assert any(pytest.approx(ours) == end for end in ends), (study, name)
    control = sum(skewed(Architecture.parse("cifar-plain56"), seed)[0] for seed in range(3)) / 3
    assert [line for line in figure.axes[0].get_lines() if list(line.get_ydata()) == pytest.approx([control] * 2)]
    said = [text.get_text() for text in figure.axes[0].texts]
    assert f"from scratch, twice as long: {control:.0f} %" in said
    built = before[(before["network"] == "cifar-plain56") & (before["study"] == "grown")]
    for line, mode in zip(valley.axes[1].get_lines()[:3], "ERT", strict=True):
        found = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        assert same(found, mean_by_position(built[built["quantity"] == f"error_{mode}"]))


def test_each_panel_of_the_first_iterations_is_of_its_quantity_and_each_line_of_its_study(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = EXPERIMENTS["input_scaling"]
    recorded = written(experiment)
    quantities = {
        "output of conv1 (RMS)": "conv1",
        "the same after BN (RMS)": "bn1",
        "gradient of conv1 (RMS)": "conv1_gradient",
        "norm of the whole gradient": "gradient_norm",
        "logits (RMS)": "logits",
        "loss (nats)": "loss",
    }
    drawn_of = np.random.default_rng(0)
    table = recorded.first_iterations
    table = table.assign(**{name: drawn_of.uniform(0.1, 0.9, len(table)) for name in quantities.values()})
    monkeypatch.setitem(vars(recorded), "first_iterations", table)
    figure, drawn = FIGURES["first_iterations"].draw(recorded, experiment)
    recipes = {
        study.name: find_setting("digits").with_changes(study.changes) for study in experiment.studies_in("digits")
    }
    cold = {name: recipe for name, recipe in recipes.items() if not recipe.warm_up_iterations}
    assert [axes.get_title() for axes in figure.axes] == list(quantities)
    for axes, quantity in zip(figure.axes, quantities.values(), strict=True):
        for (name, recipe), line in zip(cold.items(), axes.get_lines(), strict=True):
            pixels = f"{recipe.pixel_range}, {'mean subtracted' if recipe.subtract_mean else 'raw'}"
            assert line.get_label() == f"{pixels}, {recipe.learning_rate:g}"
            runs = table[table["study"] == name]
            means = [runs[runs["iteration"] == one][quantity].sum() / 3 for one in sorted(set(runs["iteration"]))]
            assert list(line.get_ydata()) == pytest.approx(means)
            rows = drawn[(drawn["study"] == name) & (drawn["quantity"] == quantity)]
            assert rows["value"].tolist() == pytest.approx(means)


def test_of_one_network_each_panel_is_of_a_quantity_dashed_before_and_bold_after_training() -> None:
    rows = [
        {"quantity": quantity, "moment": moment, "position": position, "value": factor * position * times}
        for quantity, factor in (("weight", 1.0), ("ratio", 0.5))
        for moment, times in (("untrained", 1.0), ("trained", 30.0 if quantity == "weight" else 2.0))
        for position in (1, 2, 3)
    ]
    figure, table = _by_quantity(Architecture.parse("plain18"), pd.DataFrame(rows))
    assert len(table) == len(rows)
    for axes, title, scale, values in zip(
        figure.axes,
        (WORDS["weight"], WORDS["ratio"]),
        ("log", "linear"),  # of the first the greatest is ninety times the least, of the second six times
        ([1.0, 2.0, 3.0], [0.5, 1.0, 1.5]),
        strict=True,
    ):
        assert (axes.get_title(), axes.get_yscale()) == (title, scale)
        times = 30 if scale == "log" else 2
        lines = {line.get_label(): line for line in axes.get_lines()}
        before, after = lines["untrained"], lines["trained"]
        assert list(before.get_xdata()) == list(after.get_xdata()) == [1, 2, 3]
        assert list(before.get_ydata()) == values
        assert list(after.get_ydata()) == [value * times for value in values]
        assert (before.get_linestyle(), before.get_linewidth()) == ("--", THIN)
        assert (after.get_linestyle(), after.get_linewidth()) == (SOLID, BOLD)


def test_of_one_network_errors_are_bars_with_their_number() -> None:
    names = ("error_trained", "logit_difference", "error_folded")
    table = pd.DataFrame({"quantity": names, "position": 0, "value": (12.34, 0.1, 56.78), "moment": "trained"})
    figure, _ = _by_quantity(Architecture.parse("plain18"), table)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [12.34, 56.78]
    assert [text.get_text() for text in axes.texts] == ["12.3 %", "56.8 %"]
    assert [text.get_text() for text in axes.get_xticklabels()] == [WORDS.get(names[0]), WORDS.get(names[2])]
    assert axes.get_title() == "plain-18"


def test_folded_networks_are_dots_from_left_to_right_by_seed_with_their_mean_and_rings_before(
    written_in: WriteIn,
) -> None:
    experiment = EXPERIMENTS["folding"]
    figure, _ = FIGURES["folding"].draw(written_in(experiment, "fashion"), experiment)
    (axes,) = figure.axes
    measured = written_in(experiment, "fashion").measured(experiment.measurement)
    columns = (
        ("cifar-plain56", "", "error_trained"),
        ("cifar-plain56", "foldable", "error_folded"),
        ("cifar-residual56-A", "", "error_trained"),
    )

    def of_seeds(network: str, study: str, quantity: str) -> list[float]:
        rows = measured[(measured["network"] == network) & (measured["study"] == study)]
        return rows[rows["quantity"] == quantity].sort_values("seed")["value"].tolist()

    dots = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    rings = [line for line in dots if line.get_markerfacecolor() == "none"]
    assert len(dots) == 4
    (before,) = rings
    assert before.get_label() == "before folding"
    assert list(before.get_ydata()) == pytest.approx(of_seeds("cifar-plain56", "foldable", "error_trained"))
    words = [text.get_text() for text in axes.texts]
    for place, (line, column) in enumerate(zip([one for one in dots if one is not before], columns, strict=True)):
        errors = of_seeds(*column)
        assert list(line.get_xdata()) == pytest.approx([place - 0.1, place, place + 0.1])
        assert list(line.get_ydata()) == pytest.approx(errors)
        (mean,) = (
            segment
            for bars in axes.collections
            for segment in bars.get_segments()
            if segment[0][0] == pytest.approx(place - 0.16)
        )
        assert mean[:, 1] == pytest.approx([np.mean(errors)] * 2)
        assert f"{np.mean(errors):.0f} %" in words


def test_errors_stand_at_their_learning_rates_training_left_and_validation_right(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["learning_rate_and_depth"]
    rates = {study.name: study.changes["learning_rate"] for study in experiment.studies_in("fashion")}
    for name in experiment.networks["fashion"]:
        for place, study in enumerate(experiment.studies_in("fashion")):
            for seed in range(3):
                ends = tuple(value + 5 * place for value in skewed(Architecture.parse(name), seed))
                write_run(tmp_path, "fashion", name, seed, study=study, errors=lambda *_, e=ends: e)
    figure, _ = FIGURES["learning_rates"].draw(read_runs(tmp_path, "fashion"), experiment)
    for name in experiment.networks["fashion"]:
        architecture = Architecture.parse(name)
        training = sum(skewed(architecture, seed)[0] for seed in range(3)) / 3
        for axes, more in zip(figure.axes, (0, 3), strict=True):
            (found,) = drawn_in(axes, architecture.label)
            expected = {rate: training + more + 5 * place for place, rate in enumerate(rates.values())}
            assert same(found, dict(sorted(expected.items())))


@pytest.mark.parametrize(
    ("experiment", "name"),
    [(one, name) for one in EXPERIMENTS.values() if one.measurement or one.seminar for name in one.figures],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_the_seminar_draws_needs_no_finished_run(tmp_path: Path, experiment: Experiment, name: str) -> None:
    setting = next(iter(experiment.networks))
    network, study = next(iter(experiment.runs_in(setting)))
    write_run(tmp_path, setting, network, 0, study=study, finished=False)
    figure, table = FIGURES[name].draw(read_runs(tmp_path, setting), experiment)
    assert table.empty
    legends = [axes.get_legend() for axes in figure.axes]
    words = [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]
    words += [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    assert any(one.endswith(("not run", "not measured")) for one in words)


def test_bold_are_the_networks_that_the_primary_claim_compares() -> None:
    """Those of `gradient_norms` are of 56 layers; of an experiment without a claim, all are."""
    experiment = EXPERIMENTS["gradient_norms"]
    lines = {name: network_line(Architecture.parse(name), experiment) for name in experiment.networks["digits"]}
    widths = {name: line["linewidth"] for name, line in lines.items()}
    expected = {name: BOLD if "56" in name else THIN for name in experiment.networks["digits"]}
    assert widths == expected
    assert {line["linestyle"] for line in lines.values()} == {SOLID}
    assert network_line(Architecture.parse("plain18"))["linewidth"] == BOLD


def test_a_stem_of_the_lesions_goes_from_the_intact_error_to_the_mean_without_its_block(written: Write) -> None:
    experiment = EXPERIMENTS["lesions"]
    figure, table = FIGURES["lesions"].draw(written(experiment), experiment)
    assert set(table["quantity"]) == {"intact_E", "removed_E"}
    for axes, name in zip(figure.axes, experiment.networks["digits"], strict=True):
        rows = table[table["network"] == name]
        intact = rows[rows["quantity"] == "intact_E"]["value"].mean()
        without = rows[rows["quantity"] == "removed_E"].groupby("position")["value"]
        stems, ranges = axes.collections[:2]
        for lines, low, high in (
            (stems, [intact] * len(without), without.mean()),
            (ranges, without.min(), without.max()),
        ):
            drawn = [(x, y) for segment in lines.get_segments() for x, y in segment]
            places = without.mean().index
            expected = [(x, y) for x, *ends in zip(places, low, high, strict=True) for y in ends]
            assert np.array(drawn) == pytest.approx(np.array(expected))
        levels = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == DASHED]
        assert levels == pytest.approx([intact, 90.0])
        words = " / ".join(text.get_text() for text in axes.texts)
        assert f"with all blocks: {intact:.0f} %" in words
        assert "guessing: 90 %" in words


def test_both_figures_of_the_lesions_hold_all_that_was_measured(written: Write) -> None:
    experiment = EXPERIMENTS["lesions"]
    recorded = written(experiment)
    measured = recorded.measured(experiment.measurement)
    shown = pd.concat([FIGURES[name].draw(recorded, experiment)[1] for name in experiment.figures])
    columns = ["network", "seed", "quantity", "position", "value"]
    pd.testing.assert_frame_equal(
        shown[columns].sort_values(columns, ignore_index=True),
        measured[columns].sort_values(columns, ignore_index=True),
    )


def test_blocks_out_of_order_are_the_share_of_pairs_that_kendalls_tau_gives(written: Write) -> None:
    """A tau of 1 is none, of 0 half of the pairs, and of -1 all."""
    experiment = EXPERIMENTS["lesions"]
    recorded = written(experiment)
    measured = recorded.measured(experiment.measurement)
    places = sorted(measured[measured["quantity"] == "kendall_tau"]["position"].unique())
    assert places
    taus = dict(zip(places, np.linspace(0.5, -1, len(places)), strict=True))
    of_tau = measured["quantity"] == "kendall_tau"
    measured = measured.assign(value=measured["value"].where(~of_tau, measured["position"].map(taus)))
    object.__setattr__(recorded, "measured", lambda _: measured)
    figure, _ = FIGURES["further_lesions"].draw(recorded, experiment)
    for line in figure.axes[1].get_lines()[: len(experiment.networks["digits"])]:
        expected = sorted(50 * (1 - tau) for tau in (1, *taus.values()))
        assert list(line.get_xdata()) == pytest.approx(expected[: len(line.get_xdata())])


def test_the_construction_begins_at_the_error_that_was_given(written: Write) -> None:
    experiment = EXPERIMENTS["construction"]
    recorded = written(experiment)
    table = recorded.measured(experiment.measurement)
    grown = table[(table["study"] == "grown") & (table["seed"] == 0)].drop_duplicates(["network", "study"])
    errors = {name: 20.0 + place for place, name in enumerate(grown["network"])}
    given = grown.assign(iteration=0, quantity="error_T", position=0.0, value=grown["network"].map(errors))
    object.__setattr__(recorded, "measured", lambda _: given)
    figure, drawn = FIGURES["construction"].draw(recorded, experiment)
    for axes, kind in zip(figure.axes, ("plain", "residual"), strict=True):
        dots = [line for line in axes.get_lines() if list(line.get_xdata()) == [0] and line.get_marker() == "o"]
        expected = [error for name, error in errors.items() if kind in name]
        assert sorted(line.get_ydata()[0] for line in dots) == sorted(expected)
        assert [text.get_text() for text in axes.texts].count("what they were given") == 1
    marks = drawn[drawn["given_error"].notna()]
    assert dict(zip(marks["network"], marks["given_error"], strict=True)) == errors
    assert set(marks["iteration"]) == {0}
    words = " / ".join(text.get_text() for text in figure.axes[0].texts)
    assert all(name in words for name in ("plain-56, built", "plain-20 itself", "plain-56 from scratch"))
    assert "from scratch, twice as long: " in words
    assert "guessing: 90 %" in words


@pytest.mark.parametrize(("halfway", "shown"), [(50.0, True), (70.0, False)])
def test_the_end_of_low_curves_is_enlarged_where_no_curve_lies_under_it(halfway: float, shown: bool) -> None:
    _, axes = plt.subplots()
    axes.set_ylim(0, 100)
    curve = {"iteration": [10, 40, 60, 100], "mean": [99.0, halfway, 30.0, 28.0]}
    drawn = pd.DataFrame(curve).assign(network="plain18", column=TRAINED.column)
    enlarge_end(axes, [drawn], [TRAINED], ["black"])
    assert bool(axes.child_axes) == shown
