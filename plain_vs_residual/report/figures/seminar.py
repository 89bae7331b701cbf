"""What the seminar's experiments measured on finished runs: figures that say why depth hurts plain networks."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import (
    BOLD,
    COLOURS,
    CURVE,
    DASHED,
    GREY,
    SCREEN,
    THIN,
    Drawn,
    compare_with,
    few_ticks,
    joined,
    network_line,
)


def gradient_norms(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the norm of the gradient by layer, and how second and last layer compare through training."""
    figure, panels = plt.subplots(1, 3, figsize=SCREEN)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, panels[:1]):
        weight = rows[rows["quantity"] == "weight"]
        for axes, iteration in zip(panels, (0, 10), strict=False):
            draw_line(axes, weight[weight["iteration"] == iteration], "position", line)
        ends = weight.groupby(["seed", "iteration"])
        ratio = ends["value"].agg(lambda values: values.iloc[1] / values.iloc[-1]).reset_index()
        draw_line(panels[2], ratio, "iteration", line)
        network = rows["network"].iloc[0]
        drawn += [weight, ratio.assign(network=network, quantity="ratio", place="network")]
    for axes, title in zip(panels, ("before training", "10 iterations later"), strict=False):
        axes.set(title=title, xlabel="layer, from the input")
    panels[0].set(ylabel="norm of the gradient")
    panels[1].sharey(panels[0])
    panels[2].set(title="second over last layer", xlabel="iteration (0, then logarithmic)")
    panels[2].set(ylabel="ratio of the norms of the gradient")
    panels[2].set_xscale("symlog", linthresh=1)
    panels[2].set_xlim(left=0)
    panels[2].xaxis.set_major_formatter("{x:,.0f}")
    for axes in panels:
        axes.set_yscale("log")
        few_ticks(axes)
    compare_with(panels[2], 1, "both alike", at="left")
    panels[0].legend()
    return figure, joined(drawn)


def shattered_gradients(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the correlation of gradients at two points by their distance, before and after training."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, panels[:1]):
        trained = rows["iteration"] > 0
        for axes, chosen in zip(panels, (rows[~trained], rows[trained]), strict=True):
            draw_line(axes, chosen, "position", line)
        drawn.append(rows)
    for axes, title in zip(panels, ("before training", "after training"), strict=True):
        axes.set(title=title, xlabel="distance (1/255 of the line between two images)")
        compare_with(axes, 0, "nothing in common")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
    panels[0].set(ylabel="correlation of the gradients", ylim=(-0.1, 1.0))
    panels[0].legend()
    return figure, joined(drawn)


def signal_propagation(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw variance and squared mean by block, beside what theory says of plain networks."""
    figure, panels = plt.subplots(1, 3, figsize=SCREEN)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    quantities = ("variance", "squared_mean", "before_bn")
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, panels[:1]):
        for axes, quantity in zip(panels, quantities, strict=True):
            draw_line(axes, rows[rows["quantity"] == f"{quantity}_of_images"], "position", line)
        drawn.append(rows)
    titles = ("variance", "mean, squared", "variance before the\nlast BN of a block")
    # Of relu(z) and relu(z) squared, for z from N(0, 1); convolutions with He's initial values double the latter.
    theory = ((1 - 1 / math.pi) / 2, 1 / (2 * math.pi), 1 - 1 / math.pi)
    for axes, title, value in zip(panels, titles, theory, strict=True):
        axes.set(title=title, xlabel="block, from the input", yscale="log")
        few_ticks(axes)
        compare_with(axes, value, f"theory, plain: {value:.2f}", up=-4)
    panels[0].set(ylabel="mean over channels")
    panels[0].legend()
    panels[2].set(yscale="linear", ylim=(0, 1))
    return figure, joined(drawn)


def path_lengths(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the gradient along one path, and the share of all paths of a length."""
    figure, panels = plt.subplots(1, 3, figsize=SCREEN)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for line, rows in measured_networks(recorded, experiment, table, panels[:1]):
        trained = rows["iteration"] > 0
        before = {"linestyle": DASHED, "linewidth": THIN, "label": f"{line['label']}, untrained"}
        for chosen, changes in ((rows[~trained], before), (rows[trained], {})):
            draw_line(panels[0], chosen[chosen["quantity"] == "gradient"], "position", line | changes)
        for axes, chosen in zip(panels[1:], (rows[~trained], rows[trained]), strict=True):
            draw_line(axes, chosen[chosen["quantity"] == "share"], "position", line)
            paths = chosen[chosen["quantity"] == "paths"].groupby("position")["value"].mean()
            axes.plot(paths.index, paths, color=line["color"], linestyle=DASHED, linewidth=THIN)
        drawn.append(rows)
    panels[0].set(title="gradient along one path", ylabel="norm at the pixels (mean over images)", yscale="log")
    panels[1].set(
        title="all paths of a length,\nbefore training", ylabel="share of the gradient (dashed: of the paths)"
    )
    panels[2].set(title="all paths of a length,\nafter training")
    panels[2].sharey(panels[1])
    for axes in panels:
        axes.set(xlabel="blocks that a path passes")
    panels[0].margins(y=0.35)
    panels[0].legend(loc="upper right")
    return figure, joined(drawn)


def residual_functions(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw F(x) over x by block, and as a map how it changes through training."""
    studies = experiment.studies_in(recorded.setting)
    figure, panels = plt.subplots(1, 1 + len(studies), figsize=SCREEN, squeeze=False, layout="constrained")
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    (name,) = experiment.networks[recorded.setting]
    first, *maps = panels[0]
    colours = dict(zip((study.name for study in studies), COLOURS, strict=False))
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
        start, end = ratio[0], ratio.iloc[:, -1]
        if study is studies[0]:
            first.plot(start, start.index, color=GREY, linestyle=DASHED, linewidth=THIN, label="untrained")
        looks = {"linewidth": BOLD, "marker": "o", "color": colours[study.name]}
        first.plot(end, end.index, label=f"trained, {study.name}" if study.name else "trained", **looks)
        drawn.append(rows)
    if drawn:
        figure.colorbar(mesh, ax=maps, label="doublings of F(x) / x since the start", extend="both")
    first.set(title="size of F(x) against x", xlabel="ratio of the RMS", ylabel="block (from the input)")
    first.invert_yaxis()
    first.legend() if drawn else first.text(0.5, 0.5, "not measured", transform=first.transAxes, ha="center")
    return figure, joined(drawn)


def measured_networks(
    recorded: RecordedRuns, experiment: Experiment, table: pd.DataFrame, panels: Iterable[Axes]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield how the line of each network looks and what was measured; one that was not is named in legends."""
    legends = list(panels)
    for name in experiment.networks[recorded.setting]:
        line = network_line(Architecture.parse(name), experiment)
        rows = table if table.empty else table[table["network"] == name]
        if not rows.empty:
            yield line, rows
            continue
        for axes in legends:
            axes.plot([], [], **line | {"label": f"{line['label']}: not measured"})


def draw_line(axes: Axes, rows: pd.DataFrame, along: str, line: dict[str, Any]) -> None:
    """Draw the mean over seeds as a line, their range as a band."""
    table = rows.groupby(along)["value"].agg(["mean", "min", "max"])
    gid = f"{CURVE}{line['label'].partition(',')[0]}"
    axes.plot(table.index, table["mean"], gid=gid, **line)
    axes.fill_between(
        table.index, table["min"], table["max"], color=line["color"], alpha=0.12, linewidth=0, gid=gid
    )
