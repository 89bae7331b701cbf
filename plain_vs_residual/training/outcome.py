"""What is measured and written when a run has come to its end."""

import time
from typing import Literal

import torch

from plain_vs_residual.data.loader import LoaderFeed
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses, response_means
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.store import write_final, write_rows
from plain_vs_residual.training.checkpoint import remove_checkpoints, save_weights
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.precision import autocast
from plain_vs_residual.training.session import Session


def record_outcome(session: Session) -> None:
    """Write responses, weights and, last, ``final.json``; the checkpoints go. In a group, one process writes."""
    run, feed, folder, last = session.run, session.feed, session.folder, session.rows[-1]
    precision, group = session.arithmetic.precision, session.group
    with autocast(session.device, precision):
        trained = layer_responses(session.network, feed.evaluation_batches("training", NUM_IMAGES))
    responses = [*session.initial_responses, *trained]
    held_out = session.dataset.test is not None
    looked_at: Literal["test", "validation"] = "test" if held_out else "validation"
    num_classes = len(session.dataset.classes)
    errors = session.errors_on(looked_at, num_classes)
    ten_crops = None
    if isinstance(feed, LoaderFeed):
        batches = feed.ten_crop_batches("validation")
        ten_crops = evaluate(session.network, batches, precision, group=group, views=10)
    consumed = feed.digest.state()
    if not group.is_first:
        return
    write_rows(folder.responses, responses)
    if session.stepper.probed:
        write_rows(folder.first_iterations, session.stepper.probed)
    save_weights(folder.weights, {name: value.cpu() for name, value in session.network.state_dict().items()})
    images = f"{min(NUM_IMAGES, feed.num_training):,} training images"
    final = FinalRecord(
        outcome="diverged" if session.diverged else "finished",
        iteration=session.iteration,
        training_error=last.training_error,
        validation_error=last.validation_error,
        running_training_error=session.training_curve.last_tenth().error,
        validation_top5_error=last.validation_top5_error,
        training_loss=last.training_loss,
        validation_loss=last.validation_loss,
        test_error=errors.error if held_out else None,
        ten_crop_error=ten_crops.error if ten_crops else None,
        ten_crop_top5_error=ten_crops.top5_error if ten_crops else None,
        confusion=errors.confusion,
        confusion_on=looked_at,
        **response_means(responses),
        responses_on=f"{images}, evenly spaced, no augmentation, evaluation mode",
        skipped_steps=int(session.trainer.skipped_steps.item()),
        training_seconds=round(session.training_seconds, 3),
        evaluation_seconds=round(session.evaluation_seconds, 3),
        last_session_seconds=round(time.perf_counter() - session.opened_at, 3),
        waited_for_data_seconds=round(feed.waited_seconds, 3),
        images_per_second=round(session.iteration * run.setting.batch_size / session.training_seconds, 1),
        peak_memory_mib=_peak_memory_mib(session.device),
        consumed=consumed,
        learning_rates=session.stepper.learning_rates,
    )
    write_final(folder, final)
    remove_checkpoints(folder)


def _peak_memory_mib(device: torch.device) -> int | None:
    """Return the most memory that the run had allocated on a GPU; on a CPU only the whole process has a peak."""
    return round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
