"""Figures of the studies beside the paper's own: grids, losses, confusion."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.style import (
    BOLD,
    COLOURS,
    DASHED,
    SCREEN,
    THIN,
    Drawn,
    few_ticks,
    joined,
    marks_of_runs,
)
from plain_vs_residual.report.tables import confusion_matrix
from plain_vs_residual.settings import find_setting

SHOWN_CLASSES = 20


def error_and_loss(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw error and loss against epochs, with the drops of the learning rate."""
    figure, panels = plt.subplots(1, 2, figsize=SCREEN, sharex=True)
    curves = recorded.select(recorded.curves, experiment)
    called = {"training": "training", "validation": recorded.validation_name(experiment)}
    marks, study = marks_of_runs(recorded, experiment), experiment.studies_in(recorded.setting)[0].name
    drawn = []
    for axes, quantity, unit in ((panels[0], "error", "%"), (panels[1], "loss", "nats")):
        for name, colour in zip(experiment.networks[recorded.setting], COLOURS, strict=False):
            label = Architecture.parse(name).label + marks.get((name, study), "")
            runs = curves[curves["network"] == name] if not curves.empty else curves
            if runs.empty:
                axes.plot([], [], color=colour, label=f"{label}: not run")
                continue
            for part, width in (("training", BOLD), ("validation", THIN)):
                column = f"{part}_{quantity}"
                table = runs.groupby("epoch")[column].agg(["mean", "min", "max", "count"])
                axes.plot(
                    table.index, table["mean"], color=colour, linewidth=width, label=f"{label}, {called[part]}"
                )
                axes.fill_between(table.index, table["min"], table["max"], color=colour, alpha=0.12, linewidth=0)
                drawn.append(table.reset_index().assign(network=name, column=column))
            rates = runs[runs["seed"] == runs["seed"].min()]
            for epoch in rates["epoch"][rates["learning_rate"].diff() < 0]:
                axes.axvline(epoch, color=colour, linestyle=DASHED, linewidth=1)
        axes.set(xlabel="epoch", ylabel=f"{quantity} ({unit})", title=quantity)
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure, joined(drawn)


