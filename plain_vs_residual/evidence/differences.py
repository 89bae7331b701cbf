"""What differs between two recorded runs and should not, and what is wrong with a single one."""

import math
from collections.abc import Collection, Iterator

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.records.files import run_name
from plain_vs_residual.records.fingerprint import differing_sources
from plain_vs_residual.records.models import Environment, FinalRecord, MetricsRow, ResponseRow
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.store import Record

# What may differ between two members of a pair: which networks they are, and which seed in the check across seeds.
NOT_SHARED = {"network", "seed", "replayed_rates"}
SAME_MACHINE = (
    *("torch", "torchvision", "numpy", "python"),
    *("device", "device_name", "cuda", "cudnn", "threads"),
)
RATES = {"learning_rate", "warm_up_iterations", "schedule", "drops"}
BUDGET = {"epochs", "iterations"}
CONSUMED = {
    "indices": "order of the images",
    "pixels": "augmented pixels",
    "evaluated_training": "training images of the evaluations",
    "evaluated_validation": "validation images of the evaluations",
    "measured_training": "images on which responses were measured",
}


# ---- one run ---------------------------------------------------------------------------------------------


def own_faults(record: Record) -> Iterator[str]:
    """Name what contradicts itself in one finished run, or was not recorded."""
    run, final = record.run, record.final
    assert final
    name = run_name(run.network, (run.study, run.dataset.variant), run.seed)
    configured = (run.configuration.network, run.configuration.seed)
    if record.name != name or configured != (run.network, run.seed):
        yield f"the folder is called {record.name}, the record in it is of {name} and {configured[0]}"
    values = sum(math.prod(_shape(text)) for text in run.initial_parameters.values())
    if values != run.parameters:
        yield f"{run.parameters:,} parameters are stated, {values:,} were initialised"
    for part, words in CONSUMED.items():
        if part not in final.consumed:
            yield f"{words}: not recorded"
    yield from _shortcuts(record, final)


def _shortcuts(record: Record, final: FinalRecord) -> Iterator[str]:
    """Name the blocks of a residual network to which the shortcut adds nothing, of a plain one where it does."""
    table = read_table(record.folder.responses, ResponseRow)
    shares = table[table["kind"] == "shortcut_share"]
    if final.outcome == "diverged":
        shares = shares[shares["moment"] == "initial"]
    residual = Architecture.parse(record.run.network).kind == "residual"
    wrong = shares[(shares["value"] > 0) != residual]
    if shares.empty:
        yield "what the shortcuts add: not recorded"
    elif not wrong.empty:
        blocks = ", ".join(wrong["layer"].unique())
        yield f"shortcuts that add nothing: {blocks}" if residual else f"a plain network with shortcuts: {blocks}"


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
    for record in (a, b):
        yield from _moved(record)
    yield from _networks(a, b)
    if a.final.skipped_steps != b.final.skipped_steps:
        yield f"steps skipped: {a.final.skipped_steps} against {b.final.skipped_steps}"
    if a.final.iteration == b.final.iteration:
        yield from _consumption(a, b, a.final, b.final)
    elif budgets or "diverged" in (a.final.outcome, b.final.outcome):
        yield from _consumption_so_far(a, b)
    else:
        yield f"iterations: {a.final.iteration} against {b.final.iteration}"
    if not budgets and not RATES & set(studied):
        yield from _rates(a, b, a.final, b.final)


def shared_parameters(a: Record, b: Record) -> list[str]:
    """List the parameters of one name and shape in both networks."""
    first, second = _shapes(a), _shapes(b)
    return [name for name in first if first[name] == second.get(name)]


def _recipe(a: Record, b: Record, studied: Collection[str]) -> Iterator[str]:
    """Name what differs in configuration and code."""
    first, second = (record.run.configuration.model_dump() for record in (a, b))
    for field in sorted(first.keys() - {*NOT_SHARED, *studied}):
        old, new = first[field], second[field]
        led = field == "schedule" and {old, new} == {"plateau", "replay"}
        if old != new and not led:
            yield f"{field}: {old} against {new}"
    for path in differing_sources(a.run.sources, b.run.sources):
        yield f"{path}: trained by different code"


