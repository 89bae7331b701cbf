"""The figures that an experiment can name, each with its caption."""

from collections.abc import Callable
from dataclasses import dataclass

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.budgets import gap_by_budget
from plain_vs_residual.report.figures.columns import (
    optimizers,
    scaled_branches,
    shortcut_scale,
    tailored_activations,
)
from plain_vs_residual.report.figures.construction import construction, construction_valley
from plain_vs_residual.report.figures.finals import final_errors, shortcut_options
from plain_vs_residual.report.figures.folding import folding
from plain_vs_residual.report.figures.landscape import loss_landscape
from plain_vs_residual.report.figures.lesions import further_lesions, lesions
from plain_vs_residual.report.figures.paper import cifar_curves, depth_curves, longer_curves, training_and_test
from plain_vs_residual.report.figures.responses import layer_responses
from plain_vs_residual.report.figures.seminar import (
    gradient_norms,
    path_lengths,
    residual_functions,
    shattered_gradients,
    signal_propagation,
)
from plain_vs_residual.report.figures.seminar_training import cures, learning_rates
from plain_vs_residual.report.figures.studies import (
    confusion,
    error_and_loss,
    first_iterations,
    input_scaling_grid,
)
from plain_vs_residual.report.figures.style import Drawn

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
        "Fig. 4: bold = training error, thin = {validation} error (the paper's: the other way round); plain "
        "left, residual right, shared axes.",
        OF_TRAINING,
    ),
    Figure(
        cifar_curves,
        "Fig. 6: bold = training error, thin = {validation} error (the paper's: dashed and bold); plain "
        "left, residual right, shared axes.",
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
        "Table 3 as curves (bold = training, thin = {validation}) and as final errors, "
        "with what each option costs.",
        OF_TRAINING,
    ),
    Figure(
        layer_responses,
        "Fig. 7: standard deviation of each layer's response; above with BN's running statistics (E), below with "
        "statistics estimated anew on the same images (R); in the middle sorted; right, F(x) against x block by "
        "block.",
        OF_ALL,
    ),
    Figure(
        error_and_loss,
        "Error and loss against epochs: bold = training, thin = {validation}; dashed: the learning rate's drops.",
        OF_ALL,
    ),
    Figure(
        construction,
        "Training error of plain-56 and ResNet-56, built to compute what the trained 20-layer network does (dot), "
        "then trained on as that is; dashed: what they are compared with.",
        OF_TRAINING,
    ),
    Figure(
        construction_valley,
        "The same at a tenth of the rate; and the error of plain-56 as built, before training, where what was "
        "added is mixed with drawn weights.",
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
    Figure(
        gradient_norms,
        "The gradient at each layer before training and ten iterations later; the second layer's over that of the "
        "last one through training.",
        OF_ALL,
    ),
    Figure(
        shattered_gradients,
        "How alike gradients are at two points of a line between two images, by their distance (cosine).",
        OF_ALL,
    ),
    Figure(
        lesions,
        "Training error of trained networks without one of their blocks: a stem up from the error with all; "
        "plain blocks that change the shape cannot be taken out.",
        OF_ALL,
    ),
    Figure(
        further_lesions,
        "Training error without several blocks and with blocks exchanged; above, BN normalises as in the whole "
        "network, below by statistics estimated anew on training images.",
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
)
FIGURES = {figure.draw.__name__: figure for figure in DECLARED}
