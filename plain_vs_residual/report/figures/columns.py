"""Networks side by side, a column each and a dot per seed: figures that are understood from the last row."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING
from plain_vs_residual.report.figures.style import (
    BOLD,
    CURVE,
    GREY,
    SCREEN,
    THIN,
    Drawn,
    chance,
    compare_with,
    depth_colour,
    joined,
)
from plain_vs_residual.settings import find_setting

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
# A network as it is, by its kind; one that was changed, in the colour of its kind.
MARKS = {"plain": "X", "residual": "s", "changed": "o"}
DRAWN = ["network", "study", "seed", TRAINING, "diverged"]


class Column(NamedTuple):
    """A network in a study, where it stands, what its column is called, and what marks a seed."""

    network: str
    study: str
    place: float
    words: str
    mark: str

    @property
    def looks(self) -> dict[str, Any]:
        """How its dots look."""
        return {"color": depth_colour(Architecture.parse(self.network)), "marker": MARKS[self.mark]}


SHORTCUTS = (
    Column(PLAIN, "", 0, "0 x\n(plain-56)", "plain"),
    Column(RESIDUAL, "shortcut-0.5", 1, "0.5 x", "changed"),
    Column(RESIDUAL, "shortcut-0.9", 2, "0.9 x", "changed"),
    Column(RESIDUAL, "", 3, "x itself\n(ResNet-56 A)", "residual"),
    Column(RESIDUAL, "free-streams", 4, "4 streams,\nmixed freely", "changed"),
    Column(RESIDUAL, "doubly-stochastic-streams", 5, "4 streams, mixing\nkept doubly\nstochastic", "changed"),
)
TAILORED = (
    Column(PLAIN, "", 0, "plain-56:\nno shortcut,\nBN, ReLU", "plain"),
    Column(PLAIN, "tailored", 1, "plain-56:\nno shortcut, no BN,\ntailored leaky ReLU", "changed"),
    Column(RESIDUAL, "", 2, "ResNet-56 A:\nshortcuts,\nBN, ReLU", "residual"),
)


def shortcut_scale(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error by what the shortcut carries, and what is left of x after all blocks."""
    figure, axes = plt.subplots(figsize=SCREEN)
    drawn = _draw_columns(axes, recorded, experiment, SHORTCUTS)
    measured = recorded.select(recorded.measured(experiment.measurement), experiment)
    _write(axes, 2.5, -5, "what one x has become after all 27 blocks, F left out:", 16, weight="bold")
    for column in SHORTCUTS:
        rows = measured if measured.empty else _of(measured, column)
        rows = rows if rows.empty else rows[(rows["quantity"] == "row_sum") & (rows["iteration"] > 0)]
        _write(axes, column.place, -13, _on_the_way(rows), 20)
        drawn.append(rows)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set(ylim=(-18, 100))
    axes.set_yticks(range(0, 101, 20))
    return figure, joined(drawn)


