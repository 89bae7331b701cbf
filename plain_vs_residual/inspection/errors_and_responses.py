"""Error and layer responses of a network, as the commands ``evaluate`` and ``responses`` tell them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.batches import Part
from plain_vs_residual.inspection.agreement import agreement
from plain_vs_residual.inspection.looking import shown
from plain_vs_residual.inspection.relabelling import explaining, relabelling_note
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses
from plain_vs_residual.networks import hashes_of, num_parameters
from plain_vs_residual.records.files import ROOT
from plain_vs_residual.records.fingerprint import hash_of
from plain_vs_residual.records.store import Record
from plain_vs_residual.report.figures.responses import draw_responses, is_wide, label_responses, response_panels
from plain_vs_residual.report.figures.style import Drawn, write_figure
from plain_vs_residual.subject.class_order import order_line
from plain_vs_residual.subject.namesakes import namesakes
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import Errors
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
        + "".join(f"\n{note}" for note in subject.notes)
        + "".join(f"\nnote: {one}" for one in (subject.dataset.caveat, *subject.dataset.remarks) if one)
    )


def evaluation_text(subject: Subject, part: Part, record: Record | None = None) -> str:
    """Return what the command ``evaluate`` prints.

    Args:
        subject: what is looked at.
        part: the images.
        record: of the run that the subject is, if it is one.

    Raises:
        ValueError: if the network tells another number of classes apart than the images have.
    """
    with shown(subject, subject.num_images(part)) as watched:
        errors = watched.errors(part)
    classes = subject.dataset.classes
    several = f", top-5 error {errors.top5_error:.2f} %" if len(classes) > 10 else ""
    lines = [
        heading(subject, part, subject.num_images(part)),
        order_line(classes, subject.class_order),
        f"error {errors.error:.2f} %{several}, loss {errors.loss:.4f}",
    ]
    if record is not None:
        return "\n".join([*lines, agreement(record, errors, part, subject)])
    return "\n".join([*lines, *doubts(errors, subject)])


def doubts(errors: Errors, subject: Subject) -> Iterator[str]:
    """Say what may be wrong with how a checkpoint from elsewhere was taken, as far as its errors tell."""
    classes, error = subject.dataset.classes, errors.error
    if (best := explaining(errors)) is not None:
        yield relabelling_note(best, classes)
        error = best.error
    chance = 100 * (1 - 1 / len(classes))
    if error > NEAR_CHANCE * chance:
        others = " or ".join(one.name for one in namesakes(subject.architecture))
        sets = "are these the weights that were meant (see above); " if _others_are_named(subject) else ""
        network = f"; or is it {others}, whose weights load alike" if others else ""
        yield (
            f"note: that is near chance ({chance:.1f} %); {sets}does --normalise fit its training, and, with "
            f"option A, --zero-padding (many published networks of the CIFAR family need both){network}?"
        )


def _others_are_named(subject: Subject) -> bool:
    """Say whether the file holds other weights than those that were taken, which the notes name."""
    return any(note.startswith("weights: ") for note in subject.notes)


def responses_table(subject: Subject, part: Part) -> pd.DataFrame:
    """Make a row per layer and moment: ``final`` and ``estimated`` for the trained network, ``initial`` untrained.

    ``final`` is by BN's running statistics (E), ``estimated`` by statistics of these images (R): where the two
    differ, the running statistics fit neither these images nor, after a short training, the weights. The untrained
    twin is the same network with initial weights and BN statistics of the same images: without it the ratio of
    F(x) to x means little, because x accumulates from block to block even untrained.
    """
    with autocast(subject.device, subject.precision):
        final = layer_responses(subject.network, subject.batches(part, NUM_IMAGES))
        calibrated = subject.with_estimated_statistics(subject.network, part)
        estimated = layer_responses(calibrated, subject.batches(part, NUM_IMAGES), "estimated")
        twin = subject.with_estimated_statistics(subject.untrained(), part)
        initial = layer_responses(twin, subject.batches(part, NUM_IMAGES), "initial")
    table = pd.DataFrame([row.model_dump() for row in (*initial, *final, *estimated)])
    table.insert(0, "network", subject.architecture.name)
    table.insert(1, "seed", subject.seed)
    return table


def measure_responses(subject: Subject, part: Part, folder: Path | None = None) -> str:
    """Measure the responses and write ``layer_responses.csv``, ``.png`` and ``.svg`` (He et al., Fig. 7).

    Args:
        subject: what is looked at.
        part: the images.
        folder: where they go; see :func:`own_folder` if None.

    Returns:
        What the command ``responses`` prints.
    """
    num_images = min(NUM_IMAGES, subject.num_images(part))
    out = folder or own_folder(subject, part)
    replaced = folder is not None and (folder / "layer_responses.csv").exists()
    # The network; its statistics and itself once more; those of its twin, and the twin.
    with shown(subject, 5 * num_images) as watched:
        table = responses_table(watched, part)
    caption = (
        f"{subject.source.name} as {subject.architecture.label}\n"
        f"{num_images:,} {part} images of {subject.dataset.name}"
    )
    picture = write_figure(partial(_panels, subject.architecture, table), caption, out, "layer_responses")
    lines = [heading(subject, part, num_images)]
    lines += _summaries(table)
    if replaced:
        lines.append(f"note: in place of the table and figure that were in {out}")
    return "\n".join([*lines, str(picture.with_suffix(".csv")), str(picture)])


def _summaries(table: pd.DataFrame) -> Iterator[str]:
    """Say what the values of all layers or blocks come to, trained by E and by R, and untrained."""
    wanted = {
        "mean standard deviation after BN": ("response_std", "mean"),
        "median standard deviation after BN": ("response_std", "median"),
        "mean of F(x) over x": ("ratio", "mean"),
    }
    for words, (kind, statistic) in wanted.items():
        values = table[table["kind"] == kind].groupby("moment")["value"].agg(statistic)
        if not values.empty:
            running, estimated, untrained = values[["final", "estimated", "initial"]]
            yield (
                f"{words}: {running:.3f} by running statistics (E), {estimated:.3f} by statistics estimated "
                f"anew (R); {untrained:.3f} at initialisation"
            )


def own_folder(subject: Subject, part: Part, kind: str = "responses", *more: object) -> Path:
    """Return a folder whose name says of what it holds numbers: of these weights, on these images, seen so.

    Checkpoints of one file name are common (``weights.pt``, ``model_best.pth.tar``).
    """
    images, _ = subject.images(8, part)
    tensors = [*subject.network.state_dict().items(), ("images", images)]
    told = [subject.architecture.name, subject.dataset.name, part, subject.precision, hashes_of(tensors), *more]
    name = subject.source.name if subject.source.is_dir() else subject.source.stem
    return ROOT / "plots" / kind / f"{name}-{hash_of(told)[:8]}"


def _panels(architecture: Architecture, table: pd.DataFrame) -> Drawn:
    figure, panels = response_panels(residual=architecture.kind == "residual")
    draw_responses(panels, architecture, table, architecture.label)
    label_responses(panels, wide=is_wide([table]))
    return figure, table
