"""Figures: they keep the conventions of style.py and show exactly what the CSV beside them holds."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment, load_experiments
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures import FIGURES, _heading, draw, draw_all, draw_primary_claims
from plain_vs_residual.report.figures.curves import BETWEEN_LABELS, _spread_out
from plain_vs_residual.report.figures.forest import forest
from plain_vs_residual.report.figures.responses import draw_responses, response_panels
from plain_vs_residual.report.figures.studies import confusion as confusion_figure
from plain_vs_residual.report.figures.style import (
    BOLD,
    DASHED,
    NETWORK_COLOURS,
    SMALLEST,
    SOLID,
    THIN,
    depth_colour,
)
from plain_vs_residual.report.tables import number_and_interval
from tests.made_up_records import read_json, read_runs, reseal, write_results, write_run

EXPERIMENTS = load_experiments()
FIG4, FIG6 = EXPERIMENTS["fig4_depth"], EXPERIMENTS["fig6_cifar_depth"]
FIG7, TABLE3 = EXPERIMENTS["fig7_layer_responses"], EXPERIMENTS["table3_shortcuts"]
LONGER = EXPERIMENTS["footnote3_longer"]
EVERY_FIGURE = [(experiment, name) for experiment in (FIG4, FIG6, FIG7, TABLE3) for name in experiment.figures]
IDS = [f"{experiment.name}-{name}" for experiment, name in EVERY_FIGURE]

OF_PLAIN_NETWORKS = ("training_and_test", "construction_valley")

Point = tuple[float, float]
Lines = list[list[Point]]


@pytest.fixture(scope="module")
def find_recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RecordedRuns]:
    """Return a function that gives two seeds of all runs of a setting, which are written only once."""
    results = tmp_path_factory.mktemp("results")
    written: dict[str, RecordedRuns] = {}

    def of(setting: str) -> RecordedRuns:
        if setting not in written:
            written[setting] = write_results(results, EXPERIMENTS.values(), setting, seeds=range(2))
        return written[setting]

    return of


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(recorded: RecordedRuns, experiment: Experiment, name: str) -> tuple[Figure, list[Axes], pd.DataFrame]:
    figure, table = FIGURES[name].draw(recorded, experiment)
    return figure, figure.axes, table


def lines_in(axes: Axes) -> Lines:
    """Return the points of every line; lines that exist only for the legend have none and are left out."""
    points = [list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.get_lines()]
    return sorted([(float(x), float(y)) for x, y in line] for line in points if line)


def lines_of(table: pd.DataFrame, by: list[str], x: str, y: str) -> Lines:
    groups = table.groupby(by, dropna=False)
    return sorted([(float(a), float(b)) for a, b in group[[x, y]].to_numpy()] for _, group in groups)


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def words_in(axes: Axes) -> str:
    return " / ".join([*(legend_of(axes) if axes.get_legend() else ()), *(text.get_text() for text in axes.texts)])


def faults_for_a_projector(figure: Figure) -> list[str]:
    """List what nobody in the last row could read or tell apart: letters, shapes, labels, kinds of lines."""
    width, height = figure.get_size_inches()
    found = [] if width >= 16 * height / 9 - 1e-9 else [f"{width} x {height} inches"]
    for axes in figure.axes:
        words = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        words += axes.get_legend().get_texts() if axes.get_legend() else []
        found += [f"small: {one.get_text()}" for one in words if one.get_text() and one.get_fontsize() < SMALLEST]
        edge = figure.bbox.padded(2)
        extents = {one.get_text(): one.get_window_extent() for one in axes.texts if axes.axison}
        found += [
            f"cut off: {text}"
            for text, box in extents.items()
            if not (edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1)
        ]
        styles = {line.get_linestyle() for line in axes.get_lines()}
        found += [f"line {style}" for style in sorted(styles - {SOLID, DASHED, "None"})]
        for axis in (axes.xaxis, axes.yaxis):
            shown = [label for label in axis.get_ticklabels() if label.get_visible() and label.get_text()]
            boxes = [label.get_window_extent() for label in shown if not label.get_rotation()]
            low, high = sorted(axis.get_view_interval())
            places = [label.get_position()[axis is axes.yaxis] for label in shown if not label.get_rotation()]
            inside = [box for box, place in zip(boxes, places, strict=True) if low <= place <= high]
            overlaps = sum(one.overlaps(other) for one, other in itertools.pairwise(inside))
            found += [f"{overlaps} labels of {axes.get_title()!r} lie on others"] if overlaps else []
            found += [f"small: {label.get_text()}" for label in shown if label.get_fontsize() < SMALLEST]
    return found


def test_what_the_last_row_cannot_read_is_found() -> None:
    figure, axes = plt.subplots(figsize=(16, 10))
    axes.plot([0, 1], [0, 1], ":")
    axes.set_title("too small", fontsize=SMALLEST - 1)
    axes.set_xticks([0.5, 0.501], ["one label", "on another"], fontsize=SMALLEST)
    axes.set_yticks([0.5], ["small, too"], fontsize=SMALLEST - 1)
    axes.text(2, 0.5, "leaves the figure", fontsize=SMALLEST)
    figure.canvas.draw()
    assert faults_for_a_projector(figure) == [
        "16.0 x 10.0 inches",
        "small: too small",
        "cut off: leaves the figure",
        "line :",
        "1 labels of 'too small' lie on others",
        "small: small, too",
    ]
    plt.close(figure)


def test_every_figure_is_drawn_as_png_svg_and_csv(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Figure.savefig
    faults: dict[str, list[str]] = {}

    def save(figure: Figure, path: Path, **given: object) -> None:
        honest(figure, path, **given | {"dpi": 40})  # a ninth of the pixels, of which none is looked at
        if found := faults_for_a_projector(figure):
            faults[path.stem] = found

    monkeypatch.setattr(Figure, "savefig", save)
    pictures = draw_all(find_recorded_runs("digits"), EXPERIMENTS.values(), tmp_path)
    expected = [
        experiment.name if place == 0 else f"{experiment.name}-{name}"
        for experiment in EXPERIMENTS.values()
        if "digits" in experiment.networks
        for place, name in enumerate(experiment.figures)
    ]
    assert [picture.stem for picture in pictures] == expected
    assert len(list(tmp_path.iterdir())) == 3 * len(expected)
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        text = " ".join(ElementTree.parse(picture.with_suffix(".svg")).getroot().itertext())
        assert "digits (scikit-learn), setting digits; 2 seeds" in text
        assert "not run" not in text
        assert not pd.read_csv(picture.with_suffix(".csv")).empty
    recorded = find_recorded_runs("digits")
    verdicts = judge(recorded, list(EXPERIMENTS.values()))
    drawn = draw_primary_claims(recorded, verdicts, tmp_path / "claims")
    assert [path.name for path in drawn][:2] == ["claims.png", "claims-2.png"]
    assert faults == {}


@pytest.mark.parametrize("setting", ["cifar10", "imagenet"])
def test_every_figure_shows_every_network_of_the_larger_settings(
    find_recorded_runs: Callable[[str], RecordedRuns], setting: str
) -> None:
    recorded = find_recorded_runs(setting)
    for experiment in EXPERIMENTS.values():
        networks = experiment.networks.get(setting)
        for name in experiment.figures if networks else ():
            figure, table = FIGURES[name].draw(recorded, experiment)
            assert not any("not run" in words_in(axes) for axes in figure.axes)
            shown = ("cifar-plain20", "cifar-plain56") if name in OF_PLAIN_NETWORKS else networks
            assert "network" not in table or set(table["network"]) == set(shown or ())
            plt.close(figure)


def test_the_caption_tells_a_short_setting_and_a_study_from_the_real_thing(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    for setting, experiment, words in (
        ("cifar10-short", FIG4, "1 seed; short"),
        ("digits", FIG4, "1 seed; ten epochs show slow optimisation"),
        ("fashion", LONGER, "1 seed; three times the iterations"),
    ):
        folder = tmp_path / setting / experiment.name
        recorded = write_results(folder, [experiment], setting, seeds=[0], caveat="blurred: by hand")
        picture = draw(recorded, experiment, experiment.figures[0], folder / "plots")
        text = picture.with_suffix(".svg").read_text()
        assert words in text
        assert "blurred" in text


def test_the_caption_counts_the_seeds_that_were_measured_where_a_measurement_is_drawn(tmp_path: Path) -> None:
    lesions = EXPERIMENTS["lesions"]
    recorded = write_results(tmp_path, [lesions], "digits", seeds=range(3))
    heading = partial(_heading, experiment=lesions, name=lesions.figures[0])
    assert "; 3 seeds" in heading(recorded)
    first = recorded.records[0].folder
    for path in (first.measurement(lesions.measurement), first.measured(lesions.measurement)):
        path.unlink()
    assert "; 2 to 3 seeds" in heading(read_runs(tmp_path, "digits"))


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("horizon", "fashion", "1, 3, 9 and 27 times the iterations"),
        ("footnote3_longer", "fashion", "three times the iterations"),
    ],
)
def test_a_heading_names_the_budget_of_one_study_and_the_experiment_of_several(
    tmp_path: Path, name: str, setting: str, words: str
) -> None:
    experiment = EXPERIMENTS[name]
    recorded = write_results(tmp_path, [experiment], setting, seeds=range(1))
    assert f"; 1 seed; {words}" in _heading(recorded, experiment, experiment.figures[0])


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$x_{$", "50% & more_or_less", "a\\frac$b$c$\\no$"])
def test_the_name_of_a_data_set_is_drawn_as_it_is(tmp_path: Path, name: str) -> None:
    recorded = write_results(tmp_path, [FIG4], "digits", seeds=[0], dataset=name, variant="other")
    picture = draw(recorded, FIG4, "final_errors", tmp_path)
    texts = ElementTree.parse(picture.with_suffix(".svg")).getroot().itertext()
    assert any(text.startswith(f"{name}, setting digits") for text in texts)


def test_a_figure_fills_the_screen_of_a_projector_and_says_what_came_out(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    recorded = find_recorded_runs("digits")
    verdicts = judge(recorded, list(EXPERIMENTS.values()))
    (own,) = [one for one in verdicts if one.experiment == FIG4.name and one.claim.primary]
    text = {}
    for name in FIG4.figures:
        picture = draw(recorded, FIG4, name, tmp_path, verdicts)
        assert plt.imread(picture).shape[:2] == (1080, 1920)
        text[name] = " ".join(
            " ".join(ElementTree.parse(picture.with_suffix(".svg")).getroot().itertext()).split()
        )
    first, *others = FIG4.figures
    assert own.statement in text[first]
    assert f"{own.outcome}: {number_and_interval(own.measurement)}; claimed: > 0.5 points" in text[first]
    assert not any(own.statement in text[name] for name in others)
    nothing = replace(
        own, measurement=Measurement({}, 0.95, 0.0), outcome="undecided", reason="complete seeds: 0; why"
    )
    picture = draw(recorded, FIG4, first, tmp_path, [nothing])
    assert "undecided: complete seeds: 0 " in " ".join(
        ElementTree.parse(picture.with_suffix(".svg")).getroot().itertext()
    )


def test_an_unknown_figure_is_refused_with_the_known_ones(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no figure 'pie'; accepted are depth_curves"):
        draw(find_recorded_runs("digits"), FIG4, "pie", tmp_path)


def test_the_same_records_give_the_same_bytes(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    first, second = (draw(find_recorded_runs("digits"), FIG4, "final_errors", tmp_path / name) for name in "ab")
    for suffix in (".png", ".svg", ".csv"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()


def test_the_csv_on_disk_is_the_table_that_was_drawn(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    _, _, table = drawn(find_recorded_runs("digits"), FIG4, "depth_curves")
    path = draw(find_recorded_runs("digits"), FIG4, "depth_curves", tmp_path).with_suffix(".csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), table, check_dtype=False)


@pytest.mark.parametrize(
    ("experiment", "name"), [(FIG4, "depth_curves"), (FIG6, "cifar_curves"), (FIG6, "training_and_test")]
)
def test_curves_are_those_of_the_csv_and_the_means_of_the_records(
    find_recorded_runs: Callable[[str], RecordedRuns], experiment: Experiment, name: str
) -> None:
    recorded = find_recorded_runs("cifar10")
    _, panels, table = drawn(recorded, experiment, name)
    assert sorted(lines_in(panels[0]) + lines_in(panels[1])) == lines_of(
        table, ["network", "column"], "iteration", "mean"
    )
    assert set(table["count"]) == {2}
    for _, row in table.iloc[::17].iterrows():
        records = recorded.training_curves if row["column"] == "running_training_error" else recorded.curves
        values = records[(records["network"] == row["network"]) & (records["iteration"] == row["iteration"])]
        values = values[values["study"] == ""][row["column"]]
        assert row[["mean", "min", "max"]].to_list() == pytest.approx([values.mean(), values.min(), values.max()])


@pytest.mark.parametrize(("experiment", "name"), [(FIG4, "depth_curves"), (FIG6, "cifar_curves")])
def test_figs_4_and_6_are_those_of_the_paper_but_with_the_training_error_in_bold(
    find_recorded_runs: Callable[[str], RecordedRuns], experiment: Experiment, name: str
) -> None:
    """Plain left, residual right; a colour a network; bold training, thin validation, and nothing dashed."""
    _, (left, right), table = drawn(find_recorded_runs("digits"), experiment, name)
    whose = {
        tuple(group["mean"]): (network, column)
        for (network, column), group in table.groupby(["network", "column"])
    }
    colours: dict[str, set[tuple[float, ...]]] = {}
    for axes, kind in ((left, "plain"), (right, "residual")):
        assert axes.get_title().startswith(kind)
        lines = [line for line in axes.get_lines() if len(line.get_xdata())]
        assert len(lines) == 4
        for line in lines:
            network, column = whose[tuple(line.get_ydata())]
            assert kind in network
            training = column == "running_training_error"
            assert line.get_linewidth() == (BOLD if training else THIN)
            assert line.get_linestyle() == SOLID
            colours.setdefault(network, set()).add(to_rgb(line.get_color()))
        assert legend_of(axes) == ["training", "validation"]
        labels = {Architecture.parse(name).label for name in experiment.networks["digits"] if kind in name}
        assert {text.get_text() for text in axes.texts} == labels
    assert THIN < BOLD
    assert left.get_shared_x_axes().joined(left, right)
    assert left.get_shared_y_axes().joined(left, right)
    assert (left.get_xlim(), left.get_ylim()) == (right.get_xlim(), right.get_ylim())
    one_each = [seen for seen in colours.values() if len(seen) == 1]
    assert len(one_each) == len(colours) == len(set.union(*one_each)) == 4
    assert "the paper's" in FIGURES[name].caption  # where lines mean something else


def test_fig_1_has_training_error_left_and_validation_error_right(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    _, (left, right), table = drawn(find_recorded_runs("cifar10"), FIG6, "training_and_test")
    assert (left.get_title(), right.get_title()) == ("training error", "test error")
    for axes, column in ((left, "running_training_error"), (right, "validation_error")):
        assert lines_in(axes) == lines_of(table[table["column"] == column], ["network"], "iteration", "mean")
        assert {text.get_text() for text in axes.texts} == {"plain-20", "plain-56"}


def test_the_limit_of_the_errors_leaves_the_end_of_every_curve_inside(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    _, (left, _), table = drawn(find_recorded_runs("cifar10"), FIG6, "cifar_curves")
    last = table[table["iteration"] == table["iteration"].max()]["max"]
    low, high = left.get_ylim()
    assert low == 0
    assert last.max() < high <= 100


def test_final_errors_are_a_dot_a_seed_and_a_line_of_means(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    recorded = find_recorded_runs("digits")
    _, panels, table = drawn(recorded, FIG4, "final_errors")
    for axes, column in zip(panels, ("running_training_error", "validation_error"), strict=True):
        dots = np.concatenate([np.asarray(dots.get_offsets())[:, 1] for dots in axes.collections])
        assert sorted(dots) == pytest.approx(sorted(table[column]))
        means = table.groupby("network")[column].mean()
        plain, residual = (line for line in axes.get_lines() if line.get_linewidth() == BOLD)
        of_seeds = [line for line in axes.get_lines() if line.get_linewidth() < BOLD]
        assert len(of_seeds) == 4  # two kinds, two seeds
        for line in of_seeds:
            seeds = table[table[column].isin(line.get_ydata())]["seed"]
            assert seeds.nunique() == 1
        assert list(plain.get_ydata()) == pytest.approx([means["plain18"], means["plain34"]])
        assert list(residual.get_ydata()) == pytest.approx([means["residual18-A"], means["residual34-A"]])
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["18", "34"]
        assert legend_of(axes) == ["plain", "residual"]


def test_shortcut_options_put_the_final_errors_into_the_csv_too(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    _, (left, right), table = drawn(find_recorded_runs("digits"), TABLE3, "shortcut_options")
    at_the_end = table["seed"].notna()
    assert lines_in(left) == lines_of(table[~at_the_end], ["network", "column"], "iteration", "mean")
    dots = [np.asarray(c.get_offsets())[:, 1] for c in right.collections if len(c.get_offsets()) == 2]
    assert sorted(np.concatenate(dots)) == pytest.approx(sorted(table[at_the_end]["mean"]))
    assert at_the_end.sum() == 2 * 2 * 4
    ticks = [tick.get_text().split("\n") for tick in right.get_xticklabels()]
    assert [words[0] for words in ticks] == ["plain", "A", "B", "C"]
    assert [words[2] for words in ticks] == ["34.0 M"] * 4


def test_layer_responses_are_in_order_then_sorted_then_against_x(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    _, panels, table = drawn(find_recorded_runs("digits"), FIG7, "layer_responses")
    ordered, ranked, (ratio, cosine) = panels[:2], panels[2:4], panels[4:]
    responses = table[table["kind"] == "response_std"]
    means = responses.groupby(["network", "moment", "order"], as_index=False)["value"].mean()
    for in_order, in_rank, moment in zip(ordered, ranked, ("final", "estimated"), strict=True):
        shown = means[means["moment"].isin(("initial", moment))]
        assert np.allclose(
            np.concatenate(lines_in(in_order)),
            np.concatenate(lines_of(shown, ["network", "moment"], "order", "value")),
        )
        trained = means[means["moment"] == moment]
        for line in (line for line in in_rank.get_lines() if len(line.get_xdata())):
            assert list(line.get_ydata()) == sorted(line.get_ydata(), reverse=True)
        assert sorted(y for line in lines_in(in_rank) for _, y in line) == pytest.approx(sorted(trained["value"]))
        assert in_order.get_ylim() == in_rank.get_ylim() == panels[0].get_ylim()
        words = "E: running statistics" if moment == "final" else "R: statistics estimated anew"
        assert words in in_order.get_title()
        assert words in in_rank.get_title()
    for axes, kind in ((ratio, "ratio"), (cosine, "cosine")):
        rows = table[(table["kind"] == kind) & (table["moment"] != "final")]
        means = rows.groupby(["network", "moment", "order"], as_index=False)["value"].mean()
        expected = lines_of(means, ["network", "moment"], "order", "value")
        assert len(expected) == 4
        shown = [line for line in lines_in(axes) if len(line) > 2]  # not the line at 0
        assert np.allclose(np.concatenate(shown), np.concatenate(expected))
        assert legend_of(axes) == ["at initialisation", "trained (R)"]
    assert {line.get_linestyle() for axes in panels[:4] for line in axes.get_lines()} == {"-", "--", "None"}


@pytest.mark.parametrize(("setting", "left_out"), [("digits", ""), ("cifar10-short", "cifar-residual110-A")])
def test_responses_that_were_not_recorded_anew_are_said_to_be_missing(
    tmp_path: Path, setting: str, left_out: str
) -> None:
    """With a run missing besides, the names take no room from the panels: what cannot be laid out is warned of."""
    for network in FIG7.networks[setting]:
        if network == left_out:
            continue
        folder = write_run(tmp_path, setting, network, 0)
        kept = [line for line in folder.responses.read_text().splitlines() if not line.startswith("estimated")]
        folder.responses.write_text("\n".join(kept) + "\n")
        reseal(folder)
    draw(read_runs(tmp_path, setting), FIG7, "layer_responses", tmp_path / "plots")
    _, panels, table = drawn(read_runs(tmp_path, setting), FIG7, "layer_responses")
    for axes in (panels[1], panels[3]):
        (said,) = legend_of(axes)
        assert said.split() == ["not", "recorded:", "plain-20,", "plain-56,", "ResNet-20", "A,", "ResNet-56", "A"]
    for axes, kind in ((panels[4], "ratio"), (panels[5], "cosine")):
        expected = lines_of(table[table["kind"] == kind], ["network", "moment"], "order", "value")
        assert [line for line in lines_in(axes) if len(line) > 2] == expected
        assert [text for text in legend_of(axes) if "trained" in text] == ["trained (E; no R)"]


def test_marks_tell_the_last_layer_of_a_block_and_the_start_of_a_stage(tmp_path: Path) -> None:
    layers = ["conv1"]
    layers += [f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2)]
    rows = [
        {
            "seed": 0,
            "moment": "final",
            "kind": "response_std",
            "order": order,
            "layer": layer,
            "value": float(order),
        }
        for order, layer in enumerate(layers, start=1)
    ]
    _, panels = response_panels(residual=False)
    draw_responses(panels, Architecture.parse("cifar-residual8-A"), pd.DataFrame(rows), "ResNet-8")
    last, inner, stages = [
        [float(x) for x, _ in np.asarray(dots.get_offsets())] for dots in panels[0].collections[-3:]
    ]
    assert (last, inner, stages) == ([3, 5, 7, 9], [2, 4, 6, 8], [2, 6])


def test_longer_curves_show_both_budgets(find_recorded_runs: Callable[[str], RecordedRuns]) -> None:
    _, panels, table = drawn(find_recorded_runs("fashion"), LONGER, "longer_curves")
    for axes, kind in zip(panels, ("plain", "residual"), strict=True):
        of_kind = table[table["network"].str.contains(kind)]
        assert lines_in(axes) == lines_of(of_kind, ["network", "study"], "iteration", "mean")
    lengths = table.groupby("study")["iteration"].max()
    assert lengths.to_dict() == {"": 350, "three-times": 1050}


def test_labels_at_the_ends_do_not_overlap() -> None:
    spread = _spread_out({"a": 0.50, "b": 0.51, "c": 0.52, "d": 0.9, "e": 0.0})
    heights = sorted(spread.values())
    assert min(np.diff(heights)) >= BETWEEN_LABELS - 1e-9
    assert spread["d"] == 0.9
    assert spread["a"] < spread["b"] < spread["c"]
    assert (spread["a"] + spread["b"] + spread["c"]) / 3 == pytest.approx(0.51)


def test_darkness_means_depth_and_can_be_told_in_grey() -> None:
    for kind in ("plain", "residual"):
        colours = NETWORK_COLOURS[kind]
        lightness = [sum(colours[depth]) for depth in (20, 32, 44, 56, 110)]
        assert lightness == sorted(lightness, reverse=True)
        assert min(-np.diff(lightness)) > 0.1
        assert colours[18] == colours[20]
        assert colours[34] == colours[56]
        between = depth_colour(Architecture.parse("cifar-plain26" if kind == "plain" else "cifar-residual26-A"))
        assert all(np.sort([colours[20], colours[32]], axis=0)[0] <= between)


def test_hue_means_kind_and_is_told_apart_without_red_and_green() -> None:
    """Blue is what people who see red and green alike still see: all of plain has less than half of residual's."""
    blue = {kind: {colour[2] for colour in colours.values()} for kind, colours in NETWORK_COLOURS.items()}
    assert 2 * max(blue["plain"]) < min(blue["residual"])


