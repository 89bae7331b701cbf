"""Trains one run from start, or from its checkpoint, to its final record."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.data.feeds import Feed, Part, make_feed
from plain_vs_residual.diagnostics.cost import multiply_adds
from plain_vs_residual.diagnostics.first_iterations import FirstIterations
from plain_vs_residual.diagnostics.responses import (
    NUM_IMAGES,
    Rows,
    layer_responses,
    with_estimated_statistics,
)
from plain_vs_residual.experiment import Network
from plain_vs_residual.networks import StackedNetwork, build, num_parameters, parameter_hashes
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.checkpoint import (
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
    save_weights,
)
from plain_vs_residual.training.execution import Execution, executed, prepare_arithmetic
from plain_vs_residual.training.plateau import Plateau
from plain_vs_residual.training.schedule import schedule_of
from plain_vs_residual.training.step import Precision, Trainer, autocast

# Between two evaluations a checkpoint is written this often: the most that a kill can cost.
CHECKPOINT_SECONDS = 300.0


class Stopped(KeyboardInterrupt):
    """A run was asked to stop and left a checkpoint."""


class Monitor(Protocol):
    """Watches a run; has no influence on its numbers."""

    def advanced(self, iteration: int, iterations: int) -> None:
        """An iteration was queued on the device."""
        ...

    def evaluated(self, row: dict[str, Any], iterations: int) -> None:
        """A row of metrics was written."""
        ...


@dataclass(frozen=True)
class Job:
    """What is to be trained: one network with one seed in one setting, and how the device computes."""

    network: Network
    setting: Setting
    seed: int
    precision: Precision
    device: torch.device
    execution: Execution = "eager"
    deterministic: bool = False


def build_for(job: Job, dataset: Dataset) -> StackedNetwork:
    """The job's network with its initial weights, on the CPU."""
    return build(
        job.network,
        in_channels=dataset.channels,
        num_classes=len(dataset.classes),
        stem=job.setting.stem,
        stem_width=job.setting.stem_width,
        seed=job.seed,
    )


def evaluation_points(iterations: int, evaluations: int) -> list[int]:
    """After how many iterations errors are taken: evenly spaced, the last iteration included."""
    return sorted({max(1, round(k * iterations / evaluations)) for k in range(1, evaluations + 1)})


