"""Layer responses and the size of F(x) (He et al., Fig. 7), of recorded runs and of any other network."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.models import Moment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import (
    CURVE,
    DASHED,
    GREY,
    SCREEN,
    SMALLEST,
    THIN,
    Drawn,
    joined,
    marks_of_runs,
    network_line,
)

# What the trained network's BN normalised by, of the panels left and right.
STATISTICS: dict[Moment, str] = {
    "final": "E: running statistics",
    "estimated": "R: statistics estimated anew",
}
NOT_RECORDED = ": not recorded"
BEFORE, BEFORE_TRAINING = "at initialisation", {"linestyle": DASHED, "linewidth": 1.2}


def layer_responses(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the standard deviation of every layer's response by E and by R, and F(x) against x (Fig. 7)."""
    figure, panels = response_panels(residual=True)
    responses = recorded.select(recorded.responses, experiment)
    marks = marks_of_runs(recorded, experiment)
    drawn = []
    for name in experiment.networks[recorded.setting]:
        architecture = Architecture.parse(name)
        runs = responses[responses["network"] == name] if not responses.empty else responses
        if runs.empty:
            for axes in panels[: 4 if architecture.kind == "plain" else 6]:
                axes.plot([], [], label=f"{architecture.label}: not run", **_style(architecture))
            continue
        study = experiment.studies_in(recorded.setting)[0].name
        draw_responses(panels, architecture, runs, architecture.label + marks.get((name, study), ""))
        kept = runs[runs["kind"].isin(("response_std", "ratio", "cosine"))].dropna()
        drawn.append(kept[["network", "seed", "moment", "kind", "order", "layer", "value"]])
    label_responses(panels, wide=is_wide(drawn))
    return figure, joined(drawn)


def response_panels(*, residual: bool) -> tuple[Figure, Sequence[Axes]]:
    """Make the panels: responses in order, by E and by R, the same sorted; for residual networks F(x) against x.

    The first four share their vertical axis; the last two, if any, are for ratio and cosine of F(x) and x.
    """
    figure, columns = plt.figure(figsize=SCREEN), 3 if residual else 2
    panels = [
        figure.add_subplot(2, columns, row * columns + column + 1) for column in range(columns) for row in range(2)
    ]
    for axes in panels[1:4]:
        axes.sharey(panels[0])
    for upper, lower in zip(panels[::2], panels[1::2], strict=True):
        lower.sharex(upper)
    return figure, panels


def is_wide(drawn: Sequence[pd.DataFrame]) -> bool:
    """Say whether one network responds ten times as strongly as another: a linear axis would show only it."""
    values = [table["value"][table["kind"] == "response_std"] for table in drawn]
    return any(one.max() > 10 * one.median() for one in values)


def draw_responses(panels: Sequence[Axes], architecture: Architecture, runs: pd.DataFrame, label: str) -> None:
    """Draw one network: its responses into the first four panels, F(x) against x, if it has any, into the others.

    F(x) against x is drawn by R, or by E where R was not recorded.

    Args:
        panels: see :func:`response_panels`.
        architecture: decides colour and line.
        runs: columns ``seed``, ``moment``, ``kind``, ``order``, ``layer`` and ``value``; the mean over seeds is
            drawn, and a band for their range. Diverged runs have no value.
        label: of the network's line.
    """
    style, recorded = _style(architecture), set(runs["moment"])
    by_moment = dict(iter(runs[runs["kind"] == "response_std"].dropna().groupby("moment")))
    nothing = runs[:0]
    for in_order, in_rank, moment in zip(panels[:2], panels[2:4], STATISTICS, strict=True):
        trained = by_moment.get(moment, nothing)
        rank = trained.groupby("seed")["value"].rank(ascending=False, method="first").astype(int)
        words = label if moment in recorded else f"{label}{NOT_RECORDED}"
        _line(in_order, trained, style, words)
        _line(in_rank, trained.assign(order=rank), style, words)
        _line(in_order, by_moment.get("initial", nothing), style | BEFORE_TRAINING, None)
        _mark_layers(in_order, trained, architecture, style["color"])
    _draw_against_x(panels[4:], architecture, runs.dropna(), by_r="estimated" in recorded)