def test_a_forest_without_a_complete_seed_says_so() -> None:
    figure, table = forest([])
    assert table.empty
    assert "no seed has all the runs" in figure.axes[0].texts[0].get_text()


def test_the_forest_has_a_row_per_claim_a_dot_per_seed_and_the_interval(
    find_recorded_runs: Callable[[str], RecordedRuns], tmp_path: Path
) -> None:
    recorded = find_recorded_runs("digits")
    verdicts = judge(recorded, [FIG4, FIG7])
    figure, table = forest(verdicts)
    assert len(figure.axes) == len(verdicts)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "undecided (2 seeds)" in words
    for verdict in verdicts:
        rows = table[(table["claim"] == verdict.claim.statement) & (table["experiment"] == verdict.experiment)]
        rows = rows[rows["column"] == verdict.claim.column]
        assert dict(zip(rows["seed"], rows["value"], strict=True)) == pytest.approx(
            dict(verdict.measurement.values)
        )
        assert tuple(rows.iloc[0][["low", "high"]]) == pytest.approx(verdict.measurement.interval)
    assert [path.name for path in draw_primary_claims(recorded, verdicts, tmp_path)] == ["claims.png"]


CONTRAST = {"plain34": 1, "plain18": -1}
HIGH, LOW = (2.0, 3.0, 4.5), (-1.0, -2.0, -3.5)


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        (Claim("more", CONTRAST, above=0.5, primary=True), HIGH),
        (Claim("more", CONTRAST, above=0.5, primary=True), LOW),
        (Claim("less", CONTRAST, below=0.5), LOW),
        (Claim("less", CONTRAST, below=0.5), HIGH),
    ],
    ids=["above, holds", "above, fails", "below, holds", "below, fails"],
)
def test_the_forest_shades_the_side_of_the_claim(claim: Claim, values: tuple[float, ...]) -> None:
    measured = Measurement(dict(enumerate(values)), 0.95, 0.0)
    figure, _ = forest([Verdict("made-up", claim, 0.5, "validation", measured, "open")])
    (axes,) = figure.axes
    shade, margin, interval, mean, seeds = axes.collections
    (outline,) = shade.get_paths()
    limits = axes.get_xlim()
    expected = (0.5, limits[1]) if claim.side == "above" else (limits[0], 0.5)
    shaded = (max(outline.vertices[:, 0].min(), limits[0]), min(outline.vertices[:, 0].max(), limits[1]))
    assert shaded == pytest.approx(expected)
    assert {x for x, _ in margin.get_segments()[0]} == {0.5}
    assert [x for x, _ in interval.get_segments()[0]] == pytest.approx(measured.interval)
    assert mean.get_offsets().tolist() == [[pytest.approx(sum(values) / 3), 0.0]]
    assert seeds.get_offsets()[:, 0].tolist() == list(values)