def _machines(a: Record, b: Record) -> Iterator[str]:
    first, second = a.run.environment, b.run.environment
    for field, old, new in _machine_differences(first, second):
        yield f"{field}: {old} against {new}"
    if first.git_changes != second.git_changes:
        changed = a.name if first.git_changes else b.name
        yield f"only {changed} was trained with uncommitted changes of the code"


def _machine_differences(first: Environment, second: Environment) -> Iterator[tuple[str, object, object]]:
    for field in SAME_MACHINE:
        old, new = getattr(first, field), getattr(second, field)
        if old != new:
            yield field, old, new


def _moved(record: Record) -> Iterator[str]:
    """Name where a run was resumed on another machine or with other versions than it began with."""
    for session in record.run.resumed:
        for field, old, new in _machine_differences(record.run.environment, session.environment):
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
    if same_layers and first.depth == second.depth and {first.option, second.option} <= {None, "A"}:
        for cost in ("parameters", "multiply_adds"):
            old, new = getattr(a.run, cost), getattr(b.run, cost)
            if old != new:
                yield f"{cost.replace('_', '-')}: {old:,} against {new:,}, though option A has none of its own"


def _values(what: str, first: dict[str, str], second: dict[str, str], *, shapes: bool) -> Iterator[str]:
    """Name the tensors of one name that are not equal; one of another shape counts if shapes should be equal."""
    found = [
        name
        for name in first.keys() & second.keys()
        if first[name] != second[name] and (shapes or _shape(first[name]) == _shape(second[name]))
    ]
    if found:
        others = f" and of {len(found) - 1} others" if len(found) > 1 else ""
        yield f"{what} of {min(found)}{others} differ"


def _shapes(record: Record) -> dict[str, tuple[int, ...]]:
    return {name: _shape(text) for name, text in record.run.initial_parameters.items()}


def _shape(text: str) -> tuple[int, ...]:
    """Read the shape in front of a hash.

    >>> _shape("16x3x3x3:0123456789abcdef")
    (16, 3, 3, 3)
    """
    return tuple(int(length) for length in text.partition(":")[0].split("x") if length)


def _consumption(a: Record, b: Record, first: FinalRecord, second: FinalRecord) -> Iterator[str]:
    for name in sorted({*first.consumed, *second.consumed}):
        if first.consumed.get(name) != second.consumed.get(name):
            yield f"{CONSUMED.get(name, name)} differ ({name}{_since(a, b, name)})"


def _consumption_so_far(a: Record, b: Record) -> Iterator[str]:
    """Compare what two runs had consumed at the last evaluation that both reached."""
    first, second = (
        read_table(record.folder.metrics, MetricsRow).set_index("iteration")["consumed"] for record in (a, b)
    )
    common = first.index.intersection(second.index)
    if len(common) and first[common[-1]] != second[common[-1]]:
        yield f"what was consumed until iteration {common[-1]} differs"


def _since(a: Record, b: Record, name: str) -> str:
    """Say between which evaluations two runs began to differ."""
    tables = [read_table(record.folder.metrics, MetricsRow) for record in (a, b)]
    before = 0
    for (_, first), (_, second) in zip(tables[0].iterrows(), tables[1].iterrows(), strict=False):
        if _part(first["consumed"], name) != _part(second["consumed"], name):
            return f", first between iterations {before} and {first['iteration']}"
        before = first["iteration"]
    return ""


def _part(consumed: str, name: str) -> str | None:
    return dict(part.split(":") for part in consumed.split("/")).get(name)


def _rates(a: Record, b: Record, first: FinalRecord, second: FinalRecord) -> Iterator[str]:
    """Compare the applied learning rates; a warm-up that depth alone decides is left out of both."""
    least = a.run.configuration.warm_up_depth
    deep = [Architecture.parse(record.run.network).depth >= least for record in (a, b)]
    start = a.run.configuration.warm_up_iterations if deep[0] != deep[1] else 0
    stop = min(first.iteration, second.iteration)
    traces = dict(first.learning_rates), dict(second.learning_rates)
    rates: list[float | None] = [None, None]
    for iteration in sorted({*traces[0], *traces[1], start}):
        rates = [trace.get(iteration, rate) for trace, rate in zip(traces, rates, strict=True)]
        if start <= iteration < stop and rates[0] != rates[1]:
            yield f"learning rate differs first at iteration {iteration}: {rates[0]:g} against {rates[1]:g}"
            return