def tailored_activations(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error of plain-56 with BN and with tailored activations, and of ResNet-56."""
    figure, axes = plt.subplots(figsize=SCREEN)
    return figure, joined(_draw_columns(axes, recorded, experiment, TAILORED))


def optimizers(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error of plain-56 and ResNet-56 under each optimizer, side by side."""
    figure, axes = plt.subplots(figsize=SCREEN)
    own, *studies = experiment.studies_in(recorded.setting)
    usual = find_setting(recorded.setting).learning_rate
    rates = {"SGD": dict.fromkeys((PLAIN, RESIDUAL), (own.name, usual))}
    for study in studies:
        for network in study.networks:
            name = study.reason.partition(" ")[0]
            rates.setdefault(name, {})[network] = (study.name, study.changes["learning_rate"])
    columns = [
        Column(network, of_network[network][0], number + shift, "", mark)
        for number, of_network in enumerate(rates.values())
        for (network, shift, mark) in ((PLAIN, -0.2, "plain"), (RESIDUAL, 0.2, "residual"))
    ]
    drawn = _draw_columns(axes, recorded, experiment, columns)
    labels = [f"{name}\n(rates {one[PLAIN][1]:g} and {one[RESIDUAL][1]:g})" for name, one in rates.items()]
    axes.set_xticks(range(len(rates)), labels, fontsize=18)
    axes.set_xlim(-0.5, len(rates) - 0.4)
    for column, words in zip(columns[:2], ("plain-56", "ResNet-56 A"), strict=True):
        axes.plot([], [], linestyle="", markersize=13, label=words, **column.looks)
    axes.legend(loc="lower left", fontsize=16)
    return figure, joined(drawn)


def scaled_branches(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error by learning rate: thin as the networks are, bold with scaled branches."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    finals = recorded.select(counted(recorded), experiment)
    studies = experiment.studies_in(recorded.setting)
    of_rate = {one.name: one.changes["learning_rate"] for one in studies}
    rates = sorted(set(of_rate.values()))
    drawn = []
    for axes, modification, title, width in (
        (panels[0], "", "x + F(x)", THIN + 0.5),
        (panels[1], "scaled-branches", "x + F(x) / sqrt(n), n blocks", BOLD + 1),
    ):
        names = [one.name for one in studies if one.changes.get("modification", "") == modification]
        for network, marker in zip(experiment.networks[recorded.setting], "os", strict=True):
            known = Architecture.parse(network)
            looks = {"color": depth_colour(known), "linewidth": width, "marker": marker}
            rows = finals if finals.empty else finals[(finals["network"] == network) & finals["study"].isin(names)]
            if rows.empty:
                axes.plot([], [], label=f"{known.label}: not run", **looks)
                continue
            rows = rows.assign(learning_rate=rows["study"].map(of_rate))
            values = rows.groupby("learning_rate")[TRAINING].agg(["mean", "min", "max"])
            axes.plot(values.index, values["mean"], label=known.label, gid=f"{CURVE}{known.label}", **looks)
            axes.fill_between(values.index, values["min"], values["max"], alpha=0.15, color=looks["color"], lw=0)
            drawn.append(rows[[*DRAWN, "learning_rate"]])
        axes.set(title=title, xlabel="learning rate (logarithmic)", xscale="log", ylim=(0, 100))
        axes.set(xlim=(0.9 * rates[0], rates[-1] / 0.9))
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.legend(fontsize=16)
    panels[0].set(ylabel="training error, last tenth (%)")
    return figure, joined(drawn)


def _draw_columns(
    axes: Axes, recorded: RecordedRuns, experiment: Experiment, columns: Sequence[Column]
) -> list[pd.DataFrame]:
    """Draw a dot per seed in each column, from left to right, with a bar at their mean."""
    finals = recorded.select(counted(recorded), experiment)
    drawn = []
    for column in columns:
        rows = finals if finals.empty else _of(finals, column).sort_values("seed")
        if rows.empty:
            _write(axes, column.place, 50, "not run", 18)
            continue
        places = [column.place + 0.2 * ((number + 0.5) / len(rows) - 0.5) for number in range(len(rows))]
        axes.plot(places, rows[TRAINING], linestyle="", markersize=12, alpha=0.75, **column.looks)
        mean = rows[TRAINING].mean()
        axes.hlines(mean, column.place - 0.13, column.place + 0.13, color=GREY, linewidth=3)
        _write(axes, column.place + 0.15, mean, f"{mean:.0f} %", 22, ha="left")
        drawn.append(rows[DRAWN])
    compare_with(axes, chance(recorded), f"guessing: {chance(recorded):.0f} %")
    last = max(column.place for column in columns)
    axes.set_xticks([column.place for column in columns], [column.words for column in columns], fontsize=17)
    axes.set(ylabel="training error, last tenth (%)", ylim=(0, 100), xlim=(-0.5, last + 0.5))
    axes.grid(visible=False, axis="x")
    return drawn


def _of(table: pd.DataFrame, column: Column) -> pd.DataFrame:
    return table[(table["network"] == column.network) & (table["study"] == column.study)]


def _on_the_way(rows: pd.DataFrame) -> str:
    """Say what the gain is after the last block, and the largest after any if that is larger; mean of seeds."""
    if rows.empty:
        return "not measured"
    by_block = rows.groupby("position")["value"].mean().sort_index()
    last, largest = by_block.iloc[-1], by_block.max()
    return _in_words(last) + (f" (up to {_in_words(largest)})" if largest > max(1.05, 1.05 * last) else "")


def _in_words(gain: float) -> str:
    """Say a factor so that it is read at a glance.

    >>> [_in_words(gain) for gain in (0.0, 0.5**27, 0.058, 1.0, 3.71)]
    ['0', '1 / 134 million', '1 / 17', '1', '3.7']
    """
    if gain <= 0 or gain >= 0.1:
        return f"{gain:.1f}".removesuffix(".0")
    parts = 1 / gain
    return f"1 / {parts / 1e6:.0f} million" if parts > 1e6 else f"1 / {parts:.0f}"


def _write(axes: Axes, x: float, y: float, words: str, size: int, **looks: Any) -> None:
    axes.text(x, y, words, fontsize=size, va="center", parse_math=False, **{"ha": "center"} | looks)
