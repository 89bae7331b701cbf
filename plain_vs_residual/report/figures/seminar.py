"""What the seminar's experiments measured on finished runs: figures that say why depth hurts plain networks."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import BOLD, GREY, THIN, Drawn, depth_colour, joined


def gradient_norms(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """The gradient at each layer before training and ten iterations later, and their ratio through training."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 7.5))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in _networks(recorded, experiment, table, panels):
        weight = rows[rows["quantity"] == "weight"]
        for axes, iteration in zip(panels, (0, 10), strict=False):
            _line(axes, weight[weight["iteration"] == iteration], "position", architecture)
        ends = weight.groupby(["seed", "iteration"])
        ratio = (ends["value"].nth(1).to_numpy() / ends["value"].last()).reset_index()
        _line(panels[2], ratio, "iteration", architecture)
        drawn += [weight, ratio.assign(network=architecture.name, quantity="ratio", place="network")]
    titles = ("before the first step", "after 10 iterations")
    for axes, title in zip(panels, titles, strict=False):
        axes.set(title=title, xlabel="layer (3x3 convolutions, from the input)", ylabel="norm of the gradient")
    panels[1].sharey(panels[0])
    panels[2].set(title="second layer over last layer, through training", xlabel="iteration (0, then logarithmic)")
    panels[2].set(ylabel="ratio of the norms of the gradient")
    panels[2].set_xscale("symlog", linthresh=1)
    panels[2].set_xlim(left=0)
    panels[2].axhline(1, color=GREY, linewidth=1)
    for axes in panels:
        axes.set_yscale("log")
        axes.legend()
    return figure, joined(drawn)


def shattered_gradients(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """How alike gradients are at two points of a line between two images, by their distance (cosine)."""
    figure, panels = plt.subplots(1, 2, figsize=(16, 7), sharex=True, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in _networks(recorded, experiment, table, panels):
        trained = rows["iteration"] > 0
        for axes, chosen in zip(panels, (rows[~trained], rows[trained]), strict=True):
            _line(axes, chosen, "position", architecture)
        drawn.append(rows)
    for axes, title in zip(panels, ("before training", "after training"), strict=True):
        axes.set(title=title, xlabel="distance of the two points (1/255 of the line between the images)")
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.legend()
    panels[0].set(ylabel="correlation of the gradients", ylim=(-0.1, 1.0))
    return figure, joined(drawn)


def _networks(
    recorded: RecordedRuns, experiment: Experiment, table: pd.DataFrame, panels: Sequence[Axes]
) -> Iterator[tuple[Architecture, pd.DataFrame]]:
    """Yield what was measured on each network; one that was not is named in every legend."""
    for name in experiment.networks[recorded.setting]:
        architecture = Architecture.parse(name)
        rows = table if table.empty else table[table["network"] == name]
        if not rows.empty:
            yield architecture, rows
            continue
        for axes in panels:
            axes.plot([], [], label=f"{architecture.label}: not measured", **_style(architecture))


def _line(axes: Axes, rows: pd.DataFrame, along: str, architecture: Architecture) -> None:
    """Draw the mean over seeds as a line, their range as a band."""
    table = rows.groupby(along)["value"].agg(["mean", "min", "max"])
    style = _style(architecture)
    axes.plot(table.index, table["mean"], label=architecture.label, **style)
    axes.fill_between(table.index, table["min"], table["max"], color=style["color"], alpha=0.15, linewidth=0)


def _style(architecture: Architecture) -> dict[str, Any]:
    plain = architecture.kind == "plain"
    return {
        "color": depth_colour(architecture),
        "linestyle": "--" if plain else "-",
        "linewidth": THIN + 0.5 if plain else BOLD - 0.5,
    }
