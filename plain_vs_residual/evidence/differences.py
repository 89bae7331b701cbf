"""What differs between two recorded runs and should not."""

from collections.abc import Collection, Iterator

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.consumption import consumption, consumption_so_far, rates
from plain_vs_residual.evidence.once import once_per_run
from plain_vs_residual.evidence.own_faults import CONSUMED, shape_of
from plain_vs_residual.records.fingerprint import differing_code
from plain_vs_residual.records.models import MeasurementRecord, Resumption, RunRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import ResponseRow
from plain_vs_residual.records.store import Record

# What may differ between two members of a pair: which networks they are, and which seed in the check across seeds.
NOT_SHARED = {"network", "seed", "replayed_rates", "source_weights"}
SAME_MACHINE = (
    *("torch", "torchvision", "numpy", "python", "compiler"),
    *("device", "device_name", "cuda", "cudnn"),
)
RATES = {"learning_rate", "warm_up_iterations", "schedule", "drops"}
BUDGET = {"epochs", "iterations"}


# ---- two seeds of one network ----------------------------------------------------------------------------


def across_seeds(a: Record, b: Record) -> Iterator[str]:
    """Name what differs between two seeds of one network, which a claim takes together, or what they share."""
    assert a.final
    assert b.final
    yield from _recipe(a, b, set())
    yield from _machines(a, b)
    if _shapes(a) != _shapes(b):
        yield "names and shapes of the initial parameters differ"
    if a.run.multiply_adds != b.run.multiply_adds:
        yield f"multiply-adds: {a.run.multiply_adds:,} against {b.run.multiply_adds:,}"
    if a.run.initial_parameters == b.run.initial_parameters:
        yield "two seeds start from the same initial values: one is a copy"
    if a.final.consumed.get("indices") == b.final.consumed.get("indices"):
        yield "two seeds saw the images in the same order: one is a copy"
    for part, words in CONSUMED.items():
        same_images = part.startswith(("evaluated_", "measured_")) and a.final.iteration == b.final.iteration
        if same_images and a.final.consumed.get(part) != b.final.consumed.get(part):
            yield f"{words} differ ({part})"
    yield from _same_for_all_seeds(a, b)


def _same_for_all_seeds(a: Record, b: Record) -> Iterator[str]:
    """Name what differs of what the seed has no part in: data set, classes, layers, what is said of the recipe."""
    assert a.final
    assert b.final
    yield from _datasets(a, b)
    for field in ("caveat", "departures", "parameters"):
        old, new = getattr(a.run, field), getattr(b.run, field)
        if old != new:
            yield f"{field}: {old} against {new}"
    if a.final.responses_on != b.final.responses_on:
        yield f"responses measured on {a.final.responses_on} against {b.final.responses_on}"
    if _layers(a) != _layers(b):
        yield "layer responses: not of the same layers"


@once_per_run
def _layers(record: Record) -> Iterator[tuple[object, ...]]:
    """Yield moment, kind, order and name of everything whose response was measured."""
    table = read_table(record.folder.responses, ResponseRow)
    yield from table[["moment", "kind", "order", "layer"]].itertuples(index=False, name=None)


# ---- two members of a pair -------------------------------------------------------------------------------


def differences(a: Record, b: Record, studied: Collection[str] = ()) -> Iterator[str]:
    """Name everything that differs between two members of a pair and should not.

    Args:
        a: one member.
        b: the other.
        studied: fields of the configuration whose influence is what is being compared.
    """
    assert a.final
    assert b.final
    if budgets := BUDGET & set(studied):
        studied = {*studied, *BUDGET}
    yield from _recipe(a, b, studied)
    yield from _machines(a, b)
    if "split" not in studied:
        yield from _datasets(a, b)
    if a.final.responses_on != b.final.responses_on:
        yield f"responses measured on {a.final.responses_on} against {b.final.responses_on}"
    for record in (a, b):
        yield from _moved(record)
    yield from _networks(a, b)
    if a.final.skipped_steps != b.final.skipped_steps:
        yield f"steps skipped: {a.final.skipped_steps} against {b.final.skipped_steps}"
    if a.final.iteration == b.final.iteration:
        yield from consumption(a, b, a.final, b.final)
    elif budgets or "diverged" in (a.final.outcome, b.final.outcome):
        yield from consumption_so_far(a, b)
    else:
        yield f"iterations: {a.final.iteration} against {b.final.iteration}"
    if not budgets and not RATES & set(studied):
        yield from rates(a, b, a.final, b.final)


def shared_parameters(a: Record, b: Record) -> list[str]:
    """List the parameters of one name and shape in both networks."""
    first, second = _shapes(a), _shapes(b)
    return [name for name in first if first[name] == second.get(name)]


