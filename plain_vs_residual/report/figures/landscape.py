"""The loss around trained networks, and on the straight line from the initial to the trained weights."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.seminar import draw_line, measured_networks
from plain_vs_residual.report.figures.style import SCREEN, Drawn, few_ticks, joined

LEAST, MOST = 1e-3, 1e2  # nats, of the colours


def loss_landscape(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the loss along directions, along a line, and on a plane."""
    names = experiment.networks[recorded.setting]
    figure = plt.figure(figsize=SCREEN)
    grid = figure.add_gridspec(2, 1)
    specs = grid[0].subgridspec(1, 3)
    curves = [figure.add_subplot(specs[place]) for place in range(3)]
    specs = grid[1].subgridspec(1, len(names))
    maps = {name: figure.add_subplot(specs[place]) for place, name in enumerate(names)}
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    planes = table if table.empty else table[table["quantity"] == "plane_E"]
    least = LEAST if planes.empty else max(LEAST, float(planes["value"].min()))
    norm = LogNorm(least, MOST)
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, curves[:1]):
        for axes, quantity in zip(curves, ("loss_E", "loss_R", "line_R"), strict=True):
            along = (
                rows[rows["quantity"] == quantity]
                .groupby(["seed", "position"], as_index=False)[["value"]]
                .median()
            )
            draw_line(axes, along, "position", line)
        _map(maps[rows["network"].iloc[0]], rows[rows["quantity"] == "plane_E"], norm)
        drawn.append(rows)
    _label_curves(curves)
    for name, axes in maps.items():
        axes.set(title=Architecture.parse(name).label, xlabel="first direction", aspect="equal")
        axes.grid(visible=False)
    maps[names[0]].set(ylabel="second direction")
    colours = plt.cm.ScalarMappable(norm, "cividis")
    figure.colorbar(colours, ax=list(maps.values()), label="training loss (nats)", extend="both")
    return figure, joined(drawn)


def _label_curves(curves: Sequence[Axes]) -> None:
    titles = (
        "random directions, BN by its\nrunning statistics",
        "random directions, BN by\nstatistics estimated anew",
        "from initial (0)\nto trained weights (1)",
    )
    for axes, title in zip(curves, titles, strict=True):
        axes.set(yscale="log", xlabel="step, in lengths of the filters")
        axes.set_title(title, fontsize=18)
    for axes in curves:
        few_ticks(axes)
    curves[0].set(ylabel="training loss (nats)")
    curves[0].legend()
    curves[2].set(xlabel="share of the way")


def _map(axes: Axes, rows: pd.DataFrame, norm: LogNorm) -> None:
    """Draw the plane through the first seed's network; the trained weights are in its middle."""
    first = rows[rows["seed"] == rows["seed"].min()]
    plane = first.assign(place=first["place"].astype(float)).pivot_table(
        index="place", columns="position", values="value", dropna=False
    )
    loss = np.clip(plane.to_numpy(dtype=float), norm.vmin, norm.vmax)
    ends = (plane.columns[0], plane.columns[-1], plane.index[0], plane.index[-1])
    axes.imshow(loss, norm=norm, cmap="cividis", origin="lower", extent=ends, interpolation="bilinear")
    axes.contour(plane.columns, plane.index, np.log10(loss), levels=8, colors="white", linewidths=0.8)
    axes.plot(0, 0, "+", color="white", markersize=14)
