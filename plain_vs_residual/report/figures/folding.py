"""One architecture, trained as it is and found by folding: a figure that is understood from the last row."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import GREY, SCREEN, Drawn, chance, compare_with, depth_colour, joined

# Network and study of each column, what it is called, and the mark of a seed.
COLUMNS = (
    ("cifar-plain56", "", "plain-56,\ntrained as such", "X"),
    ("cifar-plain56", "foldable", "plain-56, trained\nwith identities,\nthen folded", "o"),
    ("cifar-residual56-A", "", "ResNet-56 A", "s"),
)
DOTS: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 13}
RINGS: dict[str, Any] = {**DOTS, "markersize": 22, "color": GREY, "markerfacecolor": "none"}


def folding(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error on training images of the trained, the folded and the residual network, a dot per seed."""
    figure, axes = plt.subplots(figsize=SCREEN)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn: list[pd.DataFrame] = []
    labels = []
    for place, (network, study, words, marker) in enumerate(COLUMNS):
        rows = table if table.empty else table[(table["network"] == network) & (table["study"] == study)]
        labels.append(words)
        if rows.empty:
            _write(axes, place, 50, "not measured", 18)
        else:
            shown = rows[rows["quantity"] == ("error_folded" if study else "error_trained")]
            _draw(
                axes, place, shown, DOTS | {"marker": marker, "color": depth_colour(Architecture.parse(network))}
            )
            axes.hlines(shown["value"].mean(), place - 0.16, place + 0.16, color=GREY, linewidth=3)
            _write(axes, place + 0.2, shown["value"].mean(), f"{shown['value'].mean():.0f} %", 26, ha="left")
            drawn.append(shown)
            if study:
                before = rows[rows["quantity"] == "error_trained"]
                _draw(axes, place, before, RINGS | {"label": "before folding"})
                drawn.append(before)
    compare_with(axes, chance(recorded), f"guessing: {chance(recorded):.0f} %")
    _write(axes, 0.5, 95, "one architecture: 56 layers, no shortcut", 19, weight="bold")
    axes.axvline(1.5, color=GREY, linewidth=1)
    axes.set_xticks(range(len(labels)), labels, fontsize=18)
    axes.set(ylabel="error on all training images (%)", ylim=(0, 100), xlim=(-0.5, len(labels) - 0.5))
    axes.grid(visible=False, axis="x")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower center", fontsize=16)
    return figure, joined(drawn)


def _draw(axes: Axes, place: int, rows: pd.DataFrame, looks: dict[str, Any]) -> None:
    """Draw a dot per seed around the middle of a column, seeds from left to right."""
    ordered = rows.sort_values("seed")["value"]
    places = [place + 0.3 * ((number + 0.5) / len(ordered) - 0.5) for number in range(len(ordered))]
    axes.plot(places, ordered, **looks)


def _write(axes: Axes, x: float, y: float, words: str, size: int, **looks: Any) -> None:
    axes.text(x, y, words, fontsize=size, va="center", parse_math=False, **{"ha": "center"} | looks)