def _datasets(a: Record, b: Record) -> Iterator[str]:
    """Name what differs in what is known of the images, and in how many of each class were looked at."""
    for field, old in a.run.dataset.model_dump().items():
        if old != (new := getattr(b.run.dataset, field)):
            yield f"data set, {field}: {old} against {new}"
    looked_at = [record.final.confusion_on if record.final else "" for record in (a, b)]
    classes = [list(map(sum, record.final.confusion)) if record.final else [] for record in (a, b)]
    if looked_at[0] != looked_at[1] or classes[0] != classes[1]:
        yield f"images by class: {classes[0]} {looked_at[0]} against {classes[1]} {looked_at[1]} images"


def _recipe(a: Record, b: Record, studied: Collection[str]) -> Iterator[str]:
    """Name what differs in configuration and code."""
    first, second = (record.run.configuration.model_dump() for record in (a, b))
    for field in sorted(first.keys() - {*NOT_SHARED, *studied}):
        old, new = first[field], second[field]
        led = field == "schedule" and {old, new} == {"plateau", "replay"}
        if old != new and not led:
            yield f"{field}: {old} against {new}"
    for path in differing_code(a.run.sources, b.run.sources):
        yield f"{path}: trained by different code"


def _machines(a: Record, b: Record) -> Iterator[str]:
    for field, old, new in computed_otherwise(a.run, b.run):
        yield f"{field}: {old} against {new}"
    changes = [record.run.environment.git_changes for record in (a, b)]
    if set(changes) == {True, False}:  # what git could not say of one (None) differs from neither
        changed = a.name if changes[0] else b.name
        yield f"only {changed} was trained with uncommitted changes of the code"


Computed = RunRecord | Resumption | MeasurementRecord


def computed_otherwise(first: Computed, second: Computed) -> Iterator[tuple[str, object, object]]:
    """Yield what differs in machine, versions and, where both know it, arithmetic: name and both values."""
    for field in SAME_MACHINE:
        old, new = getattr(first.environment, field), getattr(second.environment, field)
        if old != new:
            yield field, old, new
    # A GPU computes the same numbers however many cores the process beside it has.
    on_gpus = first.environment.device == second.environment.device == "cuda"
    but_for = frozenset({"threads"}) if on_gpus else frozenset()
    if first.arithmetic is None or second.arithmetic is None:
        return  # a measurement by a version that did not note it
    for field, (old, new) in first.arithmetic.differences(second.arithmetic, but_for).items():
        yield field, old, new


def _moved(record: Record) -> Iterator[str]:
    """Name where a run was resumed on another machine, or with other versions or arithmetic, than it began."""
    for session in record.run.resumed:
        for field, old, new in computed_otherwise(record.run, session):
            yield f"{record.name} went on from iteration {session.iteration} with {field} {new}, not {old}"


def _networks(a: Record, b: Record) -> Iterator[str]:
    """Name what differs in the initial values, and in the costs where option A promises equal ones."""
    first, second = (Architecture.parse(record.run.network) for record in (a, b))
    for name in sorted(set(first.parameter_names) & set(second.parameter_names)):
        there = [name in record.run.initial_parameters for record in (a, b)]
        if there[0] != there[1]:
            yield f"parameter {name}: only in {a.name if there[0] else b.name}"
    if not shared_parameters(a, b):
        yield "no parameter has one name and shape in both"
    same_layers = (first.family, first.bottleneck) == (second.family, second.bottleneck)
    yield from _values("initial values", a.run.initial_parameters, b.run.initial_parameters, shapes=same_layers)
    yield from _values("initial statistics", a.run.initial_buffers, b.run.initial_buffers, shapes=same_layers)
    modified = {record.run.configuration.modification for record in (a, b)} != {"none"}
    if (
        same_layers
        and not modified
        and first.depth == second.depth
        and {first.option, second.option} <= {None, "A"}
    ):
        for cost in ("parameters", "multiply_adds"):
            old, new = getattr(a.run, cost), getattr(b.run, cost)
            if old != new:
                yield f"{cost.replace('_', '-')}: {old:,} against {new:,}, though option A has none of its own"


def _values(what: str, first: dict[str, str], second: dict[str, str], *, shapes: bool) -> Iterator[str]:
    """Name the tensors of one name that are not equal; one of another shape counts if shapes should be equal."""
    found = [
        name
        for name in first.keys() & second.keys()
        if first[name] != second[name] and (shapes or shape_of(first[name]) == shape_of(second[name]))
    ]
    if found:
        others = f" and of {len(found) - 1} others" if len(found) > 1 else ""
        yield f"{what} of {min(found)}{others} differ"


def _shapes(record: Record) -> dict[str, tuple[int, ...]]:
    return {name: shape_of(text) for name, text in record.run.initial_parameters.items()}
