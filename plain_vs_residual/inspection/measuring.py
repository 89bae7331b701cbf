"""What the seminar measures, of any network that can be evaluated: of a run, or of a checkpoint from elsewhere.

Everything is measured in fp32, on training images as the network sees them.
"""

import math
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from plain_vs_residual.inspection.errors_and_responses import doubts, heading, own_folder
from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.records.store import Record
from plain_vs_residual.report.figures.one_network import draw_measured, one_network
from plain_vs_residual.seminar.measured import Measured
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.vocabulary import measurable, measurements

NUM_IMAGES = 500  # where a measurement names no number
OF_ALL_IMAGES = ("folding",)  # its number is that of the images whose logits are compared
# These do not ask whether the network is right, and so not what its outputs stand for.
WITHOUT_CLASSES = ("shattered_gradients", "signal_propagation", "residual_functions")
WORDS = {
    "lesion_median": "rise of the error without one block, median over blocks (points; BN: E)",
    "lesion_median_estimated": "the same with BN's statistics estimated anew (points; R)",
    "lesion_share": "the rise as a share of what is left to lose until guessing (E)",
    "lesion_share_estimated": "the same with statistics estimated anew (R)",
    "removable_blocks": "blocks that can be taken out",
    "log10_gradient_ratio": "untrained: gradient at the second layer over the last one, as a power of 10",
    "gradient_growth_in_stage_1": "untrained: growth of the gradient per layer in stage 1, towards the input",
    "rise": "rise of the loss a quarter of the way out, median over directions (nats; E)",
    "rise_estimated": "the same with statistics estimated anew (nats; R)",
    "mean_path_share": "trained: length of the path of an average bit of gradient, over half of the blocks",
    "mean_path_share_change": "the same, trained minus untrained",
    "gradient_correlation": "untrained: correlation of gradients at two points, 4/255 of a line apart",
    "stage1_variance": "untrained: variance at the end of stage 1",
    "folded_training_error": "error on all training images, folded (%)",
    "folded_logit_difference": "largest difference of a logit, folded and as trained",
}


def measuring(measurement: str) -> Callable[[Subject], Measured]:
    """Return the function that takes a measurement of a subject.

    Raises:
        ValueError: if there is none of that name, or it looks at training itself.
    """
    accepted = measurable()
    if measurement not in accepted:
        known = measurement in measurements()
        why = "looks at how a run was trained, which no weights tell" if known else "there is no such measurement"
        question = "" if known else did_you_mean(measurement, accepted)
        raise ValueError(f"{measurement}: {why}{question}; accepted are {', '.join(accepted)}")
    found: Callable[[Subject], Measured] = import_module(f"plain_vs_residual.seminar.{measurement}").measure
    return found


def measure(
    subject: Subject, measurement: str, record: Record | None = None, folder: Path | None = None
) -> Iterator[str]:
    """Measure, write ``<measurement>.csv``, ``.png`` and ``.svg``, and yield what the command ``measure`` prints.

    Args:
        subject: what is looked at.
        measurement: its name.
        record: of the run that the subject is, if it is one.
        folder: where table and figures go; one of its own in ``plots/measured`` if None.

    Raises:
        ValueError: if the measurement makes no sense of this network or these images.
    """
    function = measuring(measurement)
    _check(subject, measurement)
    num_images = _num_images(subject, measurement)
    yield heading(subject, "training", num_images)
    yield from _what_was_taken(subject, measurement, record, num_images)
    began_at = time.perf_counter()
    measured = function(subject)
    seconds = time.perf_counter() - began_at
    table = tabulated(subject, measured)
    yield from _summary(measured, table)
    out = folder or own_folder(subject, "training", "measured", subject.seed, subject.dataset.classes)
    if folder is not None and (folder / f"{measurement}.csv").exists():
        yield f"note: in place of the table and figure that were in {out}"
    caption = (
        f"{subject.source.name} as {subject.architecture.label}; {num_images:,} training images of "
        f"{subject.dataset.name}"
    )
    one = one_network(subject.architecture, subject.setting.name, subject.dataset.classes, table)
    pictures = list(draw_measured(measurement, subject.architecture, one, caption, out))
    yield f"measured in {seconds:.0f} s"
    yield from map(str, [pictures[0].with_suffix(".csv"), *pictures])


