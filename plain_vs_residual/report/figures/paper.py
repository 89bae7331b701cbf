"""The paper's error curves (He et al., Figs. 1, 4 and 6; footnote 3), but for one thing: training error is bold.

In the paper it is thin in Fig. 4, thin and dashed in Fig. 6, and the validation or test error is bold.
"""

import matplotlib.pyplot as plt

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.curves import (
    TRAINED,
    TRAINING,
    VALIDATED,
    VALIDATION,
    Line,
    draw_curves,
    enlarge_end,
    label_ends,
    limit_error_axis,
)
from plain_vs_residual.report.figures.style import DASHED, GREY, SCREEN, THIN, Drawn, depth_colour, joined

KINDS = {"plain": "plain", "residual": "residual (ResNet)"}


def depth_curves(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw error curves of plain networks left, of residual ones right (Fig. 4)."""
    return _plain_and_residual(recorded, experiment)


def cifar_curves(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw error curves of plain networks left, of residual ones right (Fig. 6)."""
    return _plain_and_residual(recorded, experiment)


def _plain_and_residual(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    lines = (TRAINED, VALIDATED)
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    drawn = []
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        names = _names(recorded, experiment, kind)
        drawn.append(draw_curves(axes, recorded, experiment, names, lines, depth_colour))
        axes.set(title=title, xlabel="iteration")
    panels[0].set_ylabel("error (%)")
    limit_error_axis(panels[0], [table for tables in drawn for table in tables])
    for axes, tables in zip(panels, drawn, strict=True):
        label_ends(axes, tables, depth_colour, TRAINING)
        colours = [depth_colour(Architecture.parse(table["network"].iloc[0])) for table in tables]
        enlarge_end(axes, tables, lines, colours)
    return figure, joined([table for tables in drawn for table in tables])


def _names(recorded: RecordedRuns, experiment: Experiment, kind: str) -> list[str]:
    return [name for name in experiment.networks[recorded.setting] if Architecture.parse(name).kind == kind]


def training_and_test(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error of two plain networks left, their validation error right (Fig. 1)."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    drawn = []
    names = [name for name in experiment.networks[recorded.setting] if name in ("cifar-plain20", "cifar-plain56")]
    titles = {TRAINING: "training error", VALIDATION: f"{recorded.validation_name(experiment)} error"}
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        drawn.append(
            draw_curves(
                axes, recorded, experiment, names, (TRAINED if column == TRAINING else VALIDATED,), depth_colour
            )
        )
        axes.set(title=title, xlabel="iteration")
    panels[0].set_ylabel("error (%)")
    limit_error_axis(panels[0], [table for tables in drawn for table in tables])
    for axes, tables, column in zip(panels, drawn, titles, strict=True):
        label_ends(axes, tables, depth_colour, column)
    return figure, joined([table for tables in drawn for table in tables])


def longer_curves(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the training error of two budgets over each other (footnote 3)."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True, sharey=True)
    usual, *longer = experiment.studies_in(recorded.setting)
    lines = [(usual, Line(TRAINING, DASHED, THIN)), *((study, TRAINED) for study in longer)]
    drawn = []
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        names = _names(recorded, experiment, kind)
        for study, line in lines:
            tables = draw_curves(axes, recorded, experiment, names, (line,), depth_colour, study.name)
            drawn += [table.assign(study=study.name) for table in tables]
            words = study.reason.partition(":")[0] or "usual number of iterations"
            axes.plot([], [], line.style, linewidth=line.width, color=GREY, label=words)
        axes.set(title=title, xlabel="iteration")
        axes.legend(loc="lower left")
    panels[0].set_ylabel("training error (%)")
    limit_error_axis(panels[0], drawn)
    last = (usual, *longer)[-1]
    for axes, kind in zip(panels, KINDS, strict=True):
        ends = [
            table for table in drawn if table["study"].iloc[0] == last.name and kind in table["network"].iloc[0]
        ]
        label_ends(axes, ends, depth_colour, TRAINING)
    return figure, joined(drawn)
