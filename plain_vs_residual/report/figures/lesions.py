"""What trained networks err without some of their blocks, and with blocks exchanged (Veit et al., Sec. 4)."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.seminar import draw_line, measured_networks
from plain_vs_residual.report.figures.style import (
    SCREEN,
    SMALLEST,
    THIN,
    Drawn,
    chance,
    compare_with,
    joined,
    network_line,
)

# How BN normalises once a block is gone; the letters are those of the records.
STATISTICS = {"E": "BN as in the whole network", "R": "BN's statistics estimated anew"}


def lesions(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error of each network without one of its blocks, a stem a block, up from the intact error."""
    names = experiment.networks[recorded.setting]
    figure, row = plt.subplots(1, len(names), figsize=SCREEN, sharey=True, squeeze=False)
    panels = row[0]
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for axes, name in zip(panels, names, strict=True):
        line = network_line(Architecture.parse(name))
        axes.set_title(line["label"], color=line["color"], fontweight="bold")
        axes.set(xlabel="block that is taken out,\nfrom the input", ylim=(0, 100))
        rows = table if table.empty else table[table["network"] == name]
        if rows.empty:
            axes.text(0.5, 0.5, f"{line['label']}: not measured", transform=axes.transAxes, ha="center")
            continue
        shown = rows[rows["quantity"].isin(("intact_E", "removed_E"))]
        _stems(axes, shown, line["color"])
        drawn.append(shown)
    for axes in panels:
        guessing = chance(recorded)
        compare_with(axes, guessing, f"guessing: {guessing:.0f} %")
        axes.locator_params("x", integer=True)
        axes.grid(visible=False, axis="x")
    panels[0].set(ylabel="training error without that block (%)")
    return figure, joined(drawn)


def _stems(axes: Axes, rows: pd.DataFrame, colour: Any) -> None:
    """Draw a dot a block, the mean over seeds, a thin bar for their range, and a stem from the intact error."""
    intact = rows[rows["quantity"] == "intact_E"]["value"].mean()
    without = rows[rows["quantity"] == "removed_E"].groupby("position")["value"].agg(["mean", "min", "max"])
    compare_with(axes, intact, f"with all blocks: {intact:.0f} %", colour=colour, up=-22)
    axes.vlines(without.index, intact, without["mean"], color=colour, linewidth=9, alpha=0.35)
    axes.vlines(without.index, without["min"], without["max"], color=colour, linewidth=THIN)
    axes.plot(without.index, without["mean"], "o", color=colour, markersize=11)


def further_lesions(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error without several blocks and with blocks exchanged, by both ways of BN; one by R."""
    figure, grid = plt.subplots(2, 3, figsize=SCREEN, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    names = grid[0, 2]
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, [names]):
        names.plot([], [], marker="o", **line)
        for (several, order, _), mode in zip(grid, STATISTICS, strict=True):
            _several(several, rows, mode, line)
            _exchanged(order, rows, mode, line)
        draw_line(grid[1, 2], rows[rows["quantity"] == "removed_R"], "position", line | {"marker": "o"})
        drawn.append(rows[~rows["quantity"].isin(("intact_E", "removed_E"))])
    names.set_axis_off()
    names.legend(loc="center")
    _label_further(grid, chance(recorded))
    return figure, joined(drawn)


def _several(axes: Axes, rows: pd.DataFrame, mode: str, line: dict[str, Any]) -> None:
    """Draw the error by the number of blocks that are gone; what is intact has lost none."""
    shown = rows[rows["quantity"].isin((f"intact_{mode}", f"removed_at_random_{mode}"))]
    draw_line(axes, shown, "position", line | {"marker": "o"})


def _exchanged(axes: Axes, rows: pd.DataFrame, mode: str, line: dict[str, Any]) -> None:
    """Draw the error by the share of pairs of blocks that are out of order, which Kendall's tau gives."""
    tau = rows[rows["quantity"] == "kendall_tau"].groupby("position")["value"].mean()
    intact, exchanged = (rows[rows["quantity"] == f"{what}_{mode}"] for what in ("intact", "exchanged"))
    out_of_order = exchanged.assign(position=50 * (1 - exchanged["position"].map(tau)))
    draw_line(axes, pd.concat([intact.assign(position=0.0), out_of_order]), "position", line | {"marker": "o"})


def _label_further(grid: Sequence[Sequence[Axes]], guessing: float) -> None:
    for (several, order, one), words in zip(grid, STATISTICS.values(), strict=True):
        several.set(ylabel=f"training error (%)\n{words}", ylim=(0, 100))
        for axes in (several, order, one):
            if axes.axison:
                compare_with(axes, guessing, "guessing")
    titles = ("several blocks taken out", "blocks exchanged")
    labels = ("number of blocks, at random", "pairs of blocks out of order (%)")
    for place, (title, label) in enumerate(zip(titles, labels, strict=True)):
        grid[0][place].set_title(title)
        grid[1][place].set(xlabel=label)
    grid[1][2].set(title="one block taken out", xlabel="block, from the input")
    for row in grid:
        row[0].yaxis.label.set_fontsize(SMALLEST)
