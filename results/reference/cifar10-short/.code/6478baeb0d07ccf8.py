"""The network that a run begins with: drawn, modified, or grown from the trained network of another run."""

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.growth import grow
from plain_vs_residual.networks import Network, build
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.run import Job, Run


def initial_network(job: Job, dataset: Dataset) -> Network:
    """Build the network that is trained, with the weights that training begins with, on the CPU.

    Raises:
        ValueError: if it is grown from a run that is not finished or whose weights are not kept.
    """
    run = job.run
    network = _built(run, dataset, run.architecture, run.setting)
    if run.grown_from:
        architecture, name = run.grown_from
        source = drawn_network(run, dataset, architecture)
        source.load_state_dict(_weights_of(job.folder.beside(name), run))
        feed = make_feed(dataset, run.setting, run.seed, torch.device("cpu"))
        grow(network, source.eval(), feed.evaluation_batches("training"))
    return network


def drawn_network(run: Run, dataset: Dataset, architecture: Architecture | None = None) -> Network:
    """Build the network of a run, or another, as it is drawn: neither modified nor grown, on the CPU."""
    unmodified = run.setting.with_changes({"modification": "none"})
    return _built(run, dataset, architecture or run.architecture, unmodified)


def _built(run: Run, dataset: Dataset, architecture: Architecture, recipe: Recipe) -> Network:
    return build(architecture, recipe, channels=dataset.channels, num_classes=len(dataset.classes), seed=run.seed)


def _weights_of(source: RunFolder, run: Run) -> dict[str, torch.Tensor]:
    if not source.finished or not source.weights.exists():
        raise ValueError(
            f"{run.name} is grown from the weights of {source.name}, which are not there; train that one "
            "first (do not leave it out with --network; --rerun trains anew where weights are not kept)"
        )
    weights: dict[str, torch.Tensor] = torch.load(source.weights, weights_only=True)
    return weights