def _num_images(subject: Subject, measurement: str) -> int:
    """Return how many training images a measurement looks at, but for those that BN's statistics are taken of."""
    every = subject.num_images("training")
    module = import_module(f"plain_vs_residual.seminar.{measurement}")
    return every if measurement in OF_ALL_IMAGES else min(getattr(module, "NUM_IMAGES", NUM_IMAGES), every)


def _check(subject: Subject, measurement: str) -> None:
    """Refuse at once what would be found after minutes, or would be a number that means nothing."""
    residual, label = subject.architecture.kind == "residual", subject.architecture.label
    num_classes, classes = subject.network.fc.out_features, len(subject.dataset.classes)
    if measurement not in WITHOUT_CLASSES and num_classes != classes:
        raise ValueError(
            f"{subject.source}: tells {num_classes} classes apart, {subject.dataset.name} has {classes}; "
            f"{measurement} needs the classes it was trained on ({', '.join(WITHOUT_CLASSES)} do not)"
        )
    if measurement == "folding" and residual:
        raise ValueError(
            f"{label} does not fold: its shortcuts pass ReLUs, which no kernel computes; plain ones do"
        )
    if measurement == "path_lengths" and not residual:
        raise ValueError(f"{label} has one path, through all its layers; {measurement} is about residual networks")
    if measurement == "residual_functions" and not residual:
        raise ValueError(f"{label} has no shortcut to compare F(x) with; {measurement} is about residual networks")


def _what_was_taken(subject: Subject, measurement: str, record: Record | None, num_images: int) -> Iterator[str]:
    """Say what the weights do not tell: how the network began, and which class each output stands for."""
    if measurement == "signal_propagation":
        yield f"note: of the untrained network alone; nothing of the weights of {subject.source.name} is in it"
    if record is None:
        yield (
            f"note: how it began is not in the file: untrained is this network as drawn here from seed "
            f"{subject.seed}, from which all else is drawn as well"
        )
        if measurement not in WITHOUT_CLASSES:
            batches = subject.batches("training", num_images)
            yield from doubts(evaluate(subject.network, batches, "fp32", len(subject.dataset.classes)), subject)
    elif record.run.configuration.source_weights is not None:
        yield (
            f"note: this run was grown from another; untrained is the network as drawn from its seed "
            f"{subject.seed}, not as it was grown"
        )


def tabulated(subject: Subject, measured: Measured) -> pd.DataFrame:
    """Return a row per number: the network, its seed, ``untrained`` or ``trained``, and what was measured."""
    table = pd.DataFrame([row.model_dump() for row in measured.rows])
    identity: dict[str, Any] = {
        "network": subject.architecture.name,
        "label": subject.architecture.label,
        "study": "",
        "seed": subject.seed,
        "moment": table["iteration"].map(lambda iteration: "trained" if iteration else "untrained"),
    }
    for place, (name, values) in enumerate(identity.items()):
        table.insert(place, name, values)
    return table


def _summary(measured: Measured, table: pd.DataFrame) -> Iterator[str]:
    """Yield each number that the measurement comes to; means where it names none."""
    for name, value in measured.summary.items():
        if math.isfinite(value):
            yield f"{WORDS.get(name, name.replace('_', ' '))}: {value:.4g}"
    if not measured.summary:
        means = table.groupby(["quantity", "moment"], sort=False)["value"].mean().reset_index()
        for quantity, moment, value in means.itertuples(index=False):
            yield f"{quantity}, {moment}, mean: {value:.4g}"
