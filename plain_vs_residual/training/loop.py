"""Trains one run from its start, or from its checkpoint, to its final record."""

from collections.abc import Callable
from typing import Protocol

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.models import MetricsRow, RunDescription
from plain_vs_residual.training.outcome import record_outcome
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.session import Session


class Monitor(Protocol):
    """Watches a run; has no influence on its numbers."""

    def advanced(self, iteration: int, iterations: int) -> None:
        """Hear that an iteration was queued on the device."""
        ...

    def evaluated(self, row: MetricsRow, iterations: int) -> None:
        """Hear that a row of metrics was written."""
        ...


def train(
    run: Run,
    dataset: Dataset,
    description: RunDescription,
    monitor: Monitor,
    stops: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end of the budget, or until the loss is no longer finite, and write every record.

    Args:
        run: what is to be trained; a checkpoint in its folder is resumed.
        dataset: the images.
        description: what ``run.json`` is to say beside what only the built network can tell.
        monitor: is told about progress.
        stops: says whether the run is to be left; asked after every iteration.

    Raises:
        Stopped: if it was left; the checkpoint holds everything done so far.
    """
    session = Session.open(run, dataset, description)
    for point in session.points_left():
        for inputs in session.inputs_until(point):
            session.take_step(inputs)
            monitor.advanced(session.iteration, session.num_iterations)
            if session.iteration < point:
                session.save_if_due(stopping=stops())
        row = session.evaluate()
        if not session.diverged:
            session.save()
        monitor.evaluated(row, session.num_iterations)
        if session.diverged:
            break
        if session.iteration < session.num_iterations and stops():
            raise session.stopped()
    record_outcome(session)
