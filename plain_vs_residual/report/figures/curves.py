"""Error curves: the mean over seeds, a band for their range, the name of each network at its curve's end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import BOLD, CURVE, GREY, SMALLEST, SOLID, THIN, marks_of_runs

TRAINING, VALIDATION = "running_training_error", "validation_error"
BETWEEN_LABELS = 0.05  # of the height of a panel
INSET = (0.4, 0.62, 0.58, 0.3)  # of a panel: left, bottom, width, height
SMALL, VERY_SMALL = 0.5, 0.2  # curves that end below this part of the axis are shown again, enlarged


class Line(NamedTuple):
    """How the curve of a column is drawn."""

    column: str
    style: str
    width: float


# The training error is what degradation is about: it is the line to point at, and so the bold one.
TRAINED, VALIDATED = Line(TRAINING, SOLID, BOLD), Line(VALIDATION, SOLID, THIN)


def draw_curves(
    axes: Axes,
    recorded: RecordedRuns,
    experiment: Experiment,
    names: Sequence[str],
    lines: Sequence[Line],
    colour_of: Callable[[Architecture], Any],
    study: str | None = None,
) -> list[pd.DataFrame]:
    """Draw curves and return what was drawn; a missing run stays in the legend.

    A run that diverged is named there and left out of the mean, unless all of its network's runs diverged. Of a
    network without a finished run, the one that is furthest is drawn, and named as unfinished.

    The band is that of the training error, on which the claims are. Bands of both would hide each other.

    Args:
        axes: where.
        recorded: the runs.
        experiment: whose runs are drawn.
        names: networks, a curve of each per line.
        lines: columns, and how they are drawn.
        colour_of: a network's colour.
        study: which study of the experiment; the first one if left out.
    """
    wanted = experiment.studies_in(recorded.setting)[0].name if study is None else study
    marks = marks_of_runs(recorded, experiment)
    drawn, missing = [], []
    for name in names:
        architecture = Architecture.parse(name)
        colour, gid = colour_of(architecture), f"{CURVE}{architecture.label}"
        if (name, wanted) in marks:
            axes.plot([], [], color=colour, label=architecture.label + marks[name, wanted])
        for line in lines:
            table = _over_seeds(recorded, experiment, name, wanted, line.column)
            if table.empty:
                missing.append(architecture)
                break
            _draw_line(axes, table, line, colour, gid)
            drawn.append(table.assign(network=name, column=line.column))
    if missing:
        axes.plot([], [], " ", label=f"{_in_short(missing)}: not run")
    if len(lines) > 1:
        _name_lines(axes, lines, recorded.validation_name(experiment))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left")
    return drawn


def _in_short(networks: Sequence[Architecture]) -> str:
    """Name networks in as few words as tell them apart, so that a legend hides no curve."""
    if len(networks) == 1 or len({(one.kind, one.option) for one in networks}) > 1:
        return ",\n".join(one.label for one in networks)
    return f"{', '.join(str(one.depth) for one in networks)} layers"


def _draw_line(axes: Axes, table: pd.DataFrame, line: Line, colour: Any, gid: str) -> None:
    axes.plot(table["iteration"], table["mean"], line.style, linewidth=line.width, color=colour, gid=gid)
    if line.column == TRAINING:
        band = table["iteration"], table["min"], table["max"]
        axes.fill_between(*band, color=colour, alpha=0.15, lw=0, gid=gid)


def _name_lines(axes: Axes, lines: Sequence[Line], validation_name: str) -> None:
    words = {TRAINING: "training", VALIDATION: validation_name}
    for column, style, width in lines:
        axes.plot([], [], style, linewidth=width, color=GREY, label=words[column])


def _over_seeds(
    recorded: RecordedRuns, experiment: Experiment, name: str, study: str, column: str
) -> pd.DataFrame:
    curves = recorded.training_curves if column == TRAINING else recorded.curves
    curves = recorded.select(curves, experiment)
    if not curves.empty:
        curves = curves[(curves["network"] == name) & (curves["study"] == study)]
    if curves.empty:
        return pd.DataFrame()
    # A run that ends before the others would change whose mean it is along the curve.
    outcomes = {
        record.run.seed: record.final.outcome
        for record in recorded.of(experiment)
        if record.final and record.identity[:2] == (name, study)
    }
    whole = [seed for seed, outcome in outcomes.items() if outcome == "finished"] or list(outcomes)
    furthest = curves.sort_values("iteration")["seed"].iloc[-1]
    curves = curves[curves["seed"].isin(whole or [furthest])]
    return curves.groupby("iteration")[column].agg(["mean", "min", "max", "count"]).reset_index()


def limit_error_axis(axes: Axes, drawn: Sequence[pd.DataFrame]) -> None:
    """Cut the first, steep part of the curves off, so that the differences at the end can be seen."""
    if not drawn:
        return
    late = pd.concat([table[table["iteration"] >= table["iteration"].max() * 0.4] for table in drawn])
    axes.set_ylim(0, min(100.0, 1.1 * float(late["mean"].max())) or 100.0)


def label_ends(
    axes: Axes, drawn: Sequence[pd.DataFrame], colour_of: Callable[[Architecture], Any], column: str = VALIDATION
) -> None:
    """Write the name of each network at the end of its curve of one column, once the axis has its limits."""
    of_column = [table for table in drawn if table["column"].iloc[0] == column]
    names = [Architecture.parse(table["network"].iloc[0]).label for table in of_column]
    write_at_ends(axes, [(name, table, colour_of) for name, table in zip(names, of_column, strict=True)])


def write_at_ends(axes: Axes, ends: Sequence[tuple[str, pd.DataFrame, Callable[[Architecture], Any]]]) -> None:
    """Write words at the ends of curves, each with what was drawn and the colour of a network."""
    low, high = axes.get_ylim()
    heights = {words: (min(float(one["mean"].iloc[-1]), high) - low) / (high - low) for words, one, _ in ends}
    places = _spread_out(heights)
    for words, one, colour_of in ends:
        architecture = Architecture.parse(one["network"].iloc[0])
        axes.annotate(
            words,
            (1.01, places[words]),
            xycoords="axes fraction",
            va="center",
            fontsize=SMALLEST + 1,
            color=colour_of(architecture),
            fontweight="bold",
            gid=f"{CURVE}{architecture.label}",
        )


def _spread_out(heights: Mapping[str, float]) -> dict[str, float]:
    """Move heights apart where they are closer than labels may be, each group about its own middle."""
    groups: list[list[tuple[str, float]]] = []

    def bottom(group: list[tuple[str, float]]) -> float:
        middle = sum(height for _, height in group) / len(group)
        return max(0.0, middle - BETWEEN_LABELS * (len(group) - 1) / 2)

    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        groups.append([(name, height)])
        while len(groups) > 1 and bottom(groups[-1]) < bottom(groups[-2]) + BETWEEN_LABELS * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    return {
        name: bottom(group) + BETWEEN_LABELS * place for group in groups for place, (name, _) in enumerate(group)
    }


def enlarge_end(axes: Axes, drawn: Sequence[pd.DataFrame], lines: Sequence[Line], colours: Sequence[Any]) -> None:
    """Show the last part of curves again in an inset, where they lie too low to be told apart, and not below it.

    Args:
        axes: with its limits.
        drawn: what was drawn into it.
        lines: how each column is drawn.
        colours: of each table in ``drawn``.
    """
    if not drawn:
        return
    end = max(int(table["iteration"].max()) for table in drawn)
    late = pd.concat([table[table["iteration"] >= 0.6 * end] for table in drawn])
    below_inset = max(float(table["mean"][table["iteration"] >= 0.38 * end].max()) for table in drawn)
    if late["mean"].max() > SMALL * axes.get_ylim()[1] or below_inset > INSET[1] * axes.get_ylim()[1]:
        return
    if late["mean"].max() < VERY_SMALL * axes.get_ylim()[1]:
        axes.legend(loc="center right")  # the curves are where it was
    inset = axes.inset_axes(INSET)
    styles = {column: (style, width) for column, style, width in lines}
    for table, colour in zip(drawn, colours, strict=True):
        style, width = styles[table["column"].iloc[0]]
        gid = f"{CURVE}{Architecture.parse(table['network'].iloc[0]).label}"
        inset.plot(table["iteration"], table["mean"], style, linewidth=width, color=colour, gid=gid)
    margin = 0.1 * (late["mean"].max() - late["mean"].min())
    inset.set_ylim(max(0.0, late["mean"].min() - margin), late["mean"].max() + margin)
    inset.set_xlim(0.6 * end, end)
    inset.tick_params(labelsize=SMALLEST)
    inset.set_title("the end, enlarged", fontsize=SMALLEST)
