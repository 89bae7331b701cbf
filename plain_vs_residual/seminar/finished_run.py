"""A finished run as the seminar sees it: its network before, during and after training, and its images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.networks import Network, build, hashes_of, on_device
from plain_vs_residual.records.store import read_run
from plain_vs_residual.run import Job
from plain_vs_residual.subject.subject import Subject
from plain_vs_residual.subject.weights import load_weights, read_weights
from plain_vs_residual.training.initial_network import drawn_network, initial_network
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Session


@dataclass(frozen=True, kw_only=True)
class FinishedRun(Subject):
    """A subject that was trained here, and so can be seen before and during its training as well.

    Attributes:
        job: the run and the folder in which it is recorded; finished.
    """

    job: Job

    @classmethod
    def of(cls, job: Job, device: torch.device, dataset: Dataset) -> "FinishedRun":
        """Open a finished run where its images are at hand, split as its setting says; it computes in fp32."""
        run = job.run
        return cls(
            source=job.folder.path,
            architecture=run.architecture,
            setting=run.setting,
            seed=run.seed,
            read=partial(_trained, job, dataset),
            dataset=dataset,
            device=device,
            precision="fp32",
            job=job,
        )

    def untrained(self) -> Network:
        """Build the network as it was before the first step: drawn, modified, or grown.

        Raises:
            ValueError: if its initial values are not those that the run recorded.
        """
        drawn = hashes_of(drawn_network(self.job.run, self.dataset).named_parameters())
        if drawn != read_run(self.job.folder).initial_parameters:
            raise ValueError(f"{self.job.name}: this code draws other initial values than the run began with")
        return on_device(initial_network(self.job, self.dataset), self.device)

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


def _trained(job: Job, dataset: Dataset) -> Network:
    path = job.folder.weights
    if not path.exists():
        raise ValueError(f"{path}: missing, and it cannot be measured without; --rerun trains the run anew")
    run, num_classes = job.run, len(dataset.classes)
    network = build(
        run.architecture, run.setting, channels=dataset.channels, num_classes=num_classes, seed=run.seed
    )
    load_weights(network, read_weights(path), str(path))
    return network
