"""What two recorded runs were given, and by which learning rates they were trained, side by side."""

from collections.abc import Iterator

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.own_faults import CONSUMED
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import MetricsRow, consumed_parts
from plain_vs_residual.records.store import Record


def consumption(a: Record, b: Record, first: FinalRecord, second: FinalRecord) -> Iterator[str]:
    """Compare all that two runs of equal length consumed."""
    for name in sorted({*first.consumed, *second.consumed}):
        if first.consumed.get(name) != second.consumed.get(name):
            yield f"{CONSUMED.get(name, name)} differ ({name}{_since(a, b, name)})"


def consumption_so_far(a: Record, b: Record) -> Iterator[str]:
    """Compare what two runs of unequal length had consumed as far as both came.

    What training consumes depends on the iteration, what evaluations consume on how many there were.
    """
    first, second = (read_table(record.folder.metrics, MetricsRow) for record in (a, b))
    common = sorted(set(first["iteration"]) & set(second["iteration"]))
    if common:
        parts = [
            consumed_parts(table[table["iteration"] == common[-1]]["consumed"].iloc[0])
            for table in (first, second)
        ]
        drawn = [{name: one[name] for name in one if not name.startswith("evaluated_")} for one in parts]
        if drawn[0] != drawn[1]:
            yield f"what was consumed until iteration {common[-1]} differs"
    number = min(len(first), len(second))
    evaluated = [consumed_parts(table["consumed"].iloc[number - 1]) for table in (first, second)]
    for name in sorted({*evaluated[0], *evaluated[1]}):
        if name.startswith("evaluated_") and evaluated[0].get(name) != evaluated[1].get(name):
            yield f"{CONSUMED[name]} differ ({name})"


def _since(a: Record, b: Record, name: str) -> str:
    """Say between which evaluations two runs began to differ."""
    tables = [read_table(record.folder.metrics, MetricsRow) for record in (a, b)]
    before = 0
    for (_, first), (_, second) in zip(tables[0].iterrows(), tables[1].iterrows(), strict=False):
        if consumed_parts(first["consumed"]).get(name) != consumed_parts(second["consumed"]).get(name):
            return f", first between iterations {before} and {first['iteration']}"
        before = first["iteration"]
    return ""


def rates(a: Record, b: Record, first: FinalRecord, second: FinalRecord) -> Iterator[str]:
    """Compare the applied learning rates; a warm-up that depth alone decides is left out of both."""
    least = a.run.configuration.warm_up_depth
    deep = [Architecture.parse(record.run.network).depth >= least for record in (a, b)]
    start = a.run.configuration.warm_up_iterations if deep[0] != deep[1] else 0
    stop = min(first.iteration, second.iteration)
    traces = dict(first.learning_rates), dict(second.learning_rates)
    current: list[float | None] = [None, None]
    for iteration in sorted({*traces[0], *traces[1], start}):
        current = [trace.get(iteration, rate) for trace, rate in zip(traces, current, strict=True)]
        if start <= iteration < stop and current[0] != current[1]:
            old, new = ("none" if rate is None else f"{rate:g}" for rate in current)
            yield f"learning rate differs first at iteration {iteration}: {old} against {new}"
            return
