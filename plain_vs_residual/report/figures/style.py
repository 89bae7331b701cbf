"""What all figures share: colours, line widths, and how a figure is written."""

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from plain_vs_residual.architecture import OPTIONS, Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.atomic import atomically
from plain_vs_residual.records.recorded_runs import RecordedRuns

THIN, BOLD = 1.5, 3.0
GREY = (0.35, 0.35, 0.35)
COLOURS = sns.color_palette("colorblind")
# Colour means depth, in every figure: from light to dark, so that depths are told apart in grey and by everybody.
_LIGHT_TO_DARK = (0.8, 0.62, 0.45, 0.25, 0.0)
_FAMILIES = ((20, 32, 44, 56, 110), (18, 50, 101, 34, 152))  # 18 and 34 are as far apart as 20 and 56
DEPTH_COLOURS = {
    depth: plt.get_cmap("plasma")(place)[:3]
    for depths in _FAMILIES
    for depth, place in zip(depths, _LIGHT_TO_DARK, strict=True)
}
MARKERS: dict[str | None, str] = {None: "X", **dict(zip(OPTIONS, cycle("os^DvP*<>"), strict=False))}

# What the artists of a curve are called in a figure, before its name: a page shows and hides them by that.
CURVE = "curve:"

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
    """Draw in this suite's style and write PNG, SVG and the CSV of what is drawn; returns the PNG's path.

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
    """Return the colour of a depth, equal in every figure; one between its neighbours' where it has none."""
    if architecture.depth in DEPTH_COLOURS:
        return DEPTH_COLOURS[architecture.depth]
    return plt.get_cmap("plasma")(float(np.interp(architecture.depth, _FAMILIES[0], _LIGHT_TO_DARK)))[:3]


def marks_of_runs(recorded: RecordedRuns, experiment: Experiment) -> dict[tuple[str, str], str]:
    """Say for the label of each network in each study how many of its runs diverged, or that none has ended."""
    runs = recorded.of(experiment)
    begun = {record.identity[:2] for record in runs if record.folder.metrics.exists()}
    ended = [(record.identity[:2], record.final.outcome) for record in runs if record.final]
    lost = Counter(identity for identity, outcome in ended if outcome == "diverged")
    marks = {identity: f" ({count} diverged)" for identity, count in lost.items()}
    return marks | dict.fromkeys(begun - {identity for identity, _ in ended}, " (not finished)")


def joined(drawn: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join all that was drawn into one table."""
    return pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()
