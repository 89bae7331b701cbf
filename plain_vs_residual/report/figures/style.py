"""What all figures share: colours, line widths, and how a figure is written."""

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.atomic import atomically
from plain_vs_residual.records.recorded_runs import RecordedRuns

THIN, BOLD = 1.3, 3.0
COLOURS = sns.color_palette("colorblind")
# By depth: the same colour in every panel; told apart in grey by lightness.
DEPTH_COLOURS = {
    18: COLOURS[0],
    34: COLOURS[3],
    20: COLOURS[0],
    32: COLOURS[2],
    44: COLOURS[1],
    56: COLOURS[3],
    110: COLOURS[4],
    50: COLOURS[2],
    101: COLOURS[1],
    152: COLOURS[4],
}
OPTION_COLOURS = {None: (0.25, 0.25, 0.25), "A": COLOURS[0], "B": COLOURS[1], "C": COLOURS[2]}
MARKERS = {None: "X", "A": "o", "B": "s", "C": "^"}

Drawn = tuple[Figure, pd.DataFrame]


# Without the date, so that the same records give the same bytes.
METADATA: dict[str, Any] = {"png": {}, "svg": {"Date": None}}
STYLE: Any = {
    "font.size": 15,
    "axes.labelsize": 16,
    "axes.titlesize": 17,
    "legend.fontsize": 13,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "plain_vs_residual",
    "svg.fonttype": "none",
}


def write_figure(make: Callable[[], "Drawn"], caption: str, folder: Path, stem: str) -> Path:
    """Draw in this suite's style and writes PNG, SVG and the CSV of what is drawn; returns the PNG's path.

    Raises:
        ValueError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        figure, data = make()
        # matplotlib does not break lines by itself: about nine characters of this size fit into an inch.
        lines = textwrap.fill(caption, int(9 * figure.get_figwidth()))
        figure.suptitle(lines, fontsize=15, parse_math=False)
        for suffix in ("png", "svg"):
            save = partial(figure.savefig, format=suffix, dpi=130, metadata=METADATA[suffix])
            atomically(folder / f"{stem}.{suffix}", save)
            figure.set_layout_engine("none")  # laid out once, and equal in both files
        plt.close(figure)
    atomically(folder / f"{stem}.csv", lambda path: data.to_csv(path, index=False, lineterminator="\n"))
    return folder / f"{stem}.png"


def depth_colour(architecture: Architecture) -> Any:
    """Return the colour of a depth, equal in every panel."""
    return DEPTH_COLOURS.get(architecture.depth, COLOURS[architecture.depth % len(COLOURS)])


def option_colour(architecture: Architecture) -> Any:
    """Return the colour of a shortcut option; grey for plain."""
    return OPTION_COLOURS[architecture.option]


def draw_curves(
    axes: Axes,
    recorded: RecordedRuns,
    experiment: Experiment,
    names: Sequence[str],
    lines: dict[str, tuple[str, float]],
    colour_of: Callable[[Architecture], Any],
) -> list[pd.DataFrame]:
    """Draw the mean over seeds of each column and the range between them; a missing run stays in the legend."""
    curves = recorded.select(recorded.curves, experiment)
    diverged = diverged_marks(recorded, experiment)
    drawn = []
    for name in names:
        architecture = Architecture.parse(name)
        runs = curves[curves["network"] == name] if not curves.empty else curves
        if runs.empty:
            axes.plot([], [], color=colour_of(architecture), label=f"{architecture.label}: not run")
            continue
        for column, (line, width) in lines.items():
            table = runs.groupby("iteration")[column].agg(["mean", "min", "max", "count"])
            label = architecture.label + diverged.get(name, "")
            bold = width == max(width for _, width in lines.values())
            axes.plot(
                table.index,
                table["mean"],
                line,
                linewidth=width,
                color=colour_of(architecture),
                label=label if bold else None,
            )
            axes.fill_between(
                table.index, table["min"], table["max"], color=colour_of(architecture), alpha=0.12, linewidth=0
            )
            drawn.append(table.reset_index().assign(network=name, column=column))
    words = {"training_error": "training", "validation_error": "validation"}
    for column, (line, width) in lines.items() if len(lines) > 1 else ():
        axes.plot([], [], line, linewidth=width, color="grey", label=words[column])
    axes.legend()
    return drawn


def diverged_marks(recorded: RecordedRuns, experiment: Experiment) -> dict[str, str]:
    """Say for the label of each network how many of its runs diverged."""
    finals = recorded.select(recorded.finals, experiment)
    if finals.empty:
        return {}
    counts = finals[finals["diverged"]].groupby("network").size()
    return {str(name): f" ({count} diverged)" for name, count in counts.items()}


def limit_error_axis(axes: Axes, drawn: Sequence[pd.DataFrame]) -> None:
    """Cut the first, steep part of the curves off, so that the differences at the end can be seen."""
    if not drawn:
        return
    late = pd.concat([table[table["iteration"] >= table["iteration"].max() * 0.3] for table in drawn])
    axes.set_ylim(0, min(100.0, 1.1 * float(late["mean"].max())) or 100.0)


def joined(drawn: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join all that was drawn into one table."""
    return pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()
