"""What the seminar's experiments measured on finished runs: figures that say why depth hurts plain networks."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import BOLD, CURVE, GREY, THIN, Drawn, depth_colour, joined


def gradient_norms(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the norm of the gradient by layer, and how second and last layer compare through training."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 7.5))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in measured_networks(recorded, experiment, table, panels):
        weight = rows[rows["quantity"] == "weight"]
        for axes, iteration in zip(panels, (0, 10), strict=False):
            draw_line(axes, weight[weight["iteration"] == iteration], "position", architecture)
        ends = weight.groupby(["seed", "iteration"])
        ratio = ends["value"].agg(lambda values: values.iloc[1] / values.iloc[-1]).reset_index()
        draw_line(panels[2], ratio, "iteration", architecture)
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
    """Draw the correlation of gradients at two points by their distance, before and after training."""
    figure, panels = plt.subplots(1, 2, figsize=(16, 7), sharex=True, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in measured_networks(recorded, experiment, table, panels):
        trained = rows["iteration"] > 0
        for axes, chosen in zip(panels, (rows[~trained], rows[trained]), strict=True):
            draw_line(axes, chosen, "position", architecture)
        drawn.append(rows)
    for axes, title in zip(panels, ("before training", "after training"), strict=True):
        axes.set(title=title, xlabel="distance of the two points (1/255 of the line between the images)")
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.legend()
    panels[0].set(ylabel="correlation of the gradients", ylim=(-0.1, 1.0))
    return figure, joined(drawn)


def lesions(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error of networks of which blocks are taken out or exchanged."""
    figure, grid = plt.subplots(2, 3, figsize=(24, 13), sharey=True, sharex="col")
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in measured_networks(recorded, experiment, table, grid.flat):
        for panels, mode in zip(grid, "ER", strict=True):
            _draw_lesions(panels, architecture, rows, mode)
        drawn.append(rows)
    for panels, mode in zip(grid, ("running statistics of training (E)", "estimated anew (R)"), strict=True):
        panels[0].set(ylabel=f"training error (%)\n{mode}", ylim=(0, 100))
        titles = ("without one block", "without several at random", "exchanged")
        for axes, title in zip(panels, titles, strict=True):
            axes.set(title=title)
            axes.legend()
    labels = (
        "block that is gone (dotted: intact)",
        "number of blocks that are gone",
        "Kendall's tau of the order",
    )
    for axes, label in zip(grid[1], labels, strict=True):
        axes.set(xlabel=label)
    grid[1, 2].invert_xaxis()
    return figure, joined(drawn)


def _draw_lesions(panels: Sequence[Axes], architecture: Architecture, rows: pd.DataFrame, mode: str) -> None:
    """Draw one network by one way of BN (E or R): without a block, without several, with blocks exchanged."""
    without_one, without_several, in_other_order = panels

    def errors(what: str) -> pd.DataFrame:
        return rows[rows["quantity"] == f"{what}_{mode}"]

    intact = errors("intact")
    draw_line(without_one, errors("removed"), "position", architecture, marker="o")
    without_one.axhline(intact["value"].mean(), color=depth_colour(architecture), linewidth=1, linestyle=":")
    # What is intact has lost no blocks, and its order is the right one: tau is 1.
    several = pd.concat([intact, errors("removed_at_random")])
    draw_line(without_several, several, "position", architecture, marker="o")
    tau = rows[rows["quantity"] == "kendall_tau"].groupby("position")["value"].mean()
    exchanged = errors("exchanged")
    by_order = exchanged.assign(position=exchanged["position"].map(tau))
    orders = pd.concat([intact.assign(position=1.0), by_order])
    draw_line(in_other_order, orders, "position", architecture, marker="o")


