"""The training loop of one run: when to take a step, evaluate, save and stop.

``session.take_step`` calls ``Stepper.take`` in ``step.py``, which sets the learning rate, makes a batch of images
and labels from the inputs (indices, crops and flips; from a loader: pixels, labels and colour shifts), and calls
``Trainer.step``: forward pass, loss, backward pass, SGD. The network is in training mode throughout; an evaluation
switches it, and back. Measuring and saving are in ``session.py``.
"""

from collections.abc import Callable
from typing import Protocol

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.run import Job
from plain_vs_residual.training.outcome import record_outcome
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Session


class Monitor(Protocol):
    """Is told about the progress of a run; must not change it."""

    def advanced(self, iteration: int, num_iterations: int) -> None:
        """Hear that an iteration was taken; a GPU may still be computing it."""
        ...

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        """Hear of an evaluation."""
        ...


def train(
    job: Job,
    place: Place,
    dataset: Dataset,
    description: RunDescription,
    monitor: Monitor,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end of the budget, or until an evaluation finds that the training loss is not finite.

    A *point* is an iteration after which the errors are evaluated. Records are written on the way and at the end.

    Args:
        job: the run, by which arithmetic it is trained, and the folder of its records; if there is a checkpoint in
            that, training goes on from there.
        place: where to compute.
        dataset: the images.
        description: the part of ``run.json`` that is known before the network is built.
        monitor: is told about progress.
        should_stop: says whether to stop; asked after every iteration, except the last one and one whose
            evaluation found divergence: then the run is recorded instead.

    Raises:
        Stopped: if ``should_stop`` said so; the checkpoint holds everything done so far.
    """
    session = Session.open(job, place, dataset, description)
    for point in session.points_left():
        for inputs in session.inputs_until(point):
            session.take_step(inputs)
            monitor.advanced(session.iteration, session.num_iterations)
            if session.iteration < point:  # at the point itself, evaluate_and_save() saves
                # All processes of a group must decide alike: what one of them wants, all do.
                stop, save = place.group.in_any(should_stop(), session.checkpoint_is_old())
                if stop:
                    session.save_and_stop()  # raises Stopped
                if save:
                    session.save_between_evaluations()
        row = session.evaluate_and_save()
        monitor.evaluated(row, session.num_iterations)
        if session.diverged:
            break  # recorded below, as diverged; its last checkpoint stays as it was
        # After the last iteration the run is recorded instead.
        if session.iteration < session.num_iterations and place.group.in_any(should_stop())[0]:
            session.save_and_stop()
    record_outcome(session)
