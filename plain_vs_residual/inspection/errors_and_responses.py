"""Error and layer responses of a network, as the commands ``evaluate`` and ``responses`` tell them."""

from functools import partial
from pathlib import Path

import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.batches import Part
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses
from plain_vs_residual.networks import num_parameters
from plain_vs_residual.report.figures.responses import draw_responses, is_wide, label_responses, response_panels
from plain_vs_residual.report.figures.style import Drawn, write_figure
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.precision import autocast

# An error above this part of chance is worth a word: a network that was trained errs less.
NEAR_CHANCE = 0.8


def heading(subject: Subject, part: Part, num_images: int) -> str:
    """Say which network and images a number is about, and how the images are shown to the network."""
    spaced = f"{num_images:,} images" + (", evenly spaced" if num_images < subject.num_images(part) else "")
    return (
        f"{subject.source.name} as {subject.architecture.label} ({num_parameters(subject.network):,} parameters)\n"
        f"{subject.dataset.name}, {part}: {spaced}, {subject.setting.image_size} px, "
        f"--normalise {subject.normalisation.name}; {subject.precision} on {subject.device.type}"
        + (f"\nnote: {subject.dataset.caveat}" if subject.dataset.caveat else "")
    )


def evaluation_text(subject: Subject, part: Part) -> str:
    """Return what the command ``evaluate`` prints.

    Raises:
        ValueError: if the network tells another number of classes apart than the images have.
    """
    errors = subject.errors(part)
    several = f", top-5 error {errors.top5_error:.2f} %" if len(subject.dataset.classes) > 10 else ""
    lines = [
        heading(subject, part, subject.num_images(part)),
        f"error {errors.error:.2f} %{several}, loss {errors.loss:.4f}",
    ]
    chance = 100 * (1 - 1 / len(subject.dataset.classes))
    if errors.error > NEAR_CHANCE * chance:
        lines.append(
            f"note: that is near chance ({chance:.1f} %); does --normalise fit its training, and, with option A, "
            "--zero-padding (many published networks of the CIFAR family need both)?"
        )
    return "\n".join(lines)


def responses_table(subject: Subject, part: Part) -> pd.DataFrame:
    """Make a row per layer and moment: ``final`` for the trained network, ``initial`` for its untrained twin.

    The twin is the same network with initial weights and BN statistics of the same images: without it the
    ratio of F(x) to x means little, because x accumulates from block to block even untrained.
    """
    with autocast(subject.device, subject.precision):
        final = layer_responses(subject.network, subject.batches(part, NUM_IMAGES))
        twin = subject.with_estimated_statistics(subject.untrained(), part)
        initial = layer_responses(twin, subject.batches(part, NUM_IMAGES), "initial")
    table = pd.DataFrame([row.model_dump() for row in (*initial, *final)])
    table.insert(0, "network", subject.architecture.name)
    table.insert(1, "seed", 0)
    return table


def measure_responses(subject: Subject, part: Part, folder: Path) -> str:
    """Measure the responses and write ``layer_responses.csv``, ``.png`` and ``.svg`` (He et al., Fig. 7).

    Returns:
        What the command ``responses`` prints.
    """
    num_images = min(NUM_IMAGES, subject.num_images(part))
    table = responses_table(subject, part)
    caption = (
        f"{subject.source.name} as {subject.architecture.label}\n"
        f"{num_images:,} {part} images of {subject.dataset.name}, evaluation mode"
    )
    picture = write_figure(partial(_panels, subject.architecture, table), caption, folder, "layer_responses")
    lines = [heading(subject, part, num_images)]
    for kind, words in (("response_std", "mean standard deviation after BN"), ("ratio", "mean of F(x) over x")):
        means = table[table["kind"] == kind].groupby("moment")["value"].mean()
        if not means.empty:
            lines.append(f"{words}: {means['final']:.3f} ({means['initial']:.3f} at initialisation)")
    return "\n".join([*lines, str(picture.with_suffix(".csv")), str(picture)])


def _panels(architecture: Architecture, table: pd.DataFrame) -> Drawn:
    figure, panels = response_panels(residual=architecture.kind == "residual")
    draw_responses(panels, architecture, table, architecture.label)
    label_responses(panels, wide=is_wide([table]))
    return figure, table