def test_a_confusion_matrix_adds_up_seeds_and_shares_are_of_the_true_class(tmp_path: Path) -> None:
    counts = ([[8, 2, 0], [1, 9, 0], [0, 4, 6]], [[7, 3, 0], [0, 10, 0], [5, 0, 5]])
    for seed, confusion in enumerate(counts):
        folder = write_run(tmp_path, "digits", "plain18", seed, classes=("a", "b", "c"))
        write_json(folder.final, read_json(folder.final) | {"confusion": confusion})
        reseal(folder)
    confused = Experiment("E", "none", (), {"digits": ("plain18",)}, (), name="mine")
    figure, table = confusion_figure(read_runs(tmp_path, "digits"), confused)
    images = table.set_index(["label", "predicted"])["images"].to_dict()
    assert images == {
        **{("a", "a"): 15, ("a", "b"): 5, ("a", "c"): 0},
        **{("b", "a"): 1, ("b", "b"): 19, ("b", "c"): 0},
        **{("c", "a"): 5, ("c", "b"): 4, ("c", "c"): 11},
    }
    shares = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 3)
    assert shares.tolist() == [[75, 25, 0], [5, 95, 0], [25, 20, 55]]


@pytest.mark.parametrize(("experiment", "name"), EVERY_FIGURE, ids=IDS)
def test_axes_say_what_they_show_and_in_which_unit(
    find_recorded_runs: Callable[[str], RecordedRuns], experiment: Experiment, name: str
) -> None:
    _, panels, _ = drawn(find_recorded_runs("digits"), experiment, name)
    assert all(axes.get_xlabel() and axes.get_title() for axes in panels)
    if name == "layer_responses":
        assert all(axes.get_ylabel() for axes in panels)
        assert [axes.get_ylabel().split()[0] for axes in panels] == [*["standard"] * 4, "RMS", "cosine"]
        return
    assert panels[0].get_ylabel() == "error (%)"
    assert panels[1].get_ylabel() == ("error (%)" if name == "shortcut_options" else "")
    units = ("iteration", "depth (layers)", "shortcut option; below it")
    assert all(axes.get_xlabel().startswith(units) for axes in panels)


