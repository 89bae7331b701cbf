"""What all figures share: what colours and lines mean, their size, and how a figure is written.

The same in every figure:

- Hue is the kind of network, orange plain and blue residual; darkness is its depth. Both are told apart by people
  who see red and green alike, and depth in grey.
- A solid line is what the figure is about. Bold is what the primary claim is about: the training error, because
  degradation is about it, and the networks that the claim compares. Thin is the rest, such as the test error.
- A dashed line is what solid ones are compared with, and nothing else: guessing, theory, the same before a change
  or before training.
"""

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from plain_vs_residual.architecture import OPTIONS, Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.atomic import atomically
from plain_vs_residual.records.recorded_runs import RecordedRuns

# The screen of a projector, in inches: 1920 x 1080 pixels. The smallest letters are a 43rd of its height.
SCREEN, DPI, SMALLEST = (16.0, 9.0), 120, 15
THIN, BOLD = 2.0, 4.0
SOLID, DASHED = "-", "--"
GREY = (0.35, 0.35, 0.35)
COLOURS = sns.color_palette("colorblind")
# From light to dark, after ColorBrewer's YlOrBr and Blues; 18 and 34 layers are as far apart as 20 and 56.
_LIGHT_TO_DARK = {
    "plain": ("#ef7d16", "#d85c06", "#b84403", "#8e3004", "#5c2105"),
    "residual": ("#4f9bcb", "#2f7ebc", "#1a63aa", "#084a91", "#08306b"),
}
_FAMILIES = ((20, 32, 44, 56, 110), (18, 50, 101, 34, 152))
NETWORK_COLOURS = {
    kind: {depth: to_rgb(colour) for depths in _FAMILIES for depth, colour in zip(depths, colours, strict=True)}
    for kind, colours in _LIGHT_TO_DARK.items()
}
KIND_COLOURS = {kind: to_rgb(colours[2]) for kind, colours in _LIGHT_TO_DARK.items()}  # of no depth
MARKERS: dict[str | None, str] = {None: "X", **dict(zip(OPTIONS, cycle("os^DvP*<>"), strict=False))}

# What the artists of a curve are called in a figure, before its name: a page shows and hides them by that.
CURVE = "curve:"

Drawn = tuple[Figure, pd.DataFrame]


# Without the date, so that the same records give the same bytes.
METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}
STYLE: Any = {
    "font.size": 17,
    "axes.labelsize": 18,
    "axes.titlesize": 20,
    "xtick.labelsize": 16,
    "ytick.labelsize": 16,
    "legend.fontsize": 16,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "plain_vs_residual",
    "svg.fonttype": "none",
}
HEADLINE = 20


def write_figure(make: Callable[[], "Drawn"], caption: str, folder: Path, stem: str, headline: str = "") -> Path:
    """Draw in this suite's style and write PNG, SVG and the CSV of what is drawn; returns the PNG's path.

    Args:
        make: draws it.
        caption: on which images, of how many seeds; small.
        folder: where the files go.
        stem: their name without its ending.
        headline: what the figure says, above it and large; the caption stands there where there is none.

    Raises:
        ValueError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        figure, data = make()
        if headline:
            figure.suptitle(_in_lines(headline, figure, HEADLINE), fontsize=HEADLINE, parse_math=False)
            figure.supxlabel(_in_lines(caption, figure, SMALLEST), fontsize=SMALLEST, color=GREY, parse_math=False)
        else:
            # Where nothing is laid out, a title stands 2 % below the top: in a high figure, among the rows.
            at = {} if figure.get_layout_engine() else {"y": 1 - 0.18 / figure.get_figheight()}
            words = _in_lines(caption, figure, SMALLEST + 1)
            figure.suptitle(words, fontsize=SMALLEST + 1, parse_math=False, **at)
        for suffix in ("png", "svg"):
            save = partial(
                figure.savefig, format=suffix, dpi=DPI, metadata=METADATA[suffix] | {"Description": caption}
            )
            atomically(folder / f"{stem}.{suffix}", save)
            with plt.rc_context({"figure.constrained_layout.use": False}):
                figure.set_layout_engine(None)  # laid out once, and equal in both files
        plt.close(figure)
    atomically(folder / f"{stem}.csv", lambda path: data.to_csv(path, index=False, lineterminator="\n"))
    return folder / f"{stem}.png"


def _in_lines(words: str, figure: Figure, size: float) -> str:
    """Break words into lines as wide as a figure, which matplotlib does not; letters are half as wide as high."""
    width = int(72 * figure.get_figwidth() / (0.55 * size))
    return "\n".join(textwrap.fill(line, width) for line in words.splitlines())


def depth_colour(architecture: Architecture) -> Any:
    """Return the colour of a network, equal in every figure."""
    return colour_of(architecture.kind, architecture.depth)


def colour_of(kind: str, depth: int) -> tuple[float, ...]:
    """Return the colour of a kind and depth, between its neighbours' for a depth that has none."""
    own = NETWORK_COLOURS[kind]
    if depth in own:
        return own[depth]
    known = _FAMILIES[0]
    return tuple(float(np.interp(depth, known, [own[one][part] for one in known])) for part in range(3))


def network_line(architecture: Architecture, experiment: Experiment | None = None) -> dict[str, Any]:
    """Return how a network's line looks: bold if the experiment's primary claim, if it has one, is about it."""
    primary = [claim for claim in experiment.claims if claim.primary] if experiment else []
    compared = {name.partition("@")[0] for claim in primary for name in claim.contrast}
    bold = not compared or architecture.name in compared
    return {
        "color": depth_colour(architecture),
        "linestyle": SOLID,
        "linewidth": BOLD if bold else THIN,
        "label": architecture.label,
    }


def compare_with(
    axes: Axes,
    value: float,
    words: str,
    colour: Any = GREY,
    *,
    at: Literal["left", "right"] = "right",
    up: int = 3,
) -> None:
    """Draw a level across a panel, dashed because it is only compared with, and write on it what it is.

    Args:
        axes: where.
        value: of the level, on the vertical axis.
        words: what it is.
        colour: of both.
        at: the end of the line where the words stand.
        up: how many points they stand above the line; below it if negative.
    """
    axes.axhline(value, color=colour, linestyle=DASHED, linewidth=THIN)
    axes.annotate(
        words,
        (0.99 if at == "right" else 0.01, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, up),
        textcoords="offset points",
        ha=at,
        va="bottom" if up > 0 else "top",
        fontsize=SMALLEST,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        parse_math=False,
    )


def few_ticks(axes: Axes) -> None:
    """Write numbers at powers of ten of a logarithmic axis; within two of them also at 2 and 5 times these."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 200 * low else (1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def chance(recorded: RecordedRuns) -> float:
    """Return what guessing errs, in percent."""
    return 100 * (1 - 1 / len(recorded.usual.dataset.classes))


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
