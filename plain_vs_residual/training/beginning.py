"""What is measured and written when a run begins or goes on."""

from plain_vs_residual.data.batches import Feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.measures.responses import NUM_IMAGES, layer_responses, with_estimated_statistics
from plain_vs_residual.networks import Network, hashes_of, num_parameters
from plain_vs_residual.records.models import ResponseRow, Resumption, RunDescription, RunRecord
from plain_vs_residual.records.store import read_run, write_run
from plain_vs_residual.training.arithmetic import autocast
from plain_vs_residual.training.run import Run


def record_beginning(run: Run, dataset: Dataset, network: Network, description: RunDescription) -> None:
    """Write ``run.json``: what is known of the run, and of its network before the first step."""
    size = run.setting.input_size
    changed = run.source or run.setting.modification != "none"
    drawn = run.drawn(dataset) if changed else network
    record = RunRecord(
        **dict(description),  # not model_dump(), which would turn the records inside it into dictionaries
        parameters=num_parameters(network),
        multiply_adds=multiply_adds(network, (dataset.channels, size, size)),
        initial_parameters=hashes_of(drawn.named_parameters()),
        initial_buffers=hashes_of(drawn.named_buffers()),
        resumed=[],
    )
    write_run(run.folder, record)


def record_resumption(run: Run, description: RunDescription, iteration: int) -> None:
    """Note in ``run.json`` when, where and from which iteration the run goes on."""
    recorded = read_run(run.folder)
    resumed = Resumption(iteration=iteration, started=description.started, environment=description.environment)
    write_run(run.folder, recorded.model_copy(update={"resumed": [*recorded.resumed, resumed]}))


def initial_responses(run: Run, network: Network, feed: Feed) -> list[ResponseRow]:
    """Measure the layer responses of the untrained network, with BN statistics of the same images."""
    with autocast(run.device, run.precision):
        calibrated = with_estimated_statistics(network, feed.evaluation_batches("training", NUM_IMAGES))
        return layer_responses(calibrated, feed.evaluation_batches("training", NUM_IMAGES), "initial")