@pytest.mark.parametrize(("experiment", "name"), EVERY_FIGURE, ids=IDS)
def test_a_missing_run_is_visible(tmp_path: Path, experiment: Experiment, name: str) -> None:
    study = experiment.studies_in("digits")[0]
    missing, *others = experiment.networks["digits"]
    for network in others:
        write_run(tmp_path, "digits", network, 0, study=study)
    _, panels, table = drawn(read_runs(tmp_path, "digits"), experiment, name)
    label = {"plain18": "plain-18", "cifar-plain20": "plain-20", "plain34": "plain-34"}[missing]
    assert f"{label}: not run" in words_in(panels[0]) or f"{label}\nnot run" in words_in(panels[0])
    assert missing not in set(table["network"])


def test_missing_runs_of_both_kinds_do_not_hide_each_other(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["fig6_cifar_depth"]
    write_run(tmp_path, "digits", "cifar-plain20", 0)
    figure, (panel, _), _ = drawn(read_runs(tmp_path, "digits"), experiment, "final_errors")
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in panel.texts if "56" in text.get_text()]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])


@pytest.mark.parametrize(("experiment", "name"), EVERY_FIGURE, ids=IDS)
def test_a_figure_without_any_finished_run_is_drawn(tmp_path: Path, experiment: Experiment, name: str) -> None:
    study = experiment.studies_in("digits")[0]
    network = experiment.networks["digits"][0]
    write_run(tmp_path, "digits", network, 0, study=study, finished=False)
    _, panels, _ = drawn(read_runs(tmp_path, "digits"), experiment, name)
    assert "not run" in words_in(panels[0])


