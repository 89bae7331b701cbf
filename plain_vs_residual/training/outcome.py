"""What is measured and written when a run has come to its end."""

import time
from typing import Literal, NamedTuple

import torch

from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.measures.responses import (
    NUM_IMAGES,
    layer_responses,
    response_means,
    with_estimated_statistics,
)
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.rows import ResponseRow
from plain_vs_residual.records.store import write_final, write_rows
from plain_vs_residual.training.checkpoint import remove_checkpoints, save_weights
from plain_vs_residual.training.evaluation import Errors, evaluate
from plain_vs_residual.training.precision import autocast
from plain_vs_residual.training.session import Session


def record_outcome(session: Session) -> None:
    """Write responses, weights and, last, ``final.json``; the checkpoints go. In a group, one process writes."""
    measured = _measure(session)
    if not session.group.is_first:
        return
    folder = session.folder
    write_rows(folder.responses, measured.responses)
    if session.stepper.probed:
        write_rows(folder.first_iterations, session.stepper.probed)
    save_weights(folder.weights, {name: value.cpu() for name, value in session.network.state_dict().items()})
    write_final(folder, _final_record(session, measured))
    remove_checkpoints(folder)


class _Measured(NamedTuple):
    """What is measured on the trained network, by all processes of a group together.

    Attributes:
        responses: at initialisation, and now by running (E) and by estimated statistics of BN (R).
        errors: on the images that are looked at in the end, by class.
        ten_crops: on ten views of each validation image, where images are files.
        consumed: the digest of everything that the run was shown.
    """

    responses: list[ResponseRow]
    errors: Errors
    ten_crops: Errors | None
    consumed: dict[str, str]


def _measure(session: Session) -> _Measured:
    feed, precision = session.feed, session.arithmetic.precision
    responses = [*session.initial_responses, *_trained_responses(session)]
    errors = session.errors_on(_looked_at(session), len(session.dataset.classes))
    ten_crops = None
    if isinstance(feed, LoaderFeed):
        batches = feed.ten_crop_batches("validation")
        ten_crops = evaluate(session.network, batches, precision, group=session.group, views=10)
    return _Measured(responses, errors, ten_crops, feed.digest.state())


def _trained_responses(session: Session) -> list[ResponseRow]:
    """Measure the layer responses by BN's running statistics, and by those of the images measured on."""
    network, feed = session.network, session.feed
    with autocast(session.device, session.arithmetic.precision):
        running = layer_responses(network, feed.evaluation_batches("training", NUM_IMAGES))
        calibrated = with_estimated_statistics(network, feed.evaluation_batches("training", NUM_IMAGES))
        estimated = layer_responses(calibrated, feed.evaluation_batches("training", NUM_IMAGES), "estimated")
    return [*running, *estimated]


def _looked_at(session: Session) -> Literal["test", "validation"]:
    """Name the images that are looked at in the end: test images where validation images are held out."""
    return "validation" if session.dataset.test is None else "test"


def _final_record(session: Session, measured: _Measured) -> FinalRecord:
    last, feed, looked_at = session.rows[-1], session.feed, _looked_at(session)
    images = f"{min(NUM_IMAGES, feed.num_training):,} training images"
    return FinalRecord(
        outcome="diverged" if session.diverged else "finished",
        iteration=session.iteration,
        training_error=last.training_error,
        validation_error=last.validation_error,
        running_training_error=session.training_curve.last_tenth().error,
        validation_top5_error=last.validation_top5_error,
        training_loss=last.training_loss,
        validation_loss=last.validation_loss,
        test_error=measured.errors.error if looked_at == "test" else None,
        ten_crop_error=measured.ten_crops.error if measured.ten_crops else None,
        ten_crop_top5_error=measured.ten_crops.top5_error if measured.ten_crops else None,
        confusion=measured.errors.confusion,
        confusion_on=looked_at,
        **response_means(measured.responses),
        responses_on=f"{images}, evenly spaced, no augmentation, evaluation mode",
        skipped_steps=int(session.trainer.skipped_steps.item()),
        training_seconds=round(session.training_seconds, 3),
        evaluation_seconds=round(session.evaluation_seconds, 3),
        last_session_seconds=round(time.perf_counter() - session.opened_at, 3),
        waited_for_data_seconds=round(feed.waited_seconds, 3),
        images_per_second=round(session.iteration * session.run.setting.batch_size / session.training_seconds, 1),
        peak_memory_mib=_peak_memory_mib(session.device),
        consumed=measured.consumed,
        learning_rates=session.stepper.learning_rates,
    )


def _peak_memory_mib(device: torch.device) -> int | None:
    """Return the most memory that the run had allocated on a GPU; on a CPU only the whole process has a peak."""
    return round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
