"""Figures of the seminar's experiments that train networks of their own: built, at other rates, with cures."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING, VALIDATION, Line, draw_curves, label_ends
from plain_vs_residual.report.figures.style import BOLD, COLOURS, CURVE, GREY, THIN, Drawn, depth_colour, joined

PLAIN, RESIDUAL = Line(TRAINING, "--", THIN + 0.5), Line(TRAINING, "-", BOLD - 0.5)
MODES = {"E": "running statistics (E)", "R": "estimated anew (R)", "T": "by the batch (T)"}


def construction(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Training error from the construction on, at two rates; the error of mixtures before it."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 8))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    every = experiment.networks[recorded.setting]
    drawn: list[pd.DataFrame] = []
    scratch = _curves(panels[0], recorded, experiment, [name for name in every if name == "cifar-plain56"], "")
    for line in panels[0].get_lines():
        line.set(color=GREY, linestyle=":", label="plain-56, drawn weights" if scratch else line.get_label())
    drawn += [one.assign(study="") for one in scratch]
    for axes, study, title in zip(
        panels, experiment.studies_in(recorded.setting)[1:], ("the recipe", "a tenth of the rate"), strict=False
    ):
        names = [name for name in every if name in study.sources]
        curves = _curves(axes, recorded, experiment, names, study.name)
        drawn += [one.assign(study=study.name) for one in curves]
        for name in names:
            start = _at_start(table, name, study.name)
            axes.plot(
                [0] * len(start[:1]),
                [start["value"].mean()] * len(start[:1]),
                "o",
                markersize=12,
                color=depth_colour(Architecture.parse(name)),
                clip_on=False,
                zorder=5,
            )
        axes.set(title=f"trained on: {title}", xlabel="iteration", ylabel="training error (%)", ylim=(0, 100))
        axes.set_xlim(left=0)
        label_ends(axes, curves, depth_colour, TRAINING)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper right")
    built = _at_start(table, "cifar-plain56", "grown", quantity=None)
    for (mode, words), style in zip(MODES.items(), ("-", "--", ":"), strict=True):
        rows = built if built.empty else built[built["quantity"] == f"error_{mode}"]
        if rows.empty:
            panels[2].plot([], [], style, color=GREY, label=f"{words}: not measured")
            continue
        values = rows.groupby("position")["value"].agg(["mean", "min", "max"])
        panels[2].plot(
            values.index,
            values["mean"],
            style,
            color=depth_colour(Architecture.parse("cifar-plain56")),
            linewidth=BOLD,
            marker="o",
            label=words,
        )
        panels[2].fill_between(values.index, values["min"], values["max"], alpha=0.15, color=GREY, linewidth=0)
        drawn.append(rows)
    panels[2].set(title="built plain-56 before training, mixed", xlabel="share of drawn weights in what was added")
    panels[2].set(ylabel="training error (%)", ylim=(0, 100))
    panels[2].legend(loc="lower right")
    return figure, joined(drawn)


def learning_rates(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Final training and validation error of each network by its learning rate."""
    figure, panels = plt.subplots(1, 2, figsize=(18, 8), sharey=True)
    finals = recorded.select(counted(recorded), experiment)
    if not finals.empty:
        rates = {study.name: study.changes["learning_rate"] for study in experiment.studies_in(recorded.setting)}
        finals = finals.assign(learning_rate=finals["study"].map(rates))
    drawn = []
    for name in experiment.networks[recorded.setting]:
        architecture = Architecture.parse(name)
        rows = finals if finals.empty else finals[finals["network"] == name]
        _, style, width = PLAIN if architecture.kind == "plain" else RESIDUAL
        shown = {"color": depth_colour(architecture), "linestyle": style, "linewidth": width}
        for axes, column in zip(panels, (TRAINING, VALIDATION), strict=True):
            if rows.empty:
                axes.plot([], [], label=f"{architecture.label}: not run", **shown)
                continue
            values = rows.groupby("learning_rate")[column].agg(["mean", "min", "max"])
            gid = f"{CURVE}{architecture.label}"
            axes.plot(values.index, values["mean"], marker="o", label=architecture.label, gid=gid, **shown)
            band = values.index, values["min"], values["max"]
            axes.fill_between(*band, alpha=0.15, color=shown["color"], lw=0, gid=gid)
        drawn.append(rows)
    for axes, part in zip(panels, ("training", recorded.validation_name(experiment)), strict=True):
        axes.set(
            title=f"{part} error, at the end", xlabel="learning rate (logarithmic)", xscale="log", ylim=(0, 100)
        )
        if not finals.empty:
            used = sorted(finals["learning_rate"].unique())
            axes.set_xticks(used, [f"{rate:g}" for rate in used])
            axes.minorticks_off()
        axes.legend()
    panels[0].set(ylabel="error (%)")
    return figure, joined(drawn)


def cures(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Final training error with each change, a mark per seed, between the two networks as they are."""
    finals = recorded.select(counted(recorded), experiment)
    own, *studies = experiment.studies_in(recorded.setting)
    figure, axes = plt.subplots(figsize=(15, 1.5 + 0.8 * len(studies)))
    means = {}
    for name in experiment.networks[recorded.setting]:
        rows = _of(finals, name, own.name)
        architecture = Architecture.parse(name)
        style = "--" if architecture.kind == "plain" else "-"
        label = architecture.label if len(rows) else f"{architecture.label}: not run"
        if len(rows):
            means[name] = rows[TRAINING].mean()
            axes.axvspan(rows[TRAINING].min(), rows[TRAINING].max(), color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(means.get(name, math.nan), color=GREY, linestyle=style, linewidth=BOLD, label=label)
    if len(means) > 1:
        axes.axvline(sum(means.values()) / 2, color=GREY, linestyle=":", linewidth=THIN, label="half of the gap")
    names = []
    for place, study in enumerate(studies):
        (network,) = study.networks
        architecture = Architecture.parse(network)
        rows = _of(finals, network, study.name)
        names.append(f"{architecture.label}, {study.name}" + ("" if len(rows) else ": not run"))
        if len(rows):
            marker = "X" if architecture.kind == "plain" else "o"
            colour = COLOURS[1] if architecture.kind == "plain" else COLOURS[0]
            axes.plot(rows[TRAINING], [place] * len(rows), marker, color=colour, markersize=10, alpha=0.6)
            axes.plot(rows[TRAINING].mean(), place, "|", color=colour, markersize=34, markeredgewidth=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="training error at the end (%)", xlim=(0, 100))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)
    return figure, finals


def _of(finals: pd.DataFrame, network: str, study: str) -> pd.DataFrame:
    return finals if finals.empty else finals[(finals["network"] == network) & (finals["study"] == study)]


def _curves(
    axes: Axes, recorded: RecordedRuns, experiment: Experiment, names: Sequence[str], study: str
) -> list[pd.DataFrame]:
    """Draw the training error of one study: plain networks dashed, residual ones bold."""
    drawn = []
    for name in names:
        line = PLAIN if Architecture.parse(name).kind == "plain" else RESIDUAL
        drawn += draw_curves(axes, recorded, experiment, [name], [line], depth_colour, study)
    return drawn


def _at_start(table: pd.DataFrame, network: str, study: str, quantity: str | None = "error_T") -> pd.DataFrame:
    """Return what was measured before training on a network as it was built, or on all its mixtures."""
    if table.empty:
        return table
    rows = table[(table["network"] == network) & (table["study"] == study) & (table["iteration"] == 0)]
    return rows if quantity is None else rows[(rows["quantity"] == quantity) & (rows["position"] == 0)]
