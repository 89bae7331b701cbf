"""Two results in one figure: the curves of every network over each other, and the differences seed by seed."""

import math
from collections.abc import Sequence
from typing import Protocol

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING
from plain_vs_residual.report.figures.style import (
    BOLD,
    DASHED,
    GREY,
    SCREEN,
    SOLID,
    THIN,
    Drawn,
    depth_colour,
    joined,
)

COLUMNS = 3


class Difference(Protocol):
    """What is drawn of a difference."""

    @property
    def network(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def paired(self) -> Measurement: ...


def comparison_figure(
    before: RecordedRuns,
    after: RecordedRuns,
    common: Sequence[tuple[str, str, int]],
    differences: Sequence[Difference],
) -> Drawn:
    """Training error of each network before (dashed) and after (bold); last, after minus before for every seed."""
    networks = list(dict.fromkeys(identity[:2] for identity in common))
    rows = math.ceil((len(networks) + 1) / COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(SCREEN[0], SCREEN[1] * max(1.0, rows / 2)), squeeze=False)
    panels = list(grid.flat)
    drawn = []
    for axes, (network, study) in zip(panels, networks, strict=False):
        seeds = {identity[2] for identity in common if identity[:2] == (network, study)}
        for side, recorded in (("before", before), ("after", after)):
            curve = _mean_curve(recorded, network, study, seeds)
            _draw_curve(axes, curve, side, Architecture.parse(network))
            drawn.append(curve.reset_index().assign(network=network, study=study, results=side))
        title = Architecture.parse(network).label + (f", {study}" if study else "")
        axes.set(title=title, xlabel="iteration", ylabel="training error (%)", ylim=(0, 100))
        axes.legend()
    _draw_differences(panels[len(networks)], [one for one in differences if one.column == TRAINING])
    for unused in panels[len(networks) + 1 :]:
        unused.set_axis_off()
    return figure, joined(drawn)


def _draw_curve(axes: Axes, curve: pd.DataFrame, side: str, architecture: Architecture) -> None:
    """Draw the mean over seeds and a band for their range: dashed grey before, bold in colour after."""
    style, width, colour = (DASHED, THIN, GREY) if side == "before" else (SOLID, BOLD, depth_colour(architecture))
    axes.plot(curve.index, curve["mean"], style, linewidth=width, color=colour, label=side)
    axes.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.12, linewidth=0)


def _draw_differences(axes: Axes, differences: Sequence[Difference]) -> None:
    """Draw a row per network: the interval of its mean difference, and a dot for each seed."""
    for place, one in enumerate(differences):
        axes.plot(one.paired.interval, (place, place), color=GREY, linewidth=BOLD)
        axes.plot(list(one.paired.values.values()), [place] * one.paired.num, "o", color=GREY, alpha=0.5)
        axes.plot(one.paired.mean, place, "|", color="black", markersize=24, markeredgewidth=3)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(differences)), [one.network for one in differences])
    axes.invert_yaxis()
    axes.set(title="after minus before (95 %)", xlabel="training error (points)")


def _mean_curve(recorded: RecordedRuns, network: str, study: str, seeds: set[int]) -> pd.DataFrame:
    curves = recorded.training_curves
    chosen = (curves["network"] == network) & (curves["study"] == study) & curves["seed"].isin(seeds)
    return curves[chosen].groupby("iteration")[TRAINING].agg(["mean", "min", "max"])
