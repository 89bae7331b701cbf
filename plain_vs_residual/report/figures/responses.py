"""Layer responses and the size of F(x) (He et al., Fig. 7), of recorded runs and of any other network."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import BOLD, THIN, Drawn, depth_colour, diverged_marks, joined


def layer_responses(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Fig. 7: standard deviation of the responses, in order and sorted; below, RMS of F(x) over x by block."""
    figure, panels = plt.subplots(3, 1, figsize=(13, 14))
    responses = recorded.select(recorded.responses, experiment)
    names = list(experiment.networks[recorded.setting])
    diverged = diverged_marks(recorded, experiment)
    drawn = []
    for name in names:
        architecture = Architecture.parse(name)
        runs = responses[responses["network"] == name].dropna() if not responses.empty else responses
        if runs.empty:
            for axes in panels[: 2 if architecture.kind == "plain" else 3]:
                axes.plot([], [], label=f"{architecture.label}: not run", **_response_style(architecture))
            continue
        draw_responses(panels, architecture, runs, architecture.label + diverged.get(name, ""))
        drawn.append(runs[["network", "seed", "moment", "kind", "order", "layer", "value"]])
    # Where one network responds ten times as strongly as another, a linear axis shows only it.
    label_responses(panels, wide=any(table["value"].max() > 10 * table["value"].median() for table in drawn))
    return figure, joined(drawn)


def draw_responses(panels: Sequence[Axes], architecture: Architecture, runs: pd.DataFrame, label: str) -> None:
    """Draw one network's layer responses into the first two panels, F(x) over x, if it has any, into the third.

    Args:
        panels: in order, sorted by size, F(x) over x; a plain network needs the first two only.
        architecture: decides colour and line.
        runs: columns ``seed``, ``moment``, ``kind``, ``order`` and ``value``; the mean over seeds is drawn.
        label: of the network's line.
    """
    style = _response_style(architecture)
    final = runs[(runs["kind"] == "response_std") & (runs["moment"] == "final")]
    in_order = final.groupby("order")["value"].agg(["mean", "min", "max"])
    by_rank = final.assign(order=final.groupby("seed")["value"].rank(ascending=False, method="first").astype(int))
    in_rank = by_rank.groupby("order")["value"].agg(["mean", "min", "max"])
    for axes, table in ((panels[0], in_order), (panels[1], in_rank)):
        axes.plot(table.index, table["mean"], label=label, **style)
        axes.fill_between(table.index, table["min"], table["max"], color=style["color"], alpha=0.15, linewidth=0)
    for moment, line in (("initial", ":"), ("final", "-")):
        ratios = runs[(runs["kind"] == "ratio") & (runs["moment"] == moment)]
        if ratios.empty:
            continue
        table = ratios.groupby("order")["value"].agg(["mean", "min", "max"])
        panels[2].plot(
            table.index,
            table["mean"],
            line,
            color=style["color"],
            linewidth=BOLD - 0.5,
            marker="o",
            label=f"{architecture.label}, {'trained' if moment == 'final' else 'at initialisation'}",
        )
        panels[2].fill_between(
            table.index, table["min"], table["max"], color=style["color"], alpha=0.15, linewidth=0
        )


def _response_style(architecture: Architecture) -> dict[str, Any]:
    plain = architecture.kind == "plain"
    return {
        "color": depth_colour(architecture),
        "linestyle": "--" if plain else "-",
        "linewidth": THIN + 0.5 if plain else BOLD - 0.5,
    }


def label_responses(panels: Sequence[Axes], *, wide: bool) -> None:
    """Add titles, axes and legends of the panels of :func:`draw_responses`; ``wide`` for a logarithmic axis."""
    panels[0].set(title="layer responses, in order", xlabel="layer (3x3 convolutions, from the input)")
    panels[1].set(title="layer responses, sorted by size", xlabel="layer, sorted")
    for axes in panels[:2]:
        axes.set_ylabel("standard deviation\nafter BN")
        axes.set_yscale("log" if wide else "linear")
        if wide:
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        else:
            axes.set_ylim(bottom=0)
    for axes in panels[2:]:
        axes.set(
            title="size of F(x) against x",
            xlabel="residual block, from the input",
            ylabel="RMS of F(x)\nover RMS of x",
        )
        axes.set_ylim(bottom=0)
    for axes in panels:
        axes.legend(ncols=2)
        axes.locator_params("x", integer=True)
