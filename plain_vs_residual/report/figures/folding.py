"""One architecture, trained as it is and found by folding: a figure that is understood from the last row."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import COLOURS, GREY, Drawn, joined

# Network and study of each column, what it is called, and the colour and the marker of its dots.
COLUMNS = (
    ("cifar-plain56", "", "plain-56,\ntrained as such", COLOURS[1], "X"),
    ("cifar-plain56", "foldable", "plain-56,\ntrained with identities,\nthen folded", COLOURS[2], "o"),
    ("cifar-residual56-A", "", "ResNet-56 A", COLOURS[0], "s"),
)


def folding(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error on all training images of the trained, the folded and the residual network, a dot per seed."""
    figure, axes = plt.subplots(figsize=(13, 8))
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn: list[pd.DataFrame] = []
    labels = []
    for place, (network, study, words, colour, marker) in enumerate(COLUMNS):
        rows = table if table.empty else table[(table["network"] == network) & (table["study"] == study)]
        labels.append(words if len(rows) else f"{words}\n(not measured)")
        if len(rows):
            shown = rows[rows["quantity"] == ("error_folded" if study else "error_trained")]
            axes.plot([place] * len(shown), shown["value"], marker, color=colour, markersize=13, alpha=0.75)
            _write_mean(axes, place, shown["value"].mean())
            drawn.append(shown)
            if study:
                before = rows[rows["quantity"] == "error_trained"]
                ring = {"markersize": 22, "markerfacecolor": "none", "markeredgewidth": 1.5}
                axes.plot([place] * len(before), before["value"], "o", color=GREY, label="before folding", **ring)
                drawn.append(before)
    chance = 100 * (1 - 1 / len(recorded.usual.dataset.classes))
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=2, label=f"guessing ({chance:.0f} %)")
    axes.annotate(
        "the same architecture:\n56 layers, no shortcut",
        xy=(0.5, -0.2),
        xycoords=("data", "axes fraction"),
        ha="center",
        va="top",
        fontsize=17,
        weight="bold",
        annotation_clip=False,
    )
    axes.axvline(1.5, color=GREY, linewidth=1)
    axes.set_xticks(range(len(labels)), labels, fontsize=16)
    axes.set(ylabel="error on all training images (%)", ylim=(0, 100), xlim=(-0.5, len(labels) - 0.5))
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.86))
    return figure, joined(drawn)


def _write_mean(axes: Axes, place: int, mean: float) -> None:
    """Draw the mean as a bar, and write it beside the dots, large enough for the last row."""
    axes.hlines(mean, place - 0.16, place + 0.16, color=GREY, linewidth=3)
    axes.text(place + 0.2, mean, f"{mean:.0f} %", fontsize=26, va="center", parse_math=False)
