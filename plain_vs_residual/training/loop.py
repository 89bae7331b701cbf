"""Trains one run from start, or from its checkpoint, to its final record."""

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset
from plain_vs_residual.data.feeds import Feed, make_feed
from plain_vs_residual.diagnostics.cost import multiply_adds
from plain_vs_residual.diagnostics.first_iterations import FirstIterations
from plain_vs_residual.networks import StackedNetwork, num_parameters, parameter_hashes
from plain_vs_residual.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from plain_vs_residual.training.execution import executed, prepare_arithmetic
from plain_vs_residual.training.job import Job, build_for
from plain_vs_residual.training.outcome import record_outcome
from plain_vs_residual.training.plateau import Plateau
from plain_vs_residual.training.schedule import schedule_of
from plain_vs_residual.training.state import RunState
from plain_vs_residual.training.step import Trainer

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
    checkpoint = _begin_or_resume(folder, run, network, (dataset.channels, image_size, image_size))
    network = network.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(
        network,
        momentum=job.setting.momentum,
        weight_decay=job.setting.weight_decay,
        precision=job.precision,
        compiled=job.execution.startswith("compile"),
    )
    feed = make_feed(dataset, job.setting, job.seed, job.device)
    state = RunState.resume(checkpoint, trainer, feed) if checkpoint else RunState.begin(trainer, feed)
    if checkpoint and plateau:
        plateau.restore(checkpoint["plateau"])
    probe = FirstIterations(network) if state.iteration < job.setting.probe_iterations else None
    step = executed(lambda *inputs: trainer.step(*feed.batch(*inputs)), job.execution)

    def save() -> None:
        extra = {"plateau": plateau.state()} if plateau else {}
        save_checkpoint(folder, state.checkpoint(trainer, feed) | extra)

    def left_off() -> Stopped:
        return Stopped(f"{folder.path.name} is saved at iteration {state.iteration:,} of {schedule.iterations:,}")

    for point in evaluation_points(schedule.iterations, job.setting.evaluations):
        if point <= state.iteration:
            continue
        clock = saved = time.perf_counter()
        for inputs in feed.inputs(state.iteration, point):
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
            if state.iteration < point and (stopping or now - saved > CHECKPOINT_SECONDS):
                state.training_seconds += now - clock
                save()
                clock = saved = time.perf_counter()
                if stopping:
                    raise left_off()
        running = trainer.totals.read()
        trainer.totals.clear()
        state.training_seconds += time.perf_counter() - clock

        row = _evaluate(job, trainer, feed, state, running)
        records.write_rows(folder.metrics, records.METRICS, state.rows)
        state.diverged = not (math.isfinite(row["running_training_loss"]) and math.isfinite(row["training_loss"]))
        if state.diverged:
            monitor.evaluated(row, schedule.iterations)
            break
        if plateau:
            plateau.evaluated(row["validation_loss"])
        save()
        monitor.evaluated(row, schedule.iterations)
        if stops() and state.iteration < schedule.iterations:
            raise left_off()

    record_outcome(job, dataset, folder, trainer, feed, state, time.perf_counter() - started)


def _begin_or_resume(
    folder: records.RunFolder, run: dict[str, Any], network: StackedNetwork, image_shape: tuple[int, int, int]
) -> Checkpoint | None:
    """Writes ``run.json``, or adds this session to it; returns the checkpoint to go on from."""
    folder.path.mkdir(parents=True, exist_ok=True)
    checkpoint, damaged = load_checkpoint(folder)
    for line in damaged:
        print(f"note: {line}; the run {'goes on from the one before it' if checkpoint else 'starts anew'}")
    if checkpoint:
        recorded = records.read_json(folder.run)
        session = {"iteration": checkpoint["iteration"]} | {key: run[key] for key in ("started", "environment")}
        records.write_run(folder, recorded | {"resumed": [*recorded.get("resumed", []), session]})
    else:
        run |= {
            "parameters": num_parameters(network),
            "multiply_adds": multiply_adds(network, image_shape),
            "initial_parameters": parameter_hashes(network),
        }
        records.write_run(folder, run)
    return checkpoint


def _evaluate(
    job: Job, trainer: Trainer, feed: Feed, state: RunState, running: tuple[float, float, float]
) -> dict[str, Any]:
    """Takes clean errors and adds the row of this evaluation; ``running``: loss and error of the batches."""
    clock = time.perf_counter()
    training_loss, training_error, _ = trainer.evaluate(feed.evaluation_batches("training"))
    validation_loss, validation_error, top5 = trainer.evaluate(feed.evaluation_batches("validation"))
    state.evaluation_seconds += time.perf_counter() - clock
    row = {
        "iteration": state.iteration,
        "epoch": round(state.iteration * job.setting.batch_size / feed.num_training, 4),
        "learning_rate": state.learning_rates[-1][1],
        "running_training_loss": running[0],
        "running_training_error": running[1],
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
    return row
