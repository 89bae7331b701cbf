"""Training that starts from the solution by construction (He et al., Sec. 1), and how wide its valley is."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINED, TRAINING, Line, draw_curves, write_at_ends
from plain_vs_residual.report.figures.style import (
    BOLD,
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
)

BUILT = "cifar-plain56"
GROWN, SLOW, TWICE = "grown", "grown-slow", "twice"
# How BN normalises; the letters are those of the records.
MODES = {
    "E": ("by its running statistics", "o"),
    "R": ("by statistics estimated anew", "s"),
    "T": ("by the batch, as in training", "^"),
}
FROM_SCRATCH = Line(TRAINING, DASHED, THIN)


def construction(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training that starts from the construction, plain left and residual right."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    drawn = []
    for axes, kind in zip(panels, ("plain", "residual"), strict=True):
        names = [name for name in experiment.networks[recorded.setting] if kind in name]
        scratch = [name for name in names if name == BUILT]
        curves = draw_curves(axes, recorded, experiment, scratch, [FROM_SCRATCH], depth_colour, "")
        drawn += [one.assign(study="") for one in curves]
        drawn += _trained_on(axes, recorded, experiment, names, GROWN, table, curves)
        axes.set(title=f"{kind}: built from {_label(names[0])}", xlabel="iteration")
    drawn += _control(panels[0], recorded, experiment)
    panels[0].set(ylabel="training error (%)")
    panels[0].set_xlim(left=0)
    return figure, joined(drawn)


def construction_valley(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training from the construction at a tenth of the rate, and errors of mixtures before training."""
    figure, (slowly, mixed) = plt.subplots(1, 2, figsize=SCREEN, sharey=True)
    table = recorded.select(recorded.measured(experiment.measurement), experiment)
    (names,) = (list(one.grown_from) for one in experiment.studies_in(recorded.setting) if one.name == SLOW)
    drawn = _trained_on(slowly, recorded, experiment, names, SLOW, table)
    slowly.set(title="trained on at a tenth of the rate", xlabel="iteration", ylabel="training error (%)")
    slowly.set_xlim(left=0)
    drawn += _mixtures(mixed, _before_training(table, BUILT, GROWN))
    compare_with(mixed, chance(recorded), "guessing")
    return figure, joined(drawn)


def _trained_on(
    axes: Axes,
    recorded: RecordedRuns,
    experiment: Experiment,
    names: Sequence[str],
    study: str,
    table: pd.DataFrame,
    scratch: Sequence[pd.DataFrame] = (),
) -> list[pd.DataFrame]:
    """Draw networks from a mark at the error that they were given, and write at all ends what they are."""
    curves = draw_curves(axes, recorded, experiment, names, [TRAINED], depth_colour, study)
    marks = []
    for name in names:
        built = _before_training(table, name, study)
        if not built.empty:
            given = built[(built["quantity"] == "error_T") & (built["position"] == 0)]
            error, colour = given["value"].mean(), depth_colour(Architecture.parse(name))
            axes.plot([0], [error], "o", markersize=16, color=colour, clip_on=False, zorder=5)
            _point_at(axes, error, "what they were given")
            marks.append(given[["network", "study", "seed", "iteration"]].assign(given_error=given["value"]))
    axes.set_ylim(0, 100)
    deepest = max(Architecture.parse(name).depth for name in names)
    words = {True: "{}, built", False: "{} itself"}
    ends = [(one, words[Architecture.parse(_name(one)).depth == deepest]) for one in curves]
    ends += [(one, "{} from scratch") for one in scratch]
    write_at_ends(axes, [(said.format(_label(_name(one))), one, depth_colour) for one, said in ends])
    compare_with(axes, chance(recorded), f"guessing: {chance(recorded):.0f} %")
    return [*(one.assign(study=study) for one in curves), *marks]


def _point_at(axes: Axes, error: float, words: str) -> None:
    """Write words below the beginning of the curves, with an arrow to an error there; once in a panel."""
    if not any(text.get_text() == words for text in axes.texts):
        arrow = {"arrowstyle": "->", "color": GREY, "linewidth": THIN}
        looks: dict[str, Any] = {"textcoords": "offset points", "color": GREY, "va": "center", "arrowprops": arrow}
        axes.annotate(words, (0, error), xytext=(40, -105), fontsize=SMALLEST + 1, **looks)


def _name(drawn: pd.DataFrame) -> str:
    return str(drawn["network"].iloc[0])


def _label(name: str) -> str:
    return Architecture.parse(name).label


def _control(axes: Axes, recorded: RecordedRuns, experiment: Experiment) -> list[pd.DataFrame]:
    """Draw where drawn weights end after as many iterations as both trainings of a grown network."""
    finals = recorded.select(counted(recorded), experiment)
    ends = finals if finals.empty else finals[(finals["network"] == BUILT) & (finals["study"] == TWICE)]
    if ends.empty:
        axes.plot([], [], color=GREY, linestyle=DASHED, label="from scratch, twice as long: not run")
        axes.legend(loc="lower left", fontsize=SMALLEST)
        return []
    colour, error = depth_colour(Architecture.parse(BUILT)), ends[TRAINING].mean()
    compare_with(axes, error, f"from scratch, twice as long: {error:.0f} %", colour=colour)
    return [ends[["network", "study", "seed", TRAINING]]]


def _mixtures(axes: Axes, built: pd.DataFrame) -> list[pd.DataFrame]:
    """Draw the error before training by the share of drawn weights in what was added, for each way of BN."""
    colour = depth_colour(Architecture.parse(BUILT))
    drawn = []
    for mode, (words, marker) in MODES.items():
        rows = built if built.empty else built[built["quantity"] == f"error_{mode}"]
        if rows.empty:
            axes.plot([], [], color=colour, marker=marker, label=f"{words}: not measured")
            continue
        values = rows.groupby("position")["value"].agg(["mean", "min", "max"])
        looks: dict[str, Any] = {"linewidth": BOLD, "marker": marker, "markersize": 11}
        axes.plot(values.index, values["mean"], color=colour, label=words, **looks)
        axes.fill_between(values.index, values["min"], values["max"], alpha=0.15, color=colour, linewidth=0)
        drawn.append(rows)
    axes.set(title="before training, mixed with drawn weights", ylim=(0, 100))
    axes.set(xlabel="share of drawn weights in what was added")
    axes.legend(loc="lower right", title="BN normalises")
    return drawn


def _before_training(table: pd.DataFrame, network: str, study: str) -> pd.DataFrame:
    """Return what was measured on a network as it was built, and on its mixtures with drawn weights."""
    if table.empty:
        return table
    return table[(table["network"] == network) & (table["study"] == study) & (table["iteration"] == 0)]