def test_the_caption_without_any_finished_run_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0, finished=False)
    path = draw(read_runs(tmp_path, "digits"), FIG4, "depth_curves", tmp_path)
    assert "0 seeds" in path.with_suffix(".svg").read_text()


@pytest.mark.parametrize(
    ("experiment", "name", "num_diverged"),
    [*((experiment, name, 1) for experiment, name in EVERY_FIGURE), (FIG7, "layer_responses", 2)],
    ids=[*IDS, "layer_responses-all"],
)
def test_a_diverged_run_is_marked(tmp_path: Path, experiment: Experiment, name: str, num_diverged: int) -> None:
    study = experiment.studies_in("digits")[0]
    failing = experiment.networks["digits"][0]
    for network in experiment.networks["digits"]:
        for seed in range(2):
            outcome = "diverged" if network == failing and seed < num_diverged else "finished"
            write_run(tmp_path, "digits", network, seed, study=study, outcome=outcome)
    _, panels, table = drawn(read_runs(tmp_path, "digits"), experiment, name)
    assert f"{num_diverged} diverged" in words_in(panels[0])
    if name == "final_errors":
        assert table[table["diverged"]]["training_error"].to_list() == [90.0]
    if name == "layer_responses":
        assert not table["value"].map(math.isnan).any()
        assert "not recorded" not in "".join(map(words_in, panels))


