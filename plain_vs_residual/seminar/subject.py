"""A finished run as the seminar's experiments see it: its network before, during and after training, its images.

Everything is measured in fp32 and on fixed images without augmentation. BN normalises in one of three ways, and
every number says by which: the statistics of the batch (T, as in training), the running statistics that training
left (E, as in evaluation), or running statistics estimated anew on training images (R), which untrained, edited
and interpolated networks need.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from plain_vs_residual.data.batches import Batch, Feed, Part
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.networks import Network, hashes_of, on_device
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.records.models import MeasuredRow
from plain_vs_residual.records.store import read_run
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.evaluation import evaluate
from plain_vs_residual.training.initial_network import drawn_network, initial_network
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.schedule import num_iterations
from plain_vs_residual.training.session import Session

NUM_FOR_STATISTICS = 1000


@dataclass(frozen=True)
class Measured:
    """What an experiment found out about one run.

    Attributes:
        rows: every number, for the figure.
        summary: what it comes to: columns for claims, which the module names as COLUMNS; NaN where there is no
            number.
    """

    rows: Sequence[MeasuredRow]
    summary: dict[str, float]


@dataclass(frozen=True)
class Subject:
    """A finished run and its images.

    Attributes:
        job: the run and the folder in which it is recorded; finished.
        device: where it is measured.
        dataset: the images, split as the run's setting says.
    """

    job: Job
    device: torch.device
    dataset: Dataset

    @property
    def run(self) -> Run:
        """What was trained."""
        return self.job.run

    @cached_property
    def feed(self) -> Feed:
        """What brings the images to the device."""
        return make_feed(self.dataset, self.run.setting, self.run.seed, self.device)

    @property
    def num_iterations(self) -> int:
        """How many iterations the run has."""
        return num_iterations(self.run.setting, len(self.dataset.training))

    def untrained(self) -> Network:
        """Build the network as it was before the first step.

        Raises:
            ValueError: if its initial values are not those that the run recorded.
        """
        drawn = hashes_of(drawn_network(self.run, self.dataset).named_parameters())
        if drawn != read_run(self.job.folder).initial_parameters:
            raise ValueError(f"{self.run.name}: this code draws other initial values than the run began with")
        return on_device(initial_network(self.job, self.dataset), self.device)

    def trained(self) -> Network:
        """Load the network as it was after the last step, in evaluation mode.

        Raises:
            ValueError: if the run's weights are not kept.
        """
        path = self.job.folder.weights
        if not path.exists():
            raise ValueError(f"{path}: missing, and it cannot be measured without; --rerun trains the run anew")
        network = initial_network(self.job, self.dataset)
        network.load_state_dict(torch.load(path, weights_only=True))
        return on_device(network, self.device).eval()

    def during_training(self, iterations: Sequence[int]) -> Iterator[tuple[int, Network]]:
        """Train the run once more, without writing anything, and show the network after each of the iterations.

        Whoever looks must leave parameters and running statistics as they are. On a CPU the weights are those of
        the run itself, byte for byte.
        """
        session = Session(self.job, Place(self.device), self.dataset)
        for point in sorted(iterations):
            if point > session.iteration:
                for inputs in session.inputs_until(point):
                    session.take_step(inputs)
            yield point, session.network

    def images(self, num: int, part: Part = "training") -> Batch:
        """Return ``num`` evenly spaced images, float (N, C, H, W), and their labels, int64 (N)."""
        images, labels = zip(*self.feed.evaluation_batches(part, num), strict=True)
        return torch.cat(images), torch.cat(labels)

    def with_estimated_statistics(self, network: nn.Module) -> nn.Module:
        """Return a copy in evaluation mode whose running statistics are those of 1,000 training images (R)."""
        batches = self.feed.evaluation_batches("training", NUM_FOR_STATISTICS)
        return with_estimated_statistics(network, batches).eval()

    def generator(self, *purpose: object) -> torch.Generator:
        """Make a generator for what is drawn; equal for every network of the run's seed."""
        return keyed_generator(self.run.seed, *purpose)

    def draw(self, names: Sequence[str], number: int, *purpose: object) -> list[str]:
        """Draw some of the names without repetition, in their order; equal for equal names, seed and purpose."""
        order = torch.randperm(len(names), generator=self.generator(*purpose)).tolist()
        return [names[index] for index in sorted(order[:number])]


def error_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the error of a network in evaluation mode, in percent."""
    return evaluate(network, zip(images.split(250), labels.split(250), strict=True), "fp32").error
