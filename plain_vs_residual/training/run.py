"""A run: one network, trained once, with one seed."""

from dataclasses import dataclass

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.networks import Network, build
from plain_vs_residual.recipe import Execution, Precision
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.store import read_final
from plain_vs_residual.settings import Setting
from plain_vs_residual.training.schedule import RateTrace


@dataclass(frozen=True)
class Run:
    """What is to be trained, how the device computes, and where the records go.

    Attributes:
        architecture: which network.
        setting: with the changes of the run's study.
        seed: of initial weights, order and augmentation.
        precision: in which the network computes.
        device: where it computes.
        folder: where the records go.
        execution: how the operations reach the device.
        deterministic: whether only algorithms that give equal bytes may be used.
        study: name of the study; empty for the setting as it is.
        variant: sets the run apart where images, split or budget are not the setting's own.
        experiments: names of the experiments that need the run.
        leader: the run whose learning rates this one replays.
    """

    architecture: Architecture
    setting: Setting
    seed: int
    precision: Precision
    device: torch.device
    folder: RunFolder
    execution: Execution = Execution.EAGER
    deterministic: bool = False
    study: str = ""
    variant: str = ""
    experiments: tuple[str, ...] = ()
    leader: RunFolder | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def network(self, dataset: Dataset) -> Network:
        """Build the network with its initial weights, on the CPU."""
        return build(
            self.architecture,
            self.setting,
            channels=dataset.channels,
            num_classes=len(dataset.classes),
            seed=self.seed,
        )

    def leader_rates(self) -> RateTrace:
        """Read the learning rates that the run's leader applied; there are none where it has no leader.

        Raises:
            ValueError: if the leader is not finished.
        """
        if self.leader is None:
            return ()
        if not self.leader.finished:
            raise ValueError(
                f"{self.name} replays the learning rates of {self.leader.name}, which is not finished; "
                "train that one first (do not leave it out with --network)"
            )
        return read_final(self.leader).learning_rates
