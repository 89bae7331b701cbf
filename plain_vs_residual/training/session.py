"""A run in progress: network, data, optimizer, clocks, and what was measured so far."""

import math
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import torch

from plain_vs_residual.data.batches import Inputs, Part
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.networks import on_device
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.records.rows import FirstIterationRow, MetricsRow, ResponseRow
from plain_vs_residual.records.store import write_rows
from plain_vs_residual.run import Job
from plain_vs_residual.training.beginning import initial_responses, record_beginning, record_resumption
from plain_vs_residual.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from plain_vs_residual.training.evaluation import Counts, Errors, evaluate
from plain_vs_residual.training.initial_network import initial_network
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.plateau import Plateau, leader_rates
from plain_vs_residual.training.precision import prepare_arithmetic
from plain_vs_residual.training.schedule import evaluation_points, num_iterations, schedule_of
from plain_vs_residual.training.step import Stepper, Trainer
from plain_vs_residual.training.training_curve import POINTS, TrainingCurve

# A checkpoint is saved after the first iteration that ends later than this after the last one.
CHECKPOINT_SECONDS = 300.0


class Stopped(KeyboardInterrupt):
    """A run was asked to stop and left a checkpoint: a KeyboardInterrupt, so that no ``except`` swallows it."""


class Session:
    """A run in progress, from its start or from a checkpoint.

    Args:
        job: what to train, by which arithmetic, and where it is recorded.
        place: where to compute.
        dataset: the images.

    Attributes:
        network: on its device.
        feed: brings the batches, and hashes what it hands out.
        trainer: the network with its optimizer.
        stepper: takes the iterations and keeps the trace of learning rates.
        plateau: the schedule ``plateau``, which watches the run's own validation loss; None for every other.
        iteration: how many iterations are done.
        num_iterations: how many there are to do.
        rows: of ``metrics.csv``.
        training_curve: running training error, at more points than there are evaluations.
        initial_responses: layer responses at initialisation.
        training_seconds: time spent in iterations, without evaluating and saving.
        evaluation_seconds: time spent in evaluations.
        diverged: whether the last evaluation found a training loss that is not finite.
        opened_at: when this session began, on the clock of ``time.perf_counter``.
    """

    def __init__(self, job: Job, place: Place, dataset: Dataset) -> None:
        self.opened_at = self._lap_began_at = self._saved_at = time.perf_counter()
        self.job = job
        self.run, self.folder, self.arithmetic = job.run, job.folder, job.arithmetic
        self.device, self.group = place.device, place.group
        self.dataset = dataset
        setting = self.run.setting
        prepare_arithmetic(self.device, self.arithmetic)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.network = on_device(initial_network(job, dataset), self.device)
        self.feed = make_feed(dataset, setting, self.run.seed, self.device, self.group)
        execution = self.arithmetic.execution
        self.trainer = Trainer(
            self.network, setting, self.arithmetic.precision, execution=execution, group=self.group
        )
        self.num_iterations = num_iterations(setting, len(dataset.training))
        self.plateau = Plateau(setting.learning_rate) if setting.schedule == "plateau" else None
        depth, replayed = self.run.architecture.depth, leader_rates(job)
        schedule = self.plateau or schedule_of(setting, depth, self.num_iterations, replayed)
        self.stepper = Stepper(self.trainer, self.feed, schedule, execution, setting.probe_iterations)
        self.iteration = 0
        self.rows: list[MetricsRow] = []
        read_at = (evaluation_points(self.num_iterations, number) for number in (POINTS, setting.evaluations))
        self.training_curve = TrainingCurve(read_at)
        self.initial_responses: list[ResponseRow] = []
        self.training_seconds = self.evaluation_seconds = 0.0
        self.diverged = False

    @classmethod
    def open(cls, job: Job, place: Place, dataset: Dataset, description: RunDescription) -> "Session":
        """Begin a run and write ``run.json``, or go on from its checkpoint.

        Args:
            job: what to train, by which arithmetic, and where it is recorded.
            place: where to compute.
            dataset: the images.
            description: the part of ``run.json`` that is known before the network is built.
        """
        session = cls(job, place, dataset)
        folder, group = job.folder, place.group
        folder.path.mkdir(parents=True, exist_ok=True)
        checkpoint, damaged = group.as_first(load_checkpoint(folder) if group.is_first else (None, []))
        consequence = "goes on from the checkpoint before it" if checkpoint else "starts again"
        for line in damaged if group.is_first else ():
            print(f"note: {line}; the run {consequence}")
        if group.is_first and checkpoint:
            record_resumption(folder, description, checkpoint["iteration"])
        elif group.is_first:
            record_beginning(job, dataset, session.network, description)
        if checkpoint:
            session._restore(checkpoint)
        else:
            precision = job.arithmetic.precision
            session.initial_responses = initial_responses(session.network, session.feed, place.device, precision)
        return session

    # ---- the parts of the loop ---------------------------------------------------------------------------

    def points_left(self) -> list[int]:
        """Return the iterations after which evaluations are still to come."""
        points = evaluation_points(self.num_iterations, self.run.setting.evaluations)
        return [point for point in points if point > self.iteration]

    def inputs_until(self, point: int) -> Iterator[Inputs]:
        """Yield the inputs of the iterations up to an evaluation."""
        self._lap_began_at = self._saved_at = time.perf_counter()
        yield from self.feed.inputs(self.iteration, point)

    def take_step(self, inputs: Inputs) -> None:
        """Take one iteration."""
        self.stepper.take(self.iteration, inputs)
        self.iteration += 1
        self.training_curve.read(self.iteration, self.trainer.totals)

    def checkpoint_is_old(self) -> bool:
        """Say whether the last checkpoint was saved so long ago that another one is due."""
        return time.perf_counter() - self._saved_at > CHECKPOINT_SECONDS

    def save_and_stop(self) -> NoReturn:
        """Save a checkpoint, unless the last one is of this iteration, and stop.

        Raises:
            Stopped: says where the run was left.
        """
        if not self.rows or self.rows[-1].iteration < self.iteration:
            self.save_between_evaluations()
        raise Stopped(f"{self.run.name} is saved at iteration {self.iteration:,} of {self.num_iterations:,}")

    def evaluate_and_save(self) -> MetricsRow:
        """Measure errors, write both curves, inform the plateau, and save unless the run diverged."""
        self._end_lap()
        before = self.rows[-1].iteration if self.rows else 0
        running = self.training_curve.between(before, self.iteration)
        began_at, group = time.perf_counter(), self.group
        group.copy_first(self.network.buffers())  # each process has running statistics of its own images
        training, validation = self.errors_on("training"), self.errors_on("validation")
        self.evaluation_seconds += time.perf_counter() - began_at
        self.rows.append(self._metrics_row(running, training, validation))
        if group.is_first:
            write_rows(self.folder.metrics, self.rows)
            write_rows(self.folder.training_curve, self.training_curve.rows(self._epoch))
        # The validation loss does not count: divergence is a matter of training.
        self.diverged = not (math.isfinite(running.mean_loss) and math.isfinite(training.loss))
        if not self.diverged:
            if self.plateau is not None:
                self.plateau.watch(validation.loss)
            self._save()
        return self.rows[-1]

    def errors_on(self, part: Part, num_classes: int = 0) -> Errors:
        """Take the errors on all images of a part, by class and prediction if there are classes to be counted."""
        batches = self.feed.evaluation_batches(part)
        return evaluate(self.network, batches, self.arithmetic.precision, num_classes, self.group)

    def _epoch(self, iteration: int) -> float:
        return round(iteration * self.run.setting.batch_size / self.feed.num_training, 4)

    def _metrics_row(self, running: Counts, training: Errors, validation: Errors) -> MetricsRow:
        return MetricsRow(
            iteration=self.iteration,
            epoch=self._epoch(self.iteration),
            learning_rate=self.stepper.learning_rate,
            running_training_loss=running.mean_loss,
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

    def _end_lap(self) -> None:
        self.training_seconds += time.perf_counter() - self._lap_began_at

    # ---- what a checkpoint keeps -------------------------------------------------------------------------

    def save_between_evaluations(self) -> None:
        """Save a checkpoint; the time that it takes does not count as training."""
        self._end_lap()
        self._save()
        self._lap_began_at = self._saved_at = time.perf_counter()

    def _save(self) -> None:
        """Save everything that a resumed run needs to go on as if nothing had happened."""
        state = self._state()  # of which the processes of a group have their parts
        if self.group.is_first:
            save_checkpoint(self.folder, state)

    def _state(self) -> Checkpoint:
        return {
            "iteration": self.iteration,
            "rows": [row.model_dump() for row in self.rows],
            "training_curve": self.training_curve.state(),
            "initial_responses": [row.model_dump() for row in self.initial_responses],
            "learning_rates": self.stepper.learning_rates,
            "probed": [row.model_dump() for row in self.stepper.probed],
            "training_seconds": self.training_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "plateau": self.plateau.state() if self.plateau is not None else None,
            "consumed": self.feed.digest.state(),
            **self.trainer.state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.iteration = state["iteration"]
        self.rows = [MetricsRow(**row) for row in state["rows"]]
        self.training_curve.restore(state["training_curve"])
        self.initial_responses = [ResponseRow(**row) for row in state["initial_responses"]]
        self.stepper.learning_rates = state["learning_rates"]
        self.stepper.probed = [FirstIterationRow(**row) for row in state["probed"]]
        self.training_seconds = state["training_seconds"]
        self.evaluation_seconds = state["evaluation_seconds"]
        if self.plateau is not None:
            self.plateau.restore(state["plateau"])
        self.feed.digest.restore(state["consumed"])
        self.trainer.restore(state)