def confusion(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the confusion matrix of each network, summed over seeds."""
    names = experiment.networks[recorded.setting]
    figure, panels = plt.subplots(
        1, len(names), figsize=(max(1, len(names) / 2) * SCREEN[0], SCREEN[1]), squeeze=False
    )
    drawn = []
    for axes, name in zip(panels[0], names, strict=True):
        summed = confusion_matrix(recorded, experiment, name)
        label = Architecture.parse(name).label
        if summed is None:
            axes.text(0.5, 0.5, f"{label}: not run", ha="center", transform=axes.transAxes)
            axes.set_axis_off()
            continue
        matrix, classes, part = summed
        draw_confusion(axes, matrix, classes)
        axes.set_title(f"{label}, {part} images")
        for row, counts in zip(classes, matrix, strict=True):
            drawn.append(pd.DataFrame({"network": name, "label": row, "predicted": classes, "images": counts}))
    return figure, joined(drawn)


def draw_confusion(axes: Axes, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Draw counts in the cells, the share of the true class as colour; pairs never confused stay empty.

    Args:
        axes: where.
        matrix: number of images by label (row) and prediction (column).
        classes: their names.
    """
    legible = len(classes) <= SHOWN_CLASSES
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    sns.heatmap(
        share,
        ax=axes,
        annot=np.where(matrix > 0, matrix.astype(str), "") if legible else None,
        fmt="",
        annot_kws={"fontsize": 18},
        # White for none, darker for more: readable without colour as well.
        cmap="Blues",
        # Confusions of a few percent would look like none on a linear scale.
        norm=PowerNorm(0.4, vmin=0, vmax=100),
        linecolor="0.85",
        square=True,
        linewidths=1 if legible else 0,
        cbar_kws={"label": "share of the true class (%)", "ticks": [0, 1, 5, 20, 50, 100], "shrink": 0.8},
        xticklabels=list(classes) if legible else "auto",
        yticklabels=list(classes) if legible else "auto",
    )
    axes.set_xlabel("predicted class", labelpad=12)
    axes.set_ylabel("true class", labelpad=12)
    short = max(map(len, classes)) <= 3
    axes.tick_params(axis="x", rotation=0 if short or not legible else 45)
    axes.tick_params(axis="y", rotation=0)


def input_scaling_grid(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw the final training error of every combination of pixels and learning rate as a cell."""
    figure, axes = plt.subplots(figsize=SCREEN)
    finals = recorded.select(counted(recorded), experiment)
    studies = experiment.studies_in(recorded.setting)
    recipes = _recipes(recorded, experiment)
    rows, columns = (list(dict.fromkeys(map(say, recipes.values()))) for say in (_pixels, _start))
    values = np.full((len(rows), len(columns)), np.nan)
    words = np.full(values.shape, "not run", dtype=object)
    drawn = []
    for study in studies:
        runs = finals[finals["study"] == study.name] if not finals.empty else finals
        if runs.empty:
            continue
        recipe = recipes[study.name]
        place = rows.index(_pixels(recipe)), columns.index(_start(recipe))
        values[place] = runs["training_error"].mean()
        diverged = int(runs["diverged"].sum())
        words[place] = f"{values[place]:.1f}" + (f"\nD x {diverged}" if diverged else "")
        drawn.append(runs[["network", "study", "seed", "training_error", "validation_error", "diverged"]])
    sns.heatmap(
        values,
        ax=axes,
        annot=words,
        fmt="",
        cmap="cividis_r",
        vmin=0,
        linewidths=2,
        xticklabels=columns,
        yticklabels=rows,
        cbar_kws={"label": "training error at the end (%)"},
        annot_kws={"fontsize": 17},
    )
    for row, column in np.argwhere(np.isnan(values)):
        axes.text(column + 0.5, row + 0.5, "not run", ha="center", va="center")
    axes.set(xlabel="learning rate", ylabel="pixels", title="training error (%)")
    axes.tick_params(axis="y", rotation=0)
    return figure, joined(drawn)


def _recipes(recorded: RecordedRuns, experiment: Experiment) -> dict[str, Recipe]:
    """Return what each study trains with, by its name."""
    setting = find_setting(recorded.setting)
    return {study.name: setting.with_changes(study.changes) for study in experiment.studies_in(recorded.setting)}


def _pixels(recipe: Recipe) -> str:
    """Say how a recipe scales its pixels."""
    return f"{recipe.pixel_range}\n{'mean subtracted' if recipe.subtract_mean else 'raw'}"


def _start(recipe: Recipe) -> str:
    """Say at which learning rate a recipe starts, and how."""
    return f"{recipe.learning_rate:g}\n{'warm-up' if recipe.warm_up_iterations else 'no warm-up'}"


def first_iterations(recorded: RecordedRuns, experiment: Experiment) -> Drawn:
    """Draw how large activations, gradients and loss are in the first iterations, without warm-up."""
    quantities = {
        "conv1": "output of conv1 (RMS)",
        "bn1": "the same after BN (RMS)",
        "conv1_gradient": "gradient of conv1 (RMS)",
        "gradient_norm": "norm of the whole gradient",
        "logits": "logits (RMS)",
        "loss": "loss (nats)",
    }
    recipes = _recipes(recorded, experiment)
    cold = {name: recipe for name, recipe in recipes.items() if not recipe.warm_up_iterations}
    colours = dict(zip(dict.fromkeys(map(_pixels, cold.values())), cycle(COLOURS), strict=False))
    rates = sorted({recipe.learning_rate for recipe in cold.values()})
    marks = dict(zip(rates, cycle(("", "o", "s", "^")), strict=False))
    figure, panels = plt.subplots(2, 3, figsize=SCREEN, sharex=True)
    table = recorded.select(recorded.first_iterations, experiment)
    drawn = []
    for axes, (column, title) in zip(panels.flat, quantities.items(), strict=True):
        for name, recipe in cold.items():
            looks = {"color": colours[_pixels(recipe)], "marker": marks[recipe.learning_rate]}
            words = f"{', '.join(_pixels(recipe).split(chr(10)))}, {recipe.learning_rate:g}"
            runs = table[table["study"] == name] if not table.empty else table
            if runs.empty:
                axes.plot([], [], label=f"{words}: not run", **looks)
                continue
            means = runs.groupby("iteration")[column].mean()
            axes.plot(means.index, means, linewidth=THIN, label=words, **looks)
            drawn.append(means.rename("value").reset_index().assign(study=name, quantity=column))
        axes.set(title=title, xlabel="iteration", yscale="log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        few_ticks(axes)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure, joined(drawn)
