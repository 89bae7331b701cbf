"""Figures of the seminar's experiments that train networks of their own: built, at other rates, with cures."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING, VALIDATION, Line, draw_curves, label_ends
from plain_vs_residual.report.figures.style import BOLD, COLOURS, CURVE, GREY, THIN, Drawn, depth_colour, joined

PLAIN, RESIDUAL = Line(TRAINING, "--", THIN + 0.5), Line(TRAINING, "-", BOLD - 0.5)
BUILT, TWICE = "cifar-plain56", "twice"
MODES = {"E": "running statistics (E)", "R": "estimated anew (R)", "T": "by the batch (T)"}


def construction(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training that starts from the construction, at two rates, and the errors of mixtures."""
    figure, panels = plt.subplots(1, 3, figsize=(24, 8))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = [*_from_drawn_weights(panels[0], recorded, experiment), *_control(panels[0], recorded, experiment)]
    titles = ("the recipe", "a tenth of the rate")
    for axes, study, title in zip(panels, experiment.studies_in(recorded.setting)[1:], titles, strict=False):
        axes.set(title=f"trained on: {title}", xlabel="iteration", ylabel="training error (%)", ylim=(0, 100))
        drawn += _trained_on(axes, recorded, experiment, study, table)
    drawn += _mixtures(panels[2], _before_training(table, BUILT, "grown"))
    return figure, joined(drawn)


def _from_drawn_weights(axes: Axes, recorded: RecordedRuns, experiment: Experiment) -> list[pd.DataFrame]:
    """Draw the network that is built elsewhere, as it trains from drawn weights: dotted, for comparison."""
    names = [name for name in experiment.networks[recorded.setting] if name == BUILT]
    curves = _curves(axes, recorded, experiment, names, "")
    for line in axes.get_lines():
        line.set(color=GREY, linestyle=":", label="plain-56, drawn weights" if curves else line.get_label())
    return [one.assign(study="") for one in curves]


def _control(axes: Axes, recorded: RecordedRuns, experiment: Experiment) -> list[pd.DataFrame]:
    """Draw where drawn weights end after as many iterations as both trainings of a grown network."""
    finals = recorded.select(counted(recorded), experiment)
    ends = finals if finals.empty else finals[(finals["network"] == BUILT) & (finals["study"] == TWICE)]
    if ends.empty:
        axes.plot([], [], color=GREY, linestyle="-.", label="drawn weights, twice as long: not run")
        return []
    label = "drawn weights, after twice as many iterations"
    axes.axhline(ends[TRAINING].mean(), color=GREY, linestyle="-.", linewidth=THIN, label=label)
    return [ends[["network", "study", "seed", TRAINING]]]


def _trained_on(
    axes: Axes, recorded: RecordedRuns, experiment: Experiment, study: Study, table: pd.DataFrame
) -> list[pd.DataFrame]:
    """Draw the training of the networks that were built, from a mark at the error that they were given."""
    names = [name for name in experiment.networks[recorded.setting] if name in study.grown_from]
    curves = _curves(axes, recorded, experiment, names, study.name)
    for name in names:
        built = _before_training(table, name, study.name)
        if not built.empty:
            error = built["value"][(built["quantity"] == "error_T") & (built["position"] == 0)].mean()
            colour = depth_colour(Architecture.parse(name))
            axes.plot([0], [error], "o", markersize=12, color=colour, clip_on=False, zorder=5)
    axes.set_xlim(left=0)
    label_ends(axes, curves, depth_colour, TRAINING)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper right")
    return [one.assign(study=study.name) for one in curves]


def _mixtures(axes: Axes, built: pd.DataFrame) -> list[pd.DataFrame]:
    """Draw the error before training by the share of drawn weights in what was added, for each way of BN."""
    colour = depth_colour(Architecture.parse(BUILT))
    drawn = []
    for (mode, words), style in zip(MODES.items(), ("-", "--", ":"), strict=True):
        rows = built if built.empty else built[built["quantity"] == f"error_{mode}"]
        if rows.empty:
            axes.plot([], [], style, color=GREY, label=f"{words}: not measured")
            continue
        values = rows.groupby("position")["value"].agg(["mean", "min", "max"])
        axes.plot(values.index, values["mean"], style, color=colour, linewidth=BOLD, marker="o", label=words)
        axes.fill_between(values.index, values["min"], values["max"], alpha=0.15, color=GREY, linewidth=0)
        drawn.append(rows)
    axes.set(title="built plain-56 before training, mixed", xlabel="share of drawn weights in what was added")
    axes.set(ylabel="training error (%)", ylim=(0, 100))
    axes.legend(loc="lower right")
    return drawn


def _before_training(table: pd.DataFrame, network: str, study: str) -> pd.DataFrame:
    """Return what was measured on a network as it was built, and on its mixtures with drawn weights."""
    if table.empty:
        return table
    return table[(table["network"] == network) & (table["study"] == study) & (table["iteration"] == 0)]


def learning_rates(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw final errors against the learning rate."""
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
    """Draw the final training error with each change as a row, a mark per seed."""
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
