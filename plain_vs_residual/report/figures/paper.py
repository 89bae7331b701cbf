"""The paper's figures in the paper's line conventions (He et al., Figs. 1, 4 and 6, Table 3)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import (
    BOLD,
    COLOURS,
    MARKERS,
    THIN,
    Drawn,
    depth_colour,
    draw_curves,
    joined,
    limit_error_axis,
    option_colour,
)


def depth_curves(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Fig. 4: thin = training, bold = validation; plain left, residual right, shared axes."""
    return _plain_and_residual(
        recorded, experiment, {"training_error": ("-", THIN), "validation_error": ("-", BOLD)}
    )


def cifar_curves(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Fig. 6: dashed = training, bold = test; plain left, residual right, shared axes."""
    return _plain_and_residual(
        recorded, experiment, {"training_error": ("--", THIN), "validation_error": ("-", BOLD)}
    )


def _plain_and_residual(
    recorded: RecordedRuns, experiment: Experiment, lines: dict[str, tuple[str, float]]
) -> Drawn:
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    drawn = []
    for axes, kind in zip(panels, ("plain", "residual"), strict=True):
        names = [name for name in experiment.networks[recorded.setting] if Architecture.parse(name).kind == kind]
        drawn += draw_curves(axes, recorded, experiment, names, lines, depth_colour)
        axes.set_title("plain" if kind == "plain" else "residual (ResNet)")
        axes.set_xlabel("iteration")
    panels[0].set_ylabel("error (%)")
    limit_error_axis(panels[0], drawn)
    return figure, joined(drawn)


def training_and_test(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Fig. 1: plain networks of 20 and 56 layers, training left, validation (the paper: test) right."""
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    drawn = []
    names = [name for name in experiment.networks[recorded.setting] if name in ("cifar-plain20", "cifar-plain56")]
    for axes, (column, title) in zip(
        panels, (("training_error", "training error"), ("validation_error", "validation error")), strict=True
    ):
        drawn += draw_curves(axes, recorded, experiment, names, {column: ("-", BOLD)}, depth_colour)
        axes.set(title=title, xlabel="iteration")
    panels[0].set_ylabel("error (%)")
    limit_error_axis(panels[0], drawn)
    return figure, joined(drawn)


def shortcut_options(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Table 3 as curves (thin = training, bold = validation) and as final errors, one dot per seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2))
    names = list(experiment.networks[recorded.setting])
    lines = {"training_error": ("-", THIN), "validation_error": ("-", BOLD)}
    drawn = draw_curves(left, recorded, experiment, names, lines, option_colour)
    left.set(title="thin: training, bold: validation", xlabel="iteration", ylabel="error (%)")
    limit_error_axis(left, drawn)
    finals = recorded.select(recorded.finals, experiment)
    for place, name in enumerate(names):
        architecture = Architecture.parse(name)
        runs = finals[finals["network"] == name] if not finals.empty else finals
        if runs.empty:
            right.text(place, 0.5, "not run", rotation=90, ha="center", transform=right.get_xaxis_transform())
            continue
        for column, shift, filled in (("training_error", -0.16, False), ("validation_error", 0.16, True)):
            colour = option_colour(architecture)
            dots = pd.DataFrame({"iteration": runs["iteration"], "count": 1, "network": name, "column": column})
            dots = dots.assign(seed=runs["seed"].astype("Int64"))
            drawn.append(dots.assign(**dict.fromkeys(("mean", "min", "max"), runs[column])))
            right.scatter(
                np.full(len(runs), place + shift),
                runs[column],
                s=70,
                marker=MARKERS[architecture.option],
                facecolor=colour if filled else "none",
                edgecolor=colour,
                linewidth=1.5,
                alpha=0.75,
            )
            right.hlines(
                runs[column].mean(), place + shift - 0.13, place + shift + 0.13, color=colour, linewidth=3
            )
    right.set_xticks(range(len(names)), [Architecture.parse(name).option or "plain" for name in names])
    right.set_xlim(-0.5, len(names) - 0.5)
    right.set(
        title="at the end: hollow training,\nfilled validation; bar: mean",
        xlabel="shortcut option",
        ylabel="error (%)",
    )
    right.set_ylim(bottom=0)
    return figure, joined(drawn)


def final_errors(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """The headline: error at the end against depth, plain and residual, one dot per seed and a line of means."""
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    finals = recorded.select(recorded.finals, experiment)
    names = list(experiment.networks[recorded.setting])
    depths = sorted({Architecture.parse(name).depth for name in names})
    for axes, column, title in (
        (panels[0], "training_error", "training error"),
        (panels[1], "validation_error", "validation error"),
    ):
        for kind, colour, marker in (("plain", COLOURS[3], "X"), ("residual", COLOURS[0], "o")):
            means = {}
            for name in names:
                architecture = Architecture.parse(name)
                if architecture.kind != kind:
                    continue
                runs = finals[finals["network"] == name] if not finals.empty else finals
                if runs.empty:
                    axes.annotate(
                        f"{architecture.label}\nnot run",
                        (depths.index(architecture.depth), 0.9),
                        ha="center",
                        xycoords=axes.get_xaxis_transform(),
                        color=colour,
                        fontsize=12,
                    )
                    continue
                means[depths.index(architecture.depth)] = runs[column].mean()
                if runs["diverged"].any():
                    axes.annotate(
                        f"{runs['diverged'].sum()} diverged",
                        (depths.index(architecture.depth) + 0.1, runs[column].max()),
                        color=colour,
                        fontsize=12,
                    )
                jitter = np.linspace(-0.06, 0.06, len(runs)) if len(runs) > 1 else np.zeros(1)
                axes.scatter(
                    depths.index(architecture.depth) + jitter,
                    runs[column],
                    color=colour,
                    marker=marker,
                    s=50,
                    alpha=0.55,
                    linewidth=0,
                )
            axes.plot(
                list(means),
                list(means.values()),
                color=colour,
                marker=marker,
                markersize=12,
                linewidth=BOLD,
                label=kind,
            )
        axes.set(title=f"{title} at the end", xlabel="depth (layers)")
        axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        axes.set_xlim(-0.4, len(depths) - 0.6)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("error (%)")
    panels[0].set_ylim(bottom=0)
    columns = ["network", "seed", "training_error", "validation_error", "diverged"]
    return figure, finals[columns] if not finals.empty else pd.DataFrame(columns=columns)
