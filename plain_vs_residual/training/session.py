"""A run while it is trained: what it consists of, where it is, and what has been measured so far."""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch

from plain_vs_residual.data.batches import Inputs
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses, with_estimated_statistics
from plain_vs_residual.networks import num_parameters, on_device, parameter_hashes
from plain_vs_residual.records.models import (
    FirstIterationRow,
    MetricsRow,
    ResponseRow,
    Resumption,
    RunDescription,
    RunRecord,
)
from plain_vs_residual.records.store import read_run, write_rows, write_run
from plain_vs_residual.training.arithmetic import autocast, prepare_arithmetic
from plain_vs_residual.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.plateau import Plateau
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.schedule import evaluation_points, num_iterations, schedule_of
from plain_vs_residual.training.step import Step, Trainer

# Between two evaluations a checkpoint is written this often: the most that a kill can cost.
CHECKPOINT_SECONDS = 300.0


class Stopped(KeyboardInterrupt):
    """A run was asked to stop and left a checkpoint."""


class Session:
    """One run from its start, or from its checkpoint, to its end.

    Args:
        run: what is to be trained.
        dataset: the images.

    Attributes:
        iteration: how many steps are done.
        num_iterations: how many there are to do.
        rows: of ``metrics.csv``.
        initial_responses: layer responses before the first step.
        training_seconds: spent in steps.
        evaluation_seconds: spent in taking errors.
        diverged: whether the loss is no longer finite.
    """

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self.opened = self.clock = self.saved = time.perf_counter()
        self.run, self.dataset, setting = run, dataset, run.setting
        prepare_arithmetic(run.device, run.precision, deterministic=run.deterministic)
        if run.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(run.device)
        self.network = on_device(run.network(dataset), run.device)
        self.feed = make_feed(dataset, setting, run.seed, run.device)
        self.trainer = Trainer(self.network, setting, run.precision, compiled=run.execution.compiled)
        self.num_iterations = num_iterations(setting, len(dataset.training))
        self.plateau = Plateau(setting.learning_rate) if setting.schedule == "plateau" else None
        rate_of = self.plateau or schedule_of(
            setting, run.architecture.depth, self.num_iterations, run.leader_rates()
        )
        self.step = Step(self.trainer, self.feed, rate_of, run.execution, setting.probe_iterations)
        self.iteration = 0
        self.rows: list[MetricsRow] = []
        self.initial_responses: list[ResponseRow] = []
        self.training_seconds = self.evaluation_seconds = 0.0
        self.diverged = False

    @classmethod
    def open(cls, run: Run, dataset: Dataset, description: RunDescription) -> "Session":
        """Begin a run and write ``run.json``, or go on from its checkpoint.

        Args:
            run: what is to be trained.
            dataset: the images.
            description: what ``run.json`` is to say beside what only the built network can tell.
        """
        session = cls(run, dataset)
        run.folder.path.mkdir(parents=True, exist_ok=True)
        checkpoint, damaged = load_checkpoint(run.folder)
        for line in damaged:
            print(f"note: {line}; the run {'goes on from the one before it' if checkpoint else 'starts anew'}")
        if checkpoint:
            session._note_resumption(description, checkpoint["iteration"])
            session._restore(checkpoint)
        else:
            session._write_run(description)
            session._measure_initial_responses()
        return session

    def _write_run(self, description: RunDescription) -> None:
        size = self.run.setting.input_size
        record = RunRecord(
            **dict(description),
            parameters=num_parameters(self.network),
            multiply_adds=multiply_adds(self.network, (self.dataset.channels, size, size)),
            initial_parameters=parameter_hashes(self.network),
            resumed=[],
        )
        write_run(self.run.folder, record)

    def _note_resumption(self, now: RunDescription, iteration: int) -> None:
        recorded = read_run(self.run.folder)
        resumed = Resumption(iteration=iteration, started=now.started, environment=now.environment)
        write_run(self.run.folder, recorded.model_copy(update={"resumed": [*recorded.resumed, resumed]}))

    def _measure_initial_responses(self) -> None:
        with autocast(self.run.device, self.run.precision):
            estimated = with_estimated_statistics(
                self.network, self.feed.evaluation_batches("training", NUM_IMAGES)
            )
            batches = self.feed.evaluation_batches("training", NUM_IMAGES)
            self.initial_responses = layer_responses(estimated, batches, "initial")

    # ---- the parts of the loop ---------------------------------------------------------------------------

    def points_left(self) -> list[int]:
        """List after how many iterations errors are still to be taken."""
        points = evaluation_points(self.num_iterations, self.run.setting.evaluations)
        return [point for point in points if point > self.iteration]

    def inputs_until(self, point: int) -> Iterator[Inputs]:
        """Yield the inputs of the iterations up to an evaluation."""
        self.clock = self.saved = time.perf_counter()
        yield from self.feed.inputs(self.iteration, point)

    def take_step(self, inputs: Inputs) -> None:
        """Do one iteration."""
        self.step(self.iteration, inputs)
        self.iteration += 1

    def save_if_due(self, *, stopping: bool) -> None:
        """Save a checkpoint between two evaluations, if the last one is old or the run is asked to stop.

        Raises:
            Stopped: if it is asked to stop.
        """
        if stopping or time.perf_counter() - self.saved > CHECKPOINT_SECONDS:
            self._stop_clock()
            self.save()
            self.saved = self.clock
        if stopping:
            raise self.stopped()

    def stopped(self) -> Stopped:
        """Say where the run was left."""
        return Stopped(f"{self.run.name} is saved at iteration {self.iteration:,} of {self.num_iterations:,}")

    def evaluate(self) -> MetricsRow:
        """Take the errors, let the plateau see them, and write ``metrics.csv`` with a row more."""
        running = self.trainer.totals.read()
        self.trainer.totals.clear()
        self._stop_clock()
        precision = self.run.precision
        training = evaluate(self.network, self.feed.evaluation_batches("training"), precision)
        validation = evaluate(self.network, self.feed.evaluation_batches("validation"), precision)
        self.evaluation_seconds += time.perf_counter() - self.clock
        row = MetricsRow(
            iteration=self.iteration,
            epoch=round(self.iteration * self.run.setting.batch_size / self.feed.num_training, 4),
            learning_rate=self.step.learning_rates[-1][1],
            running_training_loss=running.loss,
            running_training_error=running.error,
            training_loss=training.loss,
            training_error=training.error,
            validation_loss=validation.loss,
            validation_error=validation.error,
            validation_top5_error=validation.top5_error,
            training_seconds=round(self.training_seconds, 3),
            evaluation_seconds=round(self.evaluation_seconds, 3),
            consumed="/".join(f"{name}:{value}" for name, value in self.feed.digest.state().items()),
        )
        self.rows.append(row)
        write_rows(self.run.folder.metrics, self.rows)
        self.diverged = not (math.isfinite(running.loss) and math.isfinite(training.loss))
        if self.plateau and not self.diverged:
            self.plateau.watch(validation.loss)
        return row

    def _stop_clock(self) -> None:
        now = time.perf_counter()
        self.training_seconds += now - self.clock
        self.clock = now

    # ---- what a checkpoint keeps -------------------------------------------------------------------------

    def save(self) -> None:
        """Save a checkpoint: everything that a resumed run needs to go on as if nothing had happened."""
        save_checkpoint(self.run.folder, self._state())

    def _state(self) -> Checkpoint:
        return {
            "iteration": self.iteration,
            "rows": [row.model_dump() for row in self.rows],
            "initial_responses": [row.model_dump() for row in self.initial_responses],
            "learning_rates": self.step.learning_rates,
            "probed": [row.model_dump() for row in self.step.probed],
            "training_seconds": self.training_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "plateau": self.plateau.state() if self.plateau else None,
            "consumed": self.feed.digest.state(),
            **self.trainer.state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.iteration = state["iteration"]
        self.rows = [MetricsRow(**row) for row in state["rows"]]
        self.initial_responses = [ResponseRow(**row) for row in state["initial_responses"]]
        self.step.learning_rates = state["learning_rates"]
        self.step.probed = [FirstIterationRow(**row) for row in state["probed"]]
        self.training_seconds = state["training_seconds"]
        self.evaluation_seconds = state["evaluation_seconds"]
        if self.plateau:
            self.plateau.restore(state["plateau"])
        self.feed.digest.restore(state["consumed"])
        self.trainer.restore(state)
