"""What contradicts itself in the record of a single run, or was not recorded."""

import math
from collections.abc import Iterator

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.bookkeeping import contradictions
from plain_vs_residual.evidence.divergence import wrongly_diverged
from plain_vs_residual.evidence.once import once_per_run
from plain_vs_residual.records.files import run_name
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import ResponseRow
from plain_vs_residual.records.store import Record
from plain_vs_residual.schedules import FIXED
from plain_vs_residual.training.schedule import schedule_of

CONSUMED = {
    "indices": "order of the images",
    "crops": "crops",
    "flips": "flips",
    "pixels": "augmented pixels",
    "evaluated_training": "training images of the evaluations",
    "evaluated_validation": "validation images of the evaluations",
    "measured_training": "images on which responses were measured",
}


@once_per_run
def own_faults(record: Record) -> Iterator[str]:
    """Name what contradicts itself in a finished run, or was not recorded."""
    assert record.final
    final = record.final
    yield from misnamed(record)
    yield from _beginning(record)
    yield from _rates(record, final)
    yield from _outcome(record, final)
    yield from contradictions(record)
    yield from wrongly_diverged(record)
    for part, words in CONSUMED.items():
        if part not in final.consumed:
            yield f"{words}: not recorded"
    yield from _shortcuts(record, final)


def misnamed(record: Record) -> Iterator[str]:
    """Say if a folder holds the record of another run than its name says: no experiment may then ask for it."""
    run = record.run
    name = run_name(run.network, (run.study, run.dataset.variant), run.seed)
    configured = (run.configuration.network, run.configuration.seed)
    if record.name != name or configured != (run.network, run.seed):
        yield f"the folder is called {record.name}, the record in it is of {name} and {configured[0]}"


def _beginning(record: Record) -> Iterator[str]:
    """Compare the initial values with their number, and ask for the statistics of every normalisation."""
    run = record.run
    values = sum(math.prod(shape_of(text)) for text in run.initial_parameters.values())
    if values != run.parameters and run.configuration.modification == "none":
        yield f"{run.parameters:,} parameters are stated, {values:,} were initialised"
    layers = {name.rpartition(".")[0] for name in run.initial_parameters if ".bn" in f".{name}"}
    missing = [f"{layer}.running_mean" for layer in layers if f"{layer}.running_mean" not in run.initial_buffers]
    if missing:
        yield f"initial statistics: {min(missing)} not recorded"


def _rates(record: Record, final: FinalRecord) -> Iterator[str]:
    """Compare the applied learning rates with the schedule, where it is fixed beforehand."""
    recipe = record.run.configuration
    if not final.learning_rates or final.learning_rates[0][0] != 0:
        yield "learning rates: not recorded from the first iteration on"
    elif recipe.schedule in FIXED:
        assert recipe.iterations is not None
        rate_of = schedule_of(recipe, Architecture.parse(record.run.network).depth, recipe.iterations)
        for iteration, rate in final.learning_rates:
            if not math.isclose(rate, rate_of(iteration), rel_tol=1e-9):
                yield f"learning rate at iteration {iteration}: {rate:g}, but {rate_of(iteration):g} by its recipe"
                return


def _outcome(record: Record, final: FinalRecord) -> Iterator[str]:
    """Compare the outcome with the budget."""
    budget = record.run.configuration.iterations
    if final.outcome == "finished" and final.iteration != budget:
        yield f"finished after {final.iteration} of {budget} iterations"


def _shortcuts(record: Record, final: FinalRecord) -> Iterator[str]:
    """Name the blocks of a residual network to which the shortcut adds nothing, of a plain one where it does."""
    table = read_table(record.folder.responses, ResponseRow)
    shares = table[table["kind"] == "shortcut_share"]
    if final.outcome == "diverged":
        shares = shares[shares["moment"] == "initial"]
    architecture = Architecture.parse(record.run.network)
    blocks = sum(architecture.blocks_per_stage)
    moments = ("initial",) if final.outcome == "diverged" else ("initial", "final")
    if any((shares["moment"] == moment).sum() != blocks for moment in moments):
        yield "what the shortcuts add: not recorded for every block"
        return
    # A foldable block ends with an identity around its last convolution, unless that is a bottleneck's.
    foldable = record.run.configuration.modification == "foldable" and not architecture.bottleneck
    adds = architecture.kind == "residual" or foldable
    wrong = shares[(shares["value"] > 0) != adds]
    if not wrong.empty:
        names = ", ".join(wrong["layer"].unique())
        yield f"shortcuts that add nothing: {names}" if adds else f"a plain network with shortcuts: {names}"


def shape_of(text: str) -> tuple[int, ...]:
    """Read the shape in front of a hash.

    >>> shape_of("16x3x3x3:0123456789abcdef")
    (16, 3, 3, 3)
    """
    return tuple(int(length) for length in text.partition(":")[0].split("x") if length)
