"""What is measured and written when a run begins or goes on."""

import torch

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.batches import Feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses, with_estimated_statistics
from plain_vs_residual.networks import Network, hashes_of, num_parameters
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import Resumption, RunDescription, RunRecord
from plain_vs_residual.records.registered import digests
from plain_vs_residual.records.rows import ResponseRow
from plain_vs_residual.records.store import read_run, write_run
from plain_vs_residual.run import Job
from plain_vs_residual.training.initial_network import drawn_network
from plain_vs_residual.training.precision import autocast


def record_beginning(job: Job, dataset: Dataset, network: Network, description: RunDescription) -> None:
    """Write ``run.json``: what is known of the run, and of its network before the first step."""
    run = job.run
    size = run.setting.input_size
    changed = run.grown_from or run.setting.modification != "none"
    drawn = drawn_network(run, dataset) if changed else network
    record = RunRecord(
        **dict(description),  # not model_dump(), which would turn the records inside it into dictionaries
        parameters=num_parameters(network),
        multiply_adds=multiply_adds(network, (dataset.channels, size, size)),
        initial_parameters=hashes_of(drawn.named_parameters()),
        initial_buffers=hashes_of(drawn.named_buffers()),
        resumed=[],
        registered=digests(job.folder.path.parent, run.variant),
    )
    write_run(job.folder, record)


def record_resumption(folder: RunFolder, now: RunDescription, iteration: int) -> None:
    """Note in ``run.json`` when, where, how and from which iteration the run goes on."""
    recorded = read_run(folder)
    resumed = Resumption(
        iteration=iteration, started=now.started, environment=now.environment, arithmetic=now.arithmetic
    )
    write_run(folder, recorded.model_copy(update={"resumed": [*recorded.resumed, resumed]}))


def initial_responses(
    network: Network, feed: Feed, device: torch.device, precision: Precision
) -> list[ResponseRow]:
    """Measure the layer responses of the untrained network, with BN statistics of the same images."""
    with autocast(device, precision):
        calibrated = with_estimated_statistics(network, feed.evaluation_batches("training", NUM_IMAGES))
        return layer_responses(calibrated, feed.evaluation_batches("training", NUM_IMAGES), "initial")
