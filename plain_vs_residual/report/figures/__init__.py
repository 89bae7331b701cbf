"""Figures, each with the CSV of what is drawn; drawn from records alone."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from plain_vs_residual.evidence.verdicts import Verdict
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.finals import final_errors, shortcut_options
from plain_vs_residual.report.figures.forest import FIGURE, LEGEND, forest
from plain_vs_residual.report.figures.landscape import loss_landscape
from plain_vs_residual.report.figures.paper import cifar_curves, depth_curves, longer_curves, training_and_test
from plain_vs_residual.report.figures.responses import layer_responses
from plain_vs_residual.report.figures.seminar import (
    gradient_norms,
    lesions,
    path_lengths,
    residual_functions,
    shattered_gradients,
    signal_propagation,
)
from plain_vs_residual.report.figures.seminar_training import construction, cures, learning_rates
from plain_vs_residual.report.figures.studies import (
    confusion,
    error_and_loss,
    first_iterations,
    input_scaling_grid,
)
from plain_vs_residual.report.figures.style import Drawn, write_figure

# Drawn as a line, the mean over seeds, in a band, their range.
ERROR_CURVES = (depth_curves, cifar_curves, training_and_test, longer_curves, shortcut_options)
SEMINAR = (
    construction,
    learning_rates,
    gradient_norms,
    shattered_gradients,
    lesions,
    signal_propagation,
    path_lengths,
    loss_landscape,
)
CURVES = (*ERROR_CURVES, layer_responses, error_and_loss, *SEMINAR)
OTHERS = (final_errors, confusion, input_scaling_grid, first_iterations, residual_functions, cures)
FIGURES: dict[str, Callable[[RecordedRuns, Experiment], Drawn]] = {
    function.__name__: function for function in (*CURVES, *OTHERS)
}


def draw_all(recorded: RecordedRuns, experiments: Iterable[Experiment], folder: Path) -> list[Path]:
    """Draw every experiment of which there is a run; returns the PNG files in the order of the experiments."""
    return [
        draw(recorded, experiment, name, folder)
        for experiment in experiments
        if recorded.shows(experiment)
        for name in experiment.figures
    ]


def draw(recorded: RecordedRuns, experiment: Experiment, name: str, folder: Path) -> Path:
    """Draw one figure of an experiment as PNG, SVG and CSV; returns the PNG's path.

    Raises:
        ValueError: if there is no figure of that name.
    """
    if name not in FIGURES:
        raise ValueError(f"experiment {experiment.name}: no figure '{name}'; accepted are {', '.join(FIGURES)}")
    make = partial(FIGURES[name], recorded, experiment)
    return write_figure(make, _caption(recorded, experiment, name), folder, figure_stem(experiment, name))


def draw_claims(recorded: RecordedRuns, verdicts: Sequence[Verdict], folder: Path, stem: str = FIGURE) -> Path:
    """Draw the forest plot of claims as PNG, SVG and CSV; returns the PNG's path."""
    caption = f"{recorded.dataset}, setting {recorded.setting}; {LEGEND}"
    return write_figure(partial(forest, verdicts), caption, folder, stem)


def claims_stem(experiment: Experiment) -> str:
    """Return the file name of the forest plot of one experiment, without its ending."""
    return f"{experiment.name}-claims"


def figure_stem(experiment: Experiment, name: str) -> str:
    """Return the file name of a figure, without its ending: the experiment's own for its first figure."""
    return experiment.name if name == experiment.figures[0] else f"{experiment.name}-{name}"


def _caption(recorded: RecordedRuns, experiment: Experiment, name: str) -> str:
    finals = recorded.select(recorded.finals, experiment)
    if experiment.measurement and not finals.empty:
        table = recorded.measured(experiment.measurement)
        identities = ["network", "study", "seed"]
        finals = finals.merge(table[identities].drop_duplicates()) if not table.empty else finals[:0]
    counts = set(finals[["network", "study"]].value_counts()) if not finals.empty else {0}
    seeds = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    plural = "s" if counts != {1} else ""
    shown = ""
    if max(counts) > 1 and FIGURES[name] in CURVES:
        shown = (
            " (mean, and range of the training error)" if FIGURES[name] in ERROR_CURVES else " (mean and range)"
        )
    parts = [f"{recorded.dataset}, setting {recorded.setting}", f"{seeds} seed{plural}{shown}"]
    run = recorded.usual
    # A study has another budget than the one of which the setting warns.
    reasons = [study.reason for study in experiment.studies_in(recorded.setting) if study.reason]
    caveats = (reasons[0] if reasons else run.caveat, run.dataset.caveat)
    return "; ".join([*parts, *(caveat.split(":")[0] for caveat in caveats if caveat)])
