"""A run: one network, trained once, with one seed."""

from dataclasses import dataclass

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.growth import grow
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
        source: the run whose trained network this one's is grown from, and its architecture.
        group: this process's place among those that train the run together.
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
    source: tuple[Architecture, RunFolder] | None = None
    group: Group = ALONE

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def needs(self) -> list[RunFolder]:
        """The runs that must be finished before this one can begin."""
        return [folder for folder in (self.leader, self.source and self.source[1]) if folder]

    def network(self, dataset: Dataset) -> Network:
        """Build the network that is trained, with the weights that training begins with, on the CPU.

        Raises:
            ValueError: if it is grown from a run that is not finished or whose weights are not kept.
        """
        network = self._built(dataset, self.architecture, self.setting)
        if self.source:
            architecture, folder = self.source
            source = self.drawn(dataset, architecture)
            source.load_state_dict(self._weights_of(folder))
            feed = make_feed(dataset, self.setting, self.seed, torch.device("cpu"))
            grow(network, source.eval(), feed.evaluation_batches("training"))
        return network

    def drawn(self, dataset: Dataset, architecture: Architecture | None = None) -> Network:
        """Build the network, or another, as it is drawn: neither modified nor grown, on the CPU."""
        unmodified = self.setting.with_changes({"modification": "none"})
        return self._built(dataset, architecture or self.architecture, unmodified)

    def _built(self, dataset: Dataset, architecture: Architecture, setting: Setting) -> Network:
        return build(
            architecture,
            setting,
            channels=dataset.channels,
            num_classes=len(dataset.classes),
            seed=self.seed,
        )

    def _weights_of(self, folder: RunFolder) -> dict[str, torch.Tensor]:
        if not folder.finished or not folder.weights.exists():
            raise ValueError(
                f"{self.name} is grown from the weights of {folder.name}, which are not there; train that one "
                "first (do not leave it out with --network; --rerun trains anew where weights are not kept)"
            )
        weights: dict[str, torch.Tensor] = torch.load(folder.weights, weights_only=True)
        return weights

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
