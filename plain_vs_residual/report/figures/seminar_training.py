"""Figures of the seminar's experiments that train networks of their own: at other rates, with cures."""

import math

import matplotlib.pyplot as plt
import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING, VALIDATION
from plain_vs_residual.report.figures.style import (
    BOLD,
    CURVE,
    DASHED,
    GREY,
    SCREEN,
    SMALLEST,
    THIN,
    Drawn,
    chance,
    compare_with,
    depth_colour,
    joined,
    network_line,
)


def learning_rates(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw final errors against the learning rate."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharey=True)
    finals = recorded.select(counted(recorded), experiment)
    if not finals.empty:
        rates = {study.name: study.changes["learning_rate"] for study in experiment.studies_in(recorded.setting)}
        finals = finals.assign(learning_rate=finals["study"].map(rates))
    drawn = []
    for name in experiment.networks[recorded.setting]:
        architecture = Architecture.parse(name)
        rows = finals if finals.empty else finals[finals["network"] == name]
        line = network_line(architecture, experiment)
        for axes, column in zip(panels, (TRAINING, VALIDATION), strict=True):
            if rows.empty:
                axes.plot([], [], **line | {"label": f"{architecture.label}: not run"})
                continue
            values = rows.groupby("learning_rate")[column].agg(["mean", "min", "max"])
            gid = f"{CURVE}{architecture.label}"
            axes.plot(values.index, values["mean"], marker="o", markersize=10, gid=gid, **line)
            band = values.index, values["min"], values["max"]
            axes.fill_between(*band, alpha=0.12, color=line["color"], lw=0, gid=gid)
        drawn.append(rows)
    for axes, part in zip(panels, ("training", recorded.validation_name(experiment)), strict=True):
        axes.set(
            title=f"{part} error, at the end", xlabel="learning rate (logarithmic)", xscale="log", ylim=(0, 100)
        )
        if not finals.empty:
            used = sorted(finals["learning_rate"].unique())
            axes.set_xticks(used, [f"{rate:g}" for rate in used], fontsize=SMALLEST)
            axes.minorticks_off()
        compare_with(axes, chance(recorded), f"guessing: {chance(recorded):.0f} %")
    panels[0].set(ylabel="error (%)")
    panels[0].legend()
    return figure, joined(drawn)


def cures(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the final training error with each change as a row, a mark per seed."""
    finals = recorded.select(counted(recorded), experiment)
    own, *studies = experiment.studies_in(recorded.setting)
    figure, axes = plt.subplots(figsize=SCREEN)
    means = {}
    for name in experiment.networks[recorded.setting]:
        rows = _of(finals, name, own.name)
        architecture = Architecture.parse(name)
        colour = depth_colour(architecture)
        label = architecture.label if len(rows) else f"{architecture.label}: not run"
        if len(rows):
            means[name] = rows[TRAINING].mean()
            axes.axvspan(rows[TRAINING].min(), rows[TRAINING].max(), color=colour, alpha=0.12, linewidth=0)
        axes.axvline(means.get(name, math.nan), color=colour, linestyle=DASHED, linewidth=BOLD, label=label)
    if len(means) > 1:
        axes.axvline(
            sum(means.values()) / 2, color=GREY, linestyle=DASHED, linewidth=THIN, label="half of the gap"
        )
    names = []
    for place, study in enumerate(studies):
        (network,) = study.networks
        architecture = Architecture.parse(network)
        rows = _of(finals, network, study.name)
        names.append(f"{architecture.label}, {study.name}" + ("" if len(rows) else ": not run"))
        if len(rows):
            marker = "X" if architecture.kind == "plain" else "o"
            colour = depth_colour(architecture)
            axes.plot(rows[TRAINING], [place] * len(rows), marker, color=colour, markersize=10, alpha=0.6)
            axes.plot(rows[TRAINING].mean(), place, "|", color=colour, markersize=34, markeredgewidth=4)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="training error at the end (%)", xlim=(0, 100))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)
    return figure, finals


def _of(finals: pd.DataFrame, network: str, study: str) -> pd.DataFrame:
    return finals if finals.empty else finals[(finals["network"] == network) & (finals["study"] == study)]
