"""Whether a recomputed error of a finished run is the recorded one, and if not, what is different now."""

import numpy as np
import torch

from plain_vs_residual.data.batches import Part
from plain_vs_residual.records.fingerprint import code_hashes, differing_code
from plain_vs_residual.records.store import Record
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.training.evaluation import Errors

# Percent: far less than one image, more than a number loses on its way through JSON.
TOLERANCE = 1e-6


def agreement(record: Record, errors: Errors, part: Part, subject: Subject) -> str:
    """Compare an error with the recorded one of the same images.

    Args:
        record: of the finished run.
        errors: recomputed on all images of the part.
        part: training or validation.
        subject: with which they were recomputed: device and precision.
    """
    assert record.final
    recorded = record.final.training_error if part == "training" else record.final.validation_error
    diverged = "\nnote: this run diverged" if record.final.outcome == "diverged" else ""
    if np.isclose(errors.error, recorded, rtol=0, atol=TOLERANCE):
        return f"recomputed error {errors.error:.4f} %: as recorded{diverged}"
    images = round(abs(errors.error - recorded) * sum(map(sum, errors.confusion)) / 100)
    why = "; ".join(_reasons(record, subject)) or (
        "code, device, precision and torch are the same: have weights or records been changed?"
    )
    return (
        f"NOT as recorded: recomputed error {errors.error:.4f} %, recorded {recorded:.4f} % "
        f"({images} images); {why}{diverged}"
    )


def _reasons(record: Record, subject: Subject) -> list[str]:
    environment = record.run.environment
    reasons = [f"{path} has changed" for path in differing_code(record.run.sources, code_hashes())]
    for what, before, now in (
        ("device", environment.device, subject.device.type),
        ("precision", record.run.arithmetic.precision, subject.precision),
        ("torch", environment.torch, str(torch.__version__)),
    ):
        if before != now:
            reasons.append(f"{what} was {before}, is {now}")
    return reasons
