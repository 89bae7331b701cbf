"""What is measured and written when a run has come to its end."""

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.data.feeds import Feed, Part
from plain_vs_residual.diagnostics.responses import NUM_IMAGES, Rows, layer_responses
from plain_vs_residual.training.checkpoint import remove_checkpoints, save_weights
from plain_vs_residual.training.job import Job
from plain_vs_residual.training.state import RunState
from plain_vs_residual.training.step import Trainer, autocast


def record_outcome(
    job: Job,
    dataset: Dataset,
    folder: records.RunFolder,
    trainer: Trainer,
    feed: Feed,
    state: RunState,
    seconds: float,
) -> None:
    """Writes responses, weights and, last, ``final.json``; the checkpoints go.

    Args:
        job: what was trained.
        dataset: the images.
        folder: where the records go.
        trainer: holds the trained network.
        feed: holds the digest of what was consumed.
        state: at the end of the run.
        seconds: wall-clock time of this session.
    """
    with autocast(trainer.device, trainer.precision):
        final_responses = layer_responses(trainer.network, feed.evaluation_batches("training", NUM_IMAGES))
    rows = [{"moment": "initial", **row} for row in state.initial_responses]
    rows += [{"moment": "final", **row} for row in final_responses]
    records.write_rows(folder.responses, records.RESPONSES, rows)
    if state.first_iterations:
        records.write_rows(folder.first_iterations, records.FIRST_ITERATIONS, state.first_iterations)
    looked_at: Part = "test" if dataset.test else "validation"
    confusion = trainer.confusion(feed.evaluation_batches(looked_at), len(dataset.classes))
    weights = {name: value.cpu() for name, value in trainer.network.state_dict().items()}
    save_weights(folder.weights, weights)
    last = state.rows[-1]
    columns = ("training_error", "validation_error", "running_training_error", "validation_top5_error")
    records.write_final(
        folder,
        {
            "outcome": "diverged" if state.diverged else "finished",
            "iteration": state.iteration,
            **{name: last[name] for name in (*columns, "training_loss", "validation_loss")},
            f"{looked_at}_confusion": confusion,
            **({"test_error": _error(confusion)} if dataset.test else {}),
            "mean_response": _mean(final_responses, "response_std"),
            "mean_ratio": _mean(final_responses, "ratio"),
            "responses_on": f"{min(NUM_IMAGES, len(dataset.training)):,} training images, evenly spaced, "
            "no augmentation, evaluation mode",
            "training_seconds": round(state.training_seconds, 3),
            "evaluation_seconds": round(state.evaluation_seconds, 3),
            "last_session_seconds": round(seconds, 3),
            "waited_for_data_seconds": round(feed.waited_seconds, 3),
            "images_per_second": round(state.iteration * job.setting.batch_size / state.training_seconds, 1),
            "peak_memory_mib": _peak_memory_mib(job.device),
            "consumed": feed.digest.state(),
            "learning_rates": state.learning_rates,
        },
    )
    remove_checkpoints(folder)


def _error(confusion: list[list[int]]) -> float:
    """Percent of the images off the diagonal."""
    total = sum(map(sum, confusion))
    return 100 * (1 - sum(row[label] for label, row in enumerate(confusion)) / total)


def _mean(rows: Rows, kind: str) -> float | None:
    values = [float(str(row["value"])) for row in rows if row["kind"] == kind]
    return sum(values) / len(values) if values else None


def _peak_memory_mib(device: torch.device) -> int:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
