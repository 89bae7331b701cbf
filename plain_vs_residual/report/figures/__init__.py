"""Figures, each with the CSV of what is drawn; drawn from records alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.budgets import gap_by_budget
from plain_vs_residual.report.figures.columns import (
    optimizers,
    scaled_branches,
    shortcut_scale,
    tailored_activations,
)
from plain_vs_residual.report.figures.finals import final_errors, shortcut_options
from plain_vs_residual.report.figures.folding import folding
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

# What a line is, and the band around it, where several seeds are drawn together.
OF_TRAINING = "mean, and range of the training error"
OF_ALL = "mean and range"


@dataclass(frozen=True)
class Figure:
    """A figure that an experiment can name.

    Attributes:
        draw: returns it, with the table of what is drawn.
        caption: what stands below it; ``{validation}`` becomes what the validation images are called.
        lines: what its lines are; empty if it has none.
    """

    draw: Callable[[RecordedRuns, Experiment], Drawn]
    caption: str
    lines: str = ""

    def words(self, recorded: RecordedRuns, experiment: Experiment) -> str:
        """Return the caption for these runs."""
        return self.caption.format(validation=recorded.validation_name(experiment))


DECLARED = (
    Figure(
        depth_curves,
        "Fig. 4: thin = training error, bold = {validation} error; plain left, residual right, shared axes.",
        OF_TRAINING,
    ),
    Figure(
        cifar_curves,
        "Fig. 6: dashed = training error, bold = {validation} error; plain left, residual right, shared axes.",
        OF_TRAINING,
    ),
    Figure(
        training_and_test,
        "Fig. 1: plain networks of 20 and 56 layers, training error left, {validation} error right.",
        OF_TRAINING,
    ),
    Figure(
        longer_curves,
        "Footnote 3: training error with the usual number of iterations (dashed) and with more (solid).",
        OF_TRAINING,
    ),
    Figure(
        shortcut_options,
        "Table 3 as curves (thin = training, bold = {validation}) and as final errors, "
        "with what each option costs.",
        OF_TRAINING,
    ),
    Figure(
        layer_responses,
        "Fig. 7: standard deviation of each layer's response; left with BN's running statistics (E), right with "
        "statistics estimated anew on the same images (R); in the middle sorted; below, F(x) against x block by "
        "block.",
        OF_ALL,
    ),
    Figure(
        error_and_loss,
        "Error and loss against epochs: thin = training, bold = {validation}; dotted: the learning rate's drops.",
        OF_ALL,
    ),
    Figure(
        construction,
        "Training error from the construction on, at two rates; the error of mixtures before it.",
        OF_ALL,
    ),
    Figure(
        learning_rates,
        "Final training and {validation} error of each network by its learning rate.",
        OF_ALL,
    ),
    Figure(
        folding,
        "Plain-56 trained as such, and plain-56 folded from a network with identities; a dot per seed, bar: mean.",
    ),
    Figure(
        gradient_norms,
        "The gradient at each layer before training and ten iterations later, and their ratio through training.",
        OF_ALL,
    ),
    Figure(
        shattered_gradients,
        "How alike gradients are at two points of a line between two images, by their distance (cosine).",
        OF_ALL,
    ),
    Figure(
        lesions,
        "Error without each block, without some at random, and with blocks exchanged; above by E, below by R.",
        OF_ALL,
    ),
    Figure(
        signal_propagation,
        "Variance and squared mean at the end of each block, and the variance before its last BN, untrained.",
        OF_ALL,
    ),
    Figure(
        path_lengths,
        "The gradient along one path by its length, and each length's share of the whole gradient.",
        OF_ALL,
    ),
    Figure(
        loss_landscape,
        "Above, the loss along random directions and along a line; below, on a plane, of the first seed.",
        OF_ALL,
    ),
    Figure(
        final_errors,
        "Error at the end against depth, a dot per seed; bold lines join means, thin ones the runs of one seed.",
    ),
    Figure(
        gap_by_budget,
        "What depth costs by number of iterations, a dot per seed, lines join means; the rate falls to 0 in each.",
    ),
    Figure(
        confusion,
        "Confusion matrices at the end, all seeds together: row = label, column = prediction, percent of the row.",
    ),
    Figure(
        input_scaling_grid,
        "Training error at the end of every combination, mean over seeds; D marks runs that diverged.",
    ),
    Figure(
        first_iterations,
        "Scale (RMS) in the first iterations, without warm-up: what BN takes out again, and what is left.",
    ),
    Figure(
        residual_functions,
        "The ratio of F(x) to x at the start, and how it changes: a map of blocks and iterations per study.",
    ),
    Figure(
        cures,
        "Final training error with each change, a mark per seed, between the two networks as they are.",
    ),
    Figure(
        shortcut_scale,
        "Training error by what the shortcut carries past F, a dot per seed, bar: mean; below, the gain of all.",
    ),
    Figure(
        scaled_branches,
        "Training error by learning rate: left, residual networks as they are; right, with branches scaled.",
        OF_ALL,
    ),
    Figure(
        tailored_activations,
        "Training error of plain-56 with BN, of plain-56 tailored and without it, of ResNet-56; a dot per seed.",
    ),
    Figure(
        optimizers,
        "Training error under each optimizer, each network at its own rate there; a mark per seed, bar: mean.",
    ),
)
FIGURES = {figure.draw.__name__: figure for figure in DECLARED}


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
    make = partial(FIGURES[name].draw, recorded, experiment)
    return write_figure(make, _heading(recorded, experiment, name), folder, figure_stem(experiment, name))


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


def _heading(recorded: RecordedRuns, experiment: Experiment, name: str) -> str:
    finals = recorded.select(recorded.finals, experiment)
    if experiment.measurement and not finals.empty:
        table = recorded.measured(experiment.measurement)
        identities = ["network", "study", "seed"]
        finals = finals.merge(table[identities].drop_duplicates()) if not table.empty else finals[:0]
    counts = set(finals[["network", "study"]].value_counts()) if not finals.empty else {0}
    seeds = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    plural = "s" if counts != {1} else ""
    shown = f" ({FIGURES[name].lines})" if max(counts) > 1 and FIGURES[name].lines else ""
    parts = [f"{recorded.dataset}, setting {recorded.setting}", f"{seeds} seed{plural}{shown}"]
    run = recorded.usual
    # A study has another budget than the one of which the setting warns; of several, none speaks for the others.
    reasons = {study.reason for study in experiment.studies_in(recorded.setting) if study.reason}
    of_studies = experiment.title if len(reasons) > 1 else "".join(reasons)
    caveats = (of_studies or run.caveat, run.dataset.caveat)
    return "; ".join([*parts, *(caveat.split(":")[0] for caveat in caveats if caveat)])
