"""What was measured on one network from anywhere: drawn as its experiment draws it, or quantity by quantity.

An experiment's figure compares the networks that it names. Of most of them a part is left that shows one network;
those that show the way of a training, or networks by their names, are drawn here instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import EXPERIMENTS, load_experiment
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import DatasetRecord, RunRecord
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.records.store import Record
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.report.figures.style import BOLD, THIN, Drawn, depth_colour, write_figure

AS_ITS_EXPERIMENT = ("lesions", "shattered_gradients", "signal_propagation", "path_lengths", "loss_landscape")
WORDS = {
    "output": "gradient at a layer's output (norm)",
    "weight": "gradient at a layer's weights (norm)",
    "weights": "a layer's weights (norm)",
    "ratio": "RMS of F(x) over RMS of x",
    "cosine": "cosine of F(x) and x",
    "error_trained": "as it was trained",
    "error_folded": "folded: biases, no BN",
}


@dataclass(frozen=True, kw_only=True)
class OneNetwork(RecordedRuns):
    """One measured network in the form in which figures ask for recorded runs.

    Attributes:
        table: what was measured, as :meth:`RecordedRuns.measured` returns it.
    """

    table: pd.DataFrame

    def measured(self, measurement: str) -> pd.DataFrame:
        return self.table


def one_network(
    architecture: Architecture, setting: str, classes: Sequence[str], table: pd.DataFrame
) -> OneNetwork:
    """Make up the record of a run: figures ask it for its network and the classes, and for nothing else."""
    construct: dict[str, Any] = {"images": DatasetRecord.model_construct, "run": RunRecord.model_construct}
    images = construct["images"](name="", caveat="", classes=list(classes))
    run = construct["run"](
        network=architecture.name, label=architecture.label, setting=setting, study="", dataset=images
    )
    return OneNetwork(setting, "", (Record(RunFolder(Path()), run, None),), table=table)


def draw_measured(
    measurement: str, architecture: Architecture, one: OneNetwork, caption: str, folder: Path
) -> Iterator[Path]:
    """Draw what was measured on one network as PNG and SVG, with all numbers as CSV; yield the PNGs' paths.

    Args:
        measurement: its name, which is that of the files.
        architecture: of the network.
        one: what was measured.
        caption: stands above each figure.
        folder: where they go.
    """
    drawings = {measurement: partial(_by_quantity, architecture, one.table)}
    if measurement in AS_ITS_EXPERIMENT:
        declared = load_experiment(EXPERIMENTS / f"{measurement}.py")
        networks = {one.setting: (architecture.name,)}
        experiment = replace(declared, networks=networks, studies={}, claims=(), measurement=measurement)
        drawings = {
            name if name == measurement else f"{measurement}-{name}": partial(FIGURES[name].draw, one, experiment)
            for name in declared.figures
        }
    for stem, draw in drawings.items():
        yield write_figure(partial(_with_all_numbers, draw, one.table), caption, folder, stem)


def _with_all_numbers(draw: "partial[Drawn]", table: pd.DataFrame) -> Drawn:
    figure, _ = draw()
    return figure, table


def _by_quantity(architecture: Architecture, table: pd.DataFrame) -> Drawn:
    """Draw a panel per quantity, from the input on: dashed before training, solid after it."""
    if table["position"].nunique() == 1:
        return _errors(architecture, table)
    quantities = list(table["quantity"].unique())
    figure, panels = plt.subplots(1, len(quantities), figsize=(8 * len(quantities), 7.5), squeeze=False)
    for axes, quantity in zip(panels[0], quantities, strict=True):
        values = table[table["quantity"] == quantity]
        for moment, rows in values.groupby("moment", sort=False):
            before = moment == "untrained"
            looks = {"linestyle": "--" if before else "-", "linewidth": THIN if before else BOLD}
            axes.plot(rows["position"], rows["value"], color=depth_colour(architecture), label=moment, **looks)
        axes.set(title=WORDS.get(quantity, quantity), xlabel="layer or block, from the input")
        if 0 < 20 * values["value"].min() < values["value"].max():
            axes.set_yscale("log")
        axes.legend()
    return figure, table


def _errors(architecture: Architecture, table: pd.DataFrame) -> Drawn:
    figure, axes = plt.subplots(figsize=(10, 7))
    shown = table[table["quantity"].str.startswith("error")]
    words = [WORDS.get(quantity, quantity) for quantity in shown["quantity"]]
    bars = axes.bar(words, shown["value"], color=depth_colour(architecture), width=0.5)
    axes.bar_label(bars, labels=[f"{value:.1f} %" for value in shown["value"]], fontsize=20, padding=4)
    axes.set(ylabel="error on all training images (%)", ylim=(0, 100), title=architecture.label)
    return figure, table