def train(
    job: Job,
    dataset: Dataset,
    folder: records.RunFolder,
    run: dict[str, Any],
    monitor: Monitor,
    replayed: list[list[float]] | None = None,
    stops: Callable[[], bool] = lambda: False,
) -> None:
    """Trains to the end of the budget, or until the loss is no longer finite, and writes every record.

    Args:
        job: what is to be trained.
        dataset: the images.
        folder: where the records go; a checkpoint there is resumed.
        run: content of ``run.json``, completed here by what is known only once the network is built.
        monitor: is told about progress.
        replayed: learning rates of the pair's leader, for the schedule ``replay``.
        stops: whether the run is to be left; asked after every iteration.

    Raises:
        Stopped: if it was left; the checkpoint holds everything done so far.
    """
    started = time.perf_counter()
    prepare_arithmetic(job.device, job.precision, deterministic=job.deterministic)
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    network = build_for(job, dataset)
    schedule = schedule_of(job.setting, job.network.depth, len(dataset.training), replayed or ())
    plateau = Plateau(job.setting.learning_rate) if job.setting.schedule == "plateau" else None
    rate_of = plateau or schedule
    image_size = job.setting.enlarge_to or job.setting.image_size
    image_shape = (dataset.channels, image_size, image_size)
    folder.path.mkdir(parents=True, exist_ok=True)
    checkpoint, damaged = load_checkpoint(folder)
    for line in damaged:
        print(f"note: {line}; the run {'goes on from the one before it' if checkpoint else 'starts anew'}")
    if checkpoint:
        recorded = records.read_json(folder.run)
        session = {"iteration": checkpoint["iteration"]} | {key: run[key] for key in ("started", "environment")}
        records.write_json(folder.run, recorded | {"resumed": [*recorded.get("resumed", []), session]})
    else:
        run |= {
            "parameters": num_parameters(network),
            "multiply_adds": multiply_adds(network, image_shape),
            "initial_parameters": parameter_hashes(network),
        }
        records.write_json(folder.run, run)
    network = network.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(
        network,
        momentum=job.setting.momentum,
        weight_decay=job.setting.weight_decay,
        precision=job.precision,
        compiled=job.execution.startswith("compile"),
    )
    feed = make_feed(dataset, job.setting, job.seed, job.device)
    state = _State.resume(checkpoint, trainer, feed) if checkpoint else _State.begin(trainer, feed)
    if checkpoint and plateau:
        plateau.restore(checkpoint["plateau"])
    probe = FirstIterations(network) if state.iteration < job.setting.probe_iterations else None
    step = executed(lambda *inputs: trainer.step(*feed.batch(*inputs)), job.execution)

    def save() -> None:
        extra = {"plateau": plateau.state()} if plateau else {}
        save_checkpoint(folder, state.checkpoint(trainer, feed) | extra)

    for stop in evaluation_points(schedule.iterations, job.setting.evaluations):
        if stop <= state.iteration:
            continue
        clock = saved = time.perf_counter()
        for inputs in feed.inputs(state.iteration, stop):
            rate = rate_of(state.iteration)
            trainer.learning_rate.fill_(rate)
            step(*inputs)
            state.note_rate(rate)
            if probe:
                state.first_iterations.append(probe.row(state.iteration, trainer.totals.last_loss.item()))
                if state.iteration + 1 >= job.setting.probe_iterations:
                    probe.close()
                    probe = None
            state.iteration += 1
            monitor.advanced(state.iteration, schedule.iterations)
            now, stopping = time.perf_counter(), stops()
            if state.iteration < stop and (stopping or now - saved > CHECKPOINT_SECONDS):
                state.training_seconds += now - clock
                save()
                clock = saved = time.perf_counter()
                if stopping:
                    raise Stopped(_where(folder, state.iteration, schedule.iterations))
        running_loss, running_error, _ = trainer.totals.read()
        trainer.totals.clear()
        state.training_seconds += time.perf_counter() - clock

        clock = time.perf_counter()
        training_loss, training_error, _ = trainer.evaluate(feed.evaluation_batches("training"))
        validation_loss, validation_error, top5 = trainer.evaluate(feed.evaluation_batches("validation"))
        state.evaluation_seconds += time.perf_counter() - clock
        row = {
            "iteration": state.iteration,
            "epoch": round(state.iteration * job.setting.batch_size / feed.num_training, 4),
            "learning_rate": rate,
            "running_training_loss": running_loss,
            "running_training_error": running_error,
            "training_loss": training_loss,
            "training_error": training_error,
            "validation_loss": validation_loss,
            "validation_error": validation_error,
            "validation_top5_error": top5,
            "training_seconds": round(state.training_seconds, 3),
            "evaluation_seconds": round(state.evaluation_seconds, 3),
            "consumed": "/".join(f"{name}:{value}" for name, value in feed.digest.state().items()),
        }
        state.rows.append(row)
        records.write_rows(folder.metrics, records.METRICS, state.rows)
        state.diverged = not (math.isfinite(running_loss) and math.isfinite(training_loss))
        if state.diverged:
            monitor.evaluated(row, schedule.iterations)
            break
        if plateau:
            plateau.evaluated(validation_loss)
        save()
        monitor.evaluated(row, schedule.iterations)
        if stops() and state.iteration < schedule.iterations:
            raise Stopped(_where(folder, state.iteration, schedule.iterations))

    _finish(job, dataset, folder, trainer, feed, state, time.perf_counter() - started)


def _where(folder: records.RunFolder, iteration: int, iterations: int) -> str:
    return f"{folder.path.name} is saved at iteration {iteration:,} of {iterations:,}"


class _State:
    """What changes in the course of a run beside weights, optimizer and digest."""

    KEPT = (
        *("iteration", "rows", "learning_rates", "first_iterations"),
        *("training_seconds", "evaluation_seconds"),
    )

    def __init__(self, initial_responses: Rows) -> None:
        self.iteration = 0
        self.rows: list[dict[str, Any]] = []
        self.learning_rates: list[list[float]] = []
        self.training_seconds = 0.0
        self.evaluation_seconds = 0.0
        self.first_iterations: list[dict[str, object]] = []
        self.diverged = False
        self.initial_responses = initial_responses

    @classmethod
    def begin(cls, trainer: Trainer, feed: Feed) -> "_State":
        def images() -> Any:
            return feed.evaluation_batches("training", NUM_IMAGES)

        with autocast(trainer.device, trainer.precision):
            estimated = with_estimated_statistics(trainer.network, images())
            return cls(layer_responses(estimated, images()))

    @classmethod
    def resume(cls, checkpoint: dict[str, Any], trainer: Trainer, feed: Feed) -> "_State":
        state = cls(checkpoint["initial_responses"])
        for name in cls.KEPT:
            setattr(state, name, checkpoint[name])
        trainer.restore(checkpoint)
        feed.digest.restore(checkpoint["consumed"])
        return state

    def checkpoint(self, trainer: Trainer, feed: Feed) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.KEPT},
            "initial_responses": self.initial_responses,
            **trainer.state(),
            "consumed": feed.digest.state(),
        }

    def note_rate(self, rate: float) -> None:
        """Keeps the trace of applied rates: [first iteration, rate], an entry a change."""
        if not self.learning_rates or self.learning_rates[-1][1] != rate:
            self.learning_rates.append([self.iteration, rate])


def _finish(
    job: Job,
    dataset: Dataset,
    folder: records.RunFolder,
    trainer: Trainer,
    feed: Feed,
    state: _State,
    seconds: float,
) -> None:
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
