"""Errors at the end, a dot per seed, joined by seed (He et al., Tables 2, 3 and 6)."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from plain_vs_residual.architecture import OPTIONS, Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import (
    TRAINED,
    TRAINING,
    VALIDATED,
    VALIDATION,
    draw_curves,
    label_ends,
    limit_error_axis,
)
from plain_vs_residual.report.figures.style import (
    BOLD,
    GREY,
    KIND_COLOURS,
    MARKERS,
    SCREEN,
    SMALLEST,
    SOLID,
    Drawn,
    colour_of,
    depth_colour,
    joined,
)

COLUMNS = ["network", "seed", "running_training_error", "training_error", "validation_error", "diverged"]


def final_errors(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw final errors against depth, joined by seed."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    finals = recorded.select(counted(recorded), experiment)
    names = [Architecture.parse(name) for name in experiment.networks[recorded.setting]]
    depths = sorted({architecture.depth for architecture in names})
    called = recorded.validation_name(experiment)
    titles = {TRAINING: "training error, last tenth", VALIDATION: f"{called} error at the end"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for kind in ("plain", "residual"):
            places = {a.name: float(depths.index(a.depth)) for a in names if a.kind == kind}
            _joined_by_seed(axes, finals, places, column, kind)
        axes.set(title=title, xlabel="depth (layers)", xlim=(-0.4, len(depths) - 0.6))
        axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper left")
    panels[0].set_ylabel("error (%)")
    panels[0].set_ylim(bottom=0)
    return figure, finals[COLUMNS] if not finals.empty else pd.DataFrame(columns=COLUMNS)


def _joined_by_seed(axes: Axes, finals: pd.DataFrame, places: Mapping[str, float], column: str, kind: str) -> None:
    """Draw the runs of some networks: a dot each, a thin line per seed, a bold one of the means."""
    runs = finals[finals["network"].isin(list(places))] if not finals.empty else finals
    for name in places:
        if runs.empty or name not in set(runs["network"]):
            architecture = Architecture.parse(name)
            height = 0.9 if architecture.kind == "plain" else 0.78  # both kinds of a depth may be missing
            _say(axes, places[name], f"{architecture.label}\nnot run", depth_colour(architecture), height)
    if runs.empty:
        return
    runs = runs.assign(place=runs["network"].map(places)).sort_values("place")
    for _, of_seed in runs.groupby("seed"):
        axes.plot(of_seed["place"], of_seed[column], SOLID, color=GREY, linewidth=0.8, alpha=0.6)
    means = runs.groupby("place")[column].mean()
    axes.plot(means.index, means, SOLID, color=KIND_COLOURS[kind], linewidth=BOLD, label=kind)
    for name, place in places.items():
        of_network = runs[runs["network"] == name]
        architecture = Architecture.parse(name)
        colour = depth_colour(architecture)
        marker = MARKERS[architecture.option]
        axes.scatter(of_network["place"], of_network[column], color=[colour], marker=marker, s=75, zorder=3)
        if count := int(of_network["diverged"].sum()):
            axes.annotate(f"{count} diverged", (place + 0.1, of_network[column].max()), color=colour)


def _say(axes: Axes, place: float, text: str, colour: Any, height: float = 0.9) -> None:
    where = axes.get_xaxis_transform()
    axes.annotate(text, (place, height), xycoords=where, ha="center", color=colour, fontsize=SMALLEST)


def shortcut_options(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the shortcut options as curves and as final errors with their costs (Table 3)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=SCREEN, width_ratios=(3, 2))
    names = list(experiment.networks[recorded.setting])
    # Residual networks of one depth have one colour; from dark to light options are told apart.
    plain, residual = (colour_of(kind, Architecture.parse(names[0]).depth) for kind in ("plain", "residual"))
    colours = {None: plain, **dict(zip(OPTIONS, cycle((residual, *_lighter(residual))), strict=False))}

    def option_colour(architecture: Architecture) -> Any:
        return colours[architecture.option]

    drawn = draw_curves(left, recorded, experiment, names, (TRAINED, VALIDATED), option_colour)
    called = recorded.validation_name(experiment)
    left.set(title=f"bold: training, thin: {called}", xlabel="iteration", ylabel="error (%)")
    limit_error_axis(left, drawn)
    label_ends(left, drawn, option_colour, TRAINING)
    finals = recorded.select(counted(recorded), experiment)
    for column, shift, filled in ((TRAINING, -0.15, True), (VALIDATION, 0.15, False)):
        places = {name: place + shift for place, name in enumerate(names)}
        drawn += _options_joined(right, finals, places, column, colours, filled=filled)
    right.set_xticks(range(len(names)), _costs(finals, names), fontsize=SMALLEST)
    right.set(
        title=f"at the end: filled training (last tenth),\nhollow {called}; bar: mean",
        xlabel="shortcut option; below it\nparameters and multiply-adds",
        ylabel="error (%)",
        xlim=(-0.5, len(names) - 0.5),
    )
    return figure, joined(drawn)


def _lighter(colour: Any) -> list[Any]:
    return [sns.blend_palette([colour, (1, 1, 1)], 10)[step] for step in (3, 5, 1, 6, 4)]


def _options_joined(
    axes: Axes,
    finals: pd.DataFrame,
    places: Mapping[str, float],
    column: str,
    colours: Mapping[str | None, Any],
    *,
    filled: bool,
) -> list[pd.DataFrame]:
    runs = finals[finals["network"].isin(list(places))] if not finals.empty else finals
    drawn = []
    for name, place in places.items():
        architecture = Architecture.parse(name)
        of_network = runs[runs["network"] == name] if not runs.empty else runs
        if of_network.empty:
            if filled:
                _say(axes, round(place), f"{architecture.label}\nnot run", colours[architecture.option])
            continue
        dots = of_network[["iteration", "network", "seed"]].assign(column=column, count=1)
        drawn.append(dots.assign(**dict.fromkeys(("mean", "min", "max"), of_network[column])))
        axes.scatter(
            [place] * len(of_network),
            of_network[column],
            s=75,
            marker=MARKERS[architecture.option],
            facecolor=[colours[architecture.option]] if filled else "none",
            edgecolor=[colours[architecture.option]],
            linewidth=1.5,
            zorder=3,
        )
        mean = of_network[column].mean()
        axes.hlines(mean, place - 0.12, place + 0.12, color=[colours[architecture.option]], linewidth=3)
    for _, of_seed in runs.groupby("seed") if not runs.empty else ():
        at = of_seed["network"].map(places)
        order = at.sort_values().index
        axes.plot(at[order], of_seed.loc[order, column], color=GREY, linewidth=0.8, alpha=0.6)
    return drawn


def _costs(finals: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Say under each option what it costs: parameters and multiply-adds."""
    words = []
    for name in names:
        lines: list[str] = [Architecture.parse(name).option or "plain"]
        runs = finals[finals["network"] == name] if not finals.empty else finals
        if not runs.empty:
            lines += [f"{runs['parameters'].iloc[0] / 1e6:.2f} M", f"{runs['multiply_adds'].iloc[0] / 1e6:,.1f} M"]
        words.append("\n".join(lines))
    return words
