"""What changes in the course of a run, and what a checkpoint keeps of it beside a plateau's state."""

from typing import Any

from plain_vs_residual.data.feeds import Feed
from plain_vs_residual.diagnostics.responses import NUM_IMAGES, Rows, layer_responses, with_estimated_statistics
from plain_vs_residual.training.checkpoint import Checkpoint
from plain_vs_residual.training.step import Trainer, autocast


class RunState:
    """Where a run is, and what it has measured so far.

    Attributes:
        iteration: how many steps are done.
        rows: of ``metrics.csv``.
        learning_rates: trace of the applied rates, [first iteration, rate] an entry.
        training_seconds: spent in steps.
        evaluation_seconds: spent in taking errors.
        first_iterations: rows of ``first_iterations.csv``, where a study asks for them.
        diverged: whether the loss is no longer finite.
        initial_responses: layer responses before the first step.
    """

    KEPT = (
        "iteration",
        "rows",
        "learning_rates",
        "training_seconds",
        "evaluation_seconds",
        "first_iterations",
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
    def begin(cls, trainer: Trainer, feed: Feed) -> "RunState":
        """A run that has not made a step; measures its initial responses."""

        def images() -> Any:
            return feed.evaluation_batches("training", NUM_IMAGES)

        with autocast(trainer.device, trainer.precision):
            estimated = with_estimated_statistics(trainer.network, images())
            return cls(layer_responses(estimated, images()))

    @classmethod
    def resume(cls, checkpoint: Checkpoint, trainer: Trainer, feed: Feed) -> "RunState":
        """A run as a checkpoint left it; trainer and feed are put where they were."""
        state = cls(checkpoint["initial_responses"])
        for name in cls.KEPT:
            setattr(state, name, checkpoint[name])
        trainer.restore(checkpoint)
        feed.digest.restore(checkpoint["consumed"])
        return state

    def checkpoint(self, trainer: Trainer, feed: Feed) -> Checkpoint:
        """What :meth:`resume` needs."""
        return {
            **{name: getattr(self, name) for name in self.KEPT},
            "initial_responses": self.initial_responses,
            **trainer.state(),
            "consumed": feed.digest.state(),
        }

    def note_rate(self, rate: float) -> None:
        """Keeps the trace of applied rates, an entry a change."""
        if not self.learning_rates or self.learning_rates[-1][1] != rate:
            self.learning_rates.append([self.iteration, rate])
