"""What depth costs against how long was trained, a dot per seed: does the gap close (He et al., footnote 3)?"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import TRAINING
from plain_vs_residual.report.figures.style import BOLD, GREY, MARKERS, SCREEN, SOLID, Drawn, depth_colour, joined

Pair = tuple[Architecture, Architecture]


def gap_by_budget(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the error of the deeper network minus that of the shallower one, by number of iterations.

    A panel per family, a line per kind; what has no run yet is named in the legend.
    """
    finals = recorded.select(counted(recorded), experiment)
    records = recorded.of(experiment)
    budgets = {record.identity[1]: record.run.configuration.iterations or 0 for record in records}
    pairs = _pairs(recorded, experiment)
    families = list(dict.fromkeys(deep.family for _, deep in pairs))
    figure, panels = plt.subplots(1, len(families), figsize=SCREEN, sharex=True, sharey=True, squeeze=False)
    drawn = []
    for axes, family in zip(panels[0], families, strict=True):
        shown = [pair for pair in pairs if pair[1].family == family]
        tables = [_draw_gaps(axes, _gaps(finals, pair), pair, budgets) for pair in shown]
        drawn += [table for table in tables if not table.empty]
        axes.axhline(0, color=GREY, linewidth=1)
        shallow, deep = shown[0]
        axes.set(title=f"{deep.depth} against {shallow.depth} layers", xlabel="iterations of the whole training")
        axes.set_xscale("log")
        ticks = sorted(set(budgets.values()))
        axes.set_xticks(ticks, [f"{number:,}" for number in ticks])
        axes.minorticks_off()
        axes.legend(loc="best")
    panels[0][0].set_ylabel("training error, deeper minus\nshallower network (points)")
    return figure, joined(drawn)


def _pairs(recorded: RecordedRuns, experiment: Experiment) -> list[Pair]:
    """Return the shallowest and the deepest network of each family and kind."""
    grouped: dict[tuple[str, str], list[Architecture]] = {}
    for name in experiment.networks[recorded.setting]:
        one = Architecture.parse(name)
        grouped.setdefault((one.family, one.kind), []).append(one)
    by_depth = (sorted(group, key=lambda one: one.depth) for group in grouped.values())
    return [(group[0], group[-1]) for group in by_depth]


def _gaps(finals: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """Return the difference of every seed of every study that has both networks."""
    if finals.empty:
        return pd.DataFrame(columns=["study", "seed", "gap"])
    shallow, deep = (
        finals[finals["network"] == network.name].set_index(["study", "seed"])[TRAINING] for network in pair
    )
    return (deep - shallow).dropna().rename("gap").reset_index()


def _draw_gaps(axes: Axes, gaps: pd.DataFrame, pair: Pair, budgets: dict[str, int]) -> pd.DataFrame:
    shallow, deep = pair
    colour, marker = depth_colour(deep), MARKERS[deep.option]
    label = f"{deep.label} minus {shallow.label}"
    if gaps.empty:
        axes.plot([], [], SOLID, color=colour, label=f"{label}: not run")
        return gaps
    gaps = gaps.assign(iterations=gaps["study"].map(budgets), deep=deep.name, shallow=shallow.name)
    means = gaps.groupby("iterations")["gap"].mean()
    axes.plot(means.index, means, SOLID, color=colour, linewidth=BOLD, label=label)
    axes.scatter(gaps["iterations"], gaps["gap"], color=[colour], marker=marker, s=75, zorder=3)
    return gaps.sort_values(["iterations", "seed"])