def _draw_against_x(panels: Sequence[Axes], architecture: Architecture, runs: pd.DataFrame, *, by_r: bool) -> None:
    trained: Moment = "estimated" if by_r else "final"
    style = _style(architecture)
    moments: dict[Moment, dict[str, Any]] = {
        "initial": style | BEFORE_TRAINING,
        trained: style | {"marker": "o", "markersize": 5},
    }
    for axes, kind in zip(panels, ("ratio", "cosine"), strict=False):
        for moment, line in moments.items():
            values = runs[(runs["kind"] == kind) & (runs["moment"] == moment)]
            if not values.empty:
                _line(axes, values, line, architecture.label if moment == trained else None)
                _mark_stages(axes, values, style["color"])
        names: dict[str, dict[str, Any]] = {BEFORE: BEFORE_TRAINING}
        names["trained (R)" if by_r else "trained (E; no R)"] = {}
        for words, line in names.items():
            if words not in axes.get_legend_handles_labels()[1]:
                axes.plot([], [], color=GREY, label=words, **line)


def _line(axes: Axes, rows: pd.DataFrame, style: dict[str, Any], label: str | None) -> None:
    table = rows.groupby("order")["value"].agg(["mean", "min", "max"])
    gid = f"{CURVE}{label.partition(',')[0]}" if label else None
    axes.plot(table.index, table["mean"], label=label, gid=gid, **style)
    band = table.index, table["min"], table["max"]
    axes.fill_between(*band, color=style["color"], alpha=0.15, linewidth=0, gid=gid)


def _style(architecture: Architecture) -> dict[str, Any]:
    line = network_line(architecture) | {"linewidth": THIN}
    del line["label"]
    return line


def _mark_layers(axes: Axes, rows: pd.DataFrame, architecture: Architecture, colour: Any) -> None:
    """Fill the marks of the last layers of blocks, which give F(x), and leave those of inner layers hollow."""
    means = rows.groupby(["order", "layer"], as_index=False)["value"].mean()
    in_block = means["layer"].str.startswith("layer")
    last = in_block & means["layer"].str.endswith(".conv2") & (not architecture.bottleneck)
    for chosen, face in ((last, [colour]), (in_block & ~last, ["white"])):
        table = means[chosen]
        axes.scatter(table["order"], table["value"], s=26, facecolor=face, edgecolor=[colour], zorder=3)
    _mark_stages(axes, rows, colour)


def _mark_stages(axes: Axes, rows: pd.DataFrame, colour: Any) -> None:
    """Put an upright stroke where a stage begins."""
    means = rows.groupby(["order", "layer"], as_index=False)["value"].mean()
    stage = means["layer"].str.extract(r"^layer(\d)", expand=False)
    begins = means[stage.notna() & (stage != stage.shift())]
    axes.scatter(begins["order"], begins["value"], marker="|", s=500, color=[colour], linewidth=2, zorder=3)


def label_responses(panels: Sequence[Axes], *, wide: bool) -> None:
    """Add titles, axes and legends of the panels of :func:`draw_responses`; ``wide`` for a logarithmic axis."""
    for in_order, in_rank, words in zip(panels[:2], panels[2:4], STATISTICS.values(), strict=True):
        in_order.set(title=f"layer responses,\n{words}", xlabel="layer, from the input")
        in_rank.set(title=f"sorted by size,\n{words}", xlabel="layer, sorted")
    for axes in panels[:4]:
        axes.set_ylabel("standard deviation")
        axes.set_yscale("log" if wide else "linear")
        if wide:
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    titles = {
        "size of F(x)\nagainst x": "RMS of F(x) over x",
        "direction of F(x)\nagainst x": "cosine of F(x) and x",
    }
    for axes, (title, words) in zip(panels[4:], titles.items(), strict=False):
        axes.set(title=title, xlabel="residual block, from the input", ylabel=words)
        axes.axhline(0, color=GREY, linewidth=1)
    handles: dict[str, dict[str, Any]] = {
        BEFORE: BEFORE_TRAINING,
        "last layer of a block, F(x)": {"linestyle": "", "marker": "o"},
        "inner layer": {"linestyle": "", "marker": "o", "markerfacecolor": "white"},
        "a stage begins": {"linestyle": "", "marker": "|", "markersize": 16},
    }
    for label, style in handles.items():
        panels[2].plot([], [], label=label, color=GREY, **style)
    for axes in panels:
        axes.locator_params("x", integer=True)
    # Networks are named in the first panel; in others the marks, and what is missing there alone.
    for axes in panels:
        said = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if axes is not panels[0]:
            lacking = [label.removesuffix(NOT_RECORDED) for label in said if label.endswith(NOT_RECORDED)]
            said = {label: mark for label, mark in said.items() if label in handles or label.startswith("trained")}
            if lacking:
                names = ", ".join(label.replace(" ", "\N{NO-BREAK SPACE}") for label in lacking)
                said[textwrap.fill(f"not recorded: {names}", 22)] = Line2D([], [], linestyle="")
        if said:
            columns = 2 if len(said) > 4 and len(panels) == 4 else 1
            axes.legend(said.values(), said.keys(), fontsize=SMALLEST, ncols=columns)