def signal_propagation(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw variance and squared mean by block, beside what theory says of plain networks."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 7.5))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    quantities = ("variance", "squared_mean", "before_bn")
    drawn = []
    for architecture, rows in measured_networks(recorded, experiment, table, panels):
        for axes, quantity in zip(panels, quantities, strict=True):
            draw_line(axes, rows[rows["quantity"] == f"{quantity}_of_images"], "position", architecture)
        drawn.append(rows)
    titles = ("variance", "mean, squared", "variance before the last BN of F")
    # Of relu(z) and relu(z) squared, for z from N(0, 1); convolutions with He's initial values double the latter.
    theory = ((1 - 1 / math.pi) / 2, 1 / (2 * math.pi), 1 - 1 / math.pi)
    for axes, title, value in zip(panels, titles, theory, strict=True):
        axes.axhline(value, color=GREY, linewidth=1, linestyle=":", label=f"theory, plain: {value:.2f}")
        axes.set(title=title, xlabel="block (from the input)", ylabel="mean over channels", yscale="log")
        for formats in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            formats("{x:g}")
        axes.legend()
    panels[2].set(yscale="linear", ylim=(0, 1))
    return figure, joined(drawn)


def path_lengths(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the gradient along one path, and the share of all paths of a length."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 7.5))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for architecture, rows in measured_networks(recorded, experiment, table, panels):
        trained = rows["iteration"] > 0
        for chosen, suffix, style in ((rows[~trained], ", untrained", ":"), (rows[trained], ", trained", "-")):
            label = architecture.label + suffix
            gradient = chosen[chosen["quantity"] == "gradient"]
            draw_line(panels[0], gradient, "position", architecture, linestyle=style, label=label)
        for axes, chosen in zip(panels[1:], (rows[~trained], rows[trained]), strict=True):
            draw_line(axes, chosen[chosen["quantity"] == "share"], "position", architecture)
            paths = chosen[chosen["quantity"] == "paths"].groupby("position")["value"].mean()
            axes.plot(paths.index, paths, color=GREY, linestyle="--", linewidth=THIN)
        drawn.append(rows)
    panels[0].set(title="gradient along one path", ylabel="norm at the pixels (mean over images)", yscale="log")
    panels[1].set(title="all paths of a length, before training", ylabel="share (grey: of the paths)")
    panels[2].set(title="all paths of a length, after training", ylabel="share (grey: of the paths)")
    panels[2].sharey(panels[1])
    for axes in panels:
        axes.set(xlabel="length of the path (blocks passed through F)")
        axes.legend()
    return figure, joined(drawn)


def residual_functions(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw F(x) over x by block, and as a map how it changes through training."""
    studies = experiment.studies_in(recorded.setting)
    figure, panels = plt.subplots(
        1, 1 + len(studies), figsize=(8 * (1 + len(studies)), 8), squeeze=False, layout="constrained"
    )
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    (name,) = experiment.networks[recorded.setting]
    first, *maps = panels[0]
    for axes, study in zip(maps, studies, strict=True):
        axes.set(title=f"{Architecture.parse(name).label}, {study.name or 'the recipe'}", xlabel="iteration")
        rows = table if table.empty else table[(table["quantity"] == "ratio") & (table["study"] == study.name)]
        if rows.empty:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
            continue
        ratio = rows.pivot_table(index="position", columns="iteration", values="value")
        change = np.log2(ratio.div(ratio[0], axis=0))
        mesh = axes.imshow(change, cmap="RdBu_r", vmin=-1.5, vmax=1.5, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(ratio.columns)), [f"{iteration:,}" for iteration in ratio.columns], rotation=60)
        axes.set_yticks(range(0, len(ratio), 3), [f"{block:.0f}" for block in ratio.index[::3]])
        axes.grid(visible=False)
        figure.colorbar(mesh, ax=axes, label="doublings of F(x) / x since the start", extend="both")
        start, end = ratio[0], ratio.iloc[:, -1]
        if study is studies[0]:
            first.plot(start, start.index, color=GREY, linewidth=BOLD, label="before training")
        first.plot(end, end.index, linewidth=THIN + 0.5, marker="o", label=f"after, {study.name or 'the recipe'}")
        drawn.append(rows)
    first.set(title="size of F(x) against x", xlabel="ratio of the RMS", ylabel="block (from the input)")
    first.invert_yaxis()
    first.legend() if drawn else first.text(0.5, 0.5, "not measured", transform=first.transAxes, ha="center")
    return figure, joined(drawn)


def measured_networks(
    recorded: RecordedRuns, experiment: Experiment, table: pd.DataFrame, panels: Iterable[Axes]
) -> Iterator[tuple[Architecture, pd.DataFrame]]:
    """Yield what was measured on each network; one that was not is named in every legend."""
    legends = list(panels)
    for name in experiment.networks[recorded.setting]:
        architecture = Architecture.parse(name)
        rows = table if table.empty else table[table["network"] == name]
        if not rows.empty:
            yield architecture, rows
            continue
        for axes in legends:
            axes.plot([], [], label=f"{architecture.label}: not measured", **_style(architecture))


def draw_line(axes: Axes, rows: pd.DataFrame, along: str, architecture: Architecture, **changes: Any) -> None:
    """Draw the mean over seeds as a line, their range as a band."""
    table = rows.groupby(along)["value"].agg(["mean", "min", "max"])
    style = _style(architecture) | {"label": architecture.label} | changes
    gid = f"{CURVE}{architecture.label}"
    axes.plot(table.index, table["mean"], gid=gid, **style)
    band = table.index, table["min"], table["max"]
    axes.fill_between(*band, color=style["color"], alpha=0.15, linewidth=0, gid=gid)


def _style(architecture: Architecture) -> dict[str, Any]:
    plain = architecture.kind == "plain"
    return {
        "color": depth_colour(architecture),
        "linestyle": "--" if plain else "-",
        "linewidth": THIN + 0.5 if plain else BOLD - 0.5,
    }
