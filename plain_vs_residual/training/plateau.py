"""A learning rate that falls when the validation loss stops falling, and the rates of a run that others replay."""

from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from plain_vs_residual.records.store import read_final
from plain_vs_residual.run import Job
from plain_vs_residual.training.optimizers import SGD
from plain_vs_residual.training.schedule import RateTrace

FACTOR, PATIENCE = 0.1, 10


class Plateau:
    """The rate of the iterations until the next evaluation, as a schedule that watches its own run.

    Only one member of a pair, its leader, may watch itself; the others replay what it applied.

    Args:
        base: learning rate at the start.
    """

    def __init__(self, base: float) -> None:
        self._optimizer = SGD([torch.zeros(1)], lr=base)
        self._scheduler = ReduceLROnPlateau(self._optimizer, factor=FACTOR, patience=PATIENCE)

    def __call__(self, iteration: int) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def watch(self, validation_loss: float) -> None:
        """Take the loss of an evaluation into account."""
        self._scheduler.step(validation_loss)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rate": self(0), "scheduler": self._scheduler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier :meth:`state`."""
        self._optimizer.param_groups[0]["lr"] = state["rate"]
        self._scheduler.load_state_dict(state["scheduler"])


def leader_rates(job: Job) -> RateTrace:
    """Read the learning rates that the run's leader applied; there are none where it has no leader.

    Raises:
        ValueError: if the leader is not finished.
    """
    if not job.run.leader:
        return ()
    leader = job.folder.beside(job.run.leader)
    if not leader.finished:
        raise ValueError(
            f"{job.name} replays the learning rates of {leader.name}, which is not finished; "
            "train that one first (do not leave it out with --network)"
        )
    return read_final(leader).learning_rates