def test_a_run_in_progress_does_not_change_the_mean_of_the_finished_ones(tmp_path: Path) -> None:
    for network in FIG4.networks["digits"]:
        write_run(tmp_path, "digits", network, 0)
        write_run(tmp_path, "digits", network, 1, errors=lambda *_: (80.0, 80.0), finished=False)
    _, _, table = drawn(read_runs(tmp_path, "digits"), FIG4, "depth_curves")
    assert set(table["count"]) == {1}
    assert table["mean"].iloc[-1] < 20


def test_a_run_that_diverged_does_not_change_whose_mean_a_curve_is(tmp_path: Path) -> None:
    for network in FIG4.networks["digits"]:
        write_run(tmp_path, "digits", network, 0)
        write_run(
            tmp_path,
            "digits",
            network,
            1,
            errors=lambda *_: (80.0, 80.0),
            outcome="diverged" if network == "plain34" else "finished",
        )
    _, _, table = drawn(read_runs(tmp_path, "digits"), FIG4, "depth_curves")
    plain, deep = (table[table["network"] == name] for name in ("plain18", "plain34"))
    assert set(plain["count"]) == {2}
    assert set(deep["count"]) == {1}
    assert deep["mean"].iloc[-1] < 20


def test_a_run_that_diverged_is_marked_in_its_own_study_alone(tmp_path: Path) -> None:
    for study in LONGER.studies_in("fashion"):
        for network in LONGER.networks["fashion"]:
            outcome = "diverged" if study.name and network == "plain34" else "finished"
            write_run(tmp_path, "fashion", network, 0, study=study, outcome=outcome)
    _, panels, _ = drawn(read_runs(tmp_path, "fashion"), LONGER, "longer_curves")
    assert words_in(panels[0]).count("diverged") == 1


def test_every_figure_has_a_caption_that_calls_the_validation_images_what_they_are(
    find_recorded_runs: Callable[[str], RecordedRuns],
) -> None:
    named = {name for experiment in EXPERIMENTS.values() for name in experiment.figures}
    assert named == set(FIGURES)
    recorded = find_recorded_runs("digits")
    for name, figure in FIGURES.items():
        assert figure.draw.__name__ == name
        assert "validation" not in figure.caption.replace("{validation}", "")
        words = figure.words(recorded, FIG4)
        assert words.endswith(".")
        assert ("validation" in words) == ("{validation}" in figure.caption)
