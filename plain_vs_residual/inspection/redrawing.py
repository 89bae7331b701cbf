"""What a run's seed stands for, drawn once more: initial values, and the order, crops and flips that it consumed.

Everything a run draws depends on its seed, its network and the number of its images, and on nothing else: neither
weights nor images are needed. What the images themselves decide (augmented pixels, evaluated images) is not drawn.
"""

from collections.abc import Iterator
from functools import lru_cache

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.evidence.own_faults import shape_of
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.networks import Network, build, hashes_of, num_parameters
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records.models import RunRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import MetricsRow, consumed_parts
from plain_vs_residual.records.store import Record

AT_A_TIME = 500  # iterations


def drawn_otherwise(record: Record) -> Iterator[str]:
    """Name what a finished run recorded of its initial network and of its draws, and its seed does not give.

    Takes a second for a small network on few images, minutes for the budgets of ImageNet.
    """
    run = record.run
    recipe = Recipe.model_validate(run.configuration.recipe())
    drawn = _network(run, recipe.model_copy(update={"modification": "none"}))
    for what, recorded, values in (
        ("initial values", run.initial_parameters, hashes_of(drawn.named_parameters())),
        ("initial statistics", run.initial_buffers, hashes_of(drawn.named_buffers())),
    ):
        others = sorted(name for name in {*recorded, *values} if recorded.get(name) != values.get(name))
        if others:
            yield f"{what} of {others[0]} (and {len(others) - 1} others) are not those of seed {run.seed}"
    network = drawn if recipe.modification == "none" else _network(run, recipe)
    shape = (_channels(run), recipe.input_size, recipe.input_size)
    costs = {"parameters": num_parameters(network), "multiply_adds": multiply_adds(network, shape)}
    for name, number in costs.items():
        if getattr(run, name) != number:
            yield f"{name}: {getattr(run, name):,} recorded, {number:,} in the network that is built here"
    yield from _other_draws(record, recipe)


def _network(run: RunRecord, recipe: Recipe) -> Network:
    return build(
        Architecture.parse(run.network),
        recipe,
        channels=_channels(run),
        num_classes=len(run.dataset.classes),
        seed=run.seed,
    )


def _channels(run: RunRecord) -> int:
    return shape_of(run.initial_parameters["conv1.weight"])[1]


def _other_draws(record: Record, recipe: Recipe) -> Iterator[str]:
    """Compare the chained hashes of everything drawn, at each evaluation and of the whole run."""
    run, final = record.run, record.final
    assert final
    metrics = read_table(record.folder.metrics, MetricsRow)
    points = tuple(int(iteration) for iteration in metrics["iteration"])
    digests = _digests(recipe.model_dump_json(), run.configuration.num_training, run.seed, points)
    recorded = [consumed_parts(text) for text in metrics["consumed"]]
    for name in digests[-1]:
        places = [*(f"at iteration {point}" for point in points), "in the outcome"]
        for place, there, here in zip(places, [*recorded, final.consumed], [*digests, digests[-1]], strict=True):
            if there.get(name) != here[name]:
                yield f"{name} {place} are not those of seed {run.seed}"
                break


# Members of a pair draw the same: those of one seed come one after the other.
@lru_cache(maxsize=16)
def _digests(recipe: str, num_images: int, seed: int, points: tuple[int, ...]) -> list[dict[str, str]]:
    """Chain the hashes of all draws as training does, and read them after so many iterations each."""
    read = Recipe.model_validate_json(recipe)
    stream = DataStream(num_images, read.batch_size, seed, draws_of(read))
    digest = ConsumptionDigest(torch.device("cpu"))
    found, done = [], 0
    for point in points:
        while done < point:
            until = min(point, done + AT_A_TIME)
            drawn = stream.segment(done, until)
            for step in range(until - done):
                digest.add_draws({name: values[step] for name, values in drawn.items()})
            done = until
        found.append(dict(digest.chains))
    return found
