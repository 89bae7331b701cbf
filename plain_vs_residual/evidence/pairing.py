"""Whether the members of a pair saw the same data, schedule and initial weights."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.fingerprint import differing_sources
from plain_vs_residual.records.models import Environment, FinalRecord, MetricsRow
from plain_vs_residual.records.recorded_runs import RecordedRuns, read_table
from plain_vs_residual.records.store import Record

# What may differ between two members of a pair: which networks they are, and which seed in the check across seeds.
NOT_SHARED = {"network", "seed", "replayed_rates"}
SAME_MACHINE = (
    *("torch", "torchvision", "numpy", "python"),
    *("device", "device_name", "cuda", "cudnn", "threads"),
)
RATES = {"learning_rate", "warm_up_iterations", "schedule", "drops"}


@dataclass(frozen=True)
class PairCheck:
    """Two runs that a claim compares, and what differs between them that should not."""

    first: str
    second: str
    differences: tuple[str, ...]
    shared_parameters: int


def verify(recorded: RecordedRuns, experiment: Experiment) -> list[PairCheck]:
    """Check every two finished runs of one seed that a claim of the experiment compares."""
    wanted = {
        frozenset(experiment.member(key, recorded.setting) for key in pair)
        for claim in experiment.claims_in(recorded.setting)
        for pair in combinations(claim.contrast, 2)
    }
    finished = [record for record in recorded.of(experiment) if record.final]
    changes = {study.name: study.changes for study in experiment.studies_in(recorded.setting)}
    pairs = [
        PairCheck(a.name, b.name, tuple(differences(a, b, _studied(a, b, changes))), len(_shared(a, b)))
        for a, b in combinations(finished, 2)
        if a.run.seed == b.run.seed and frozenset((a.identity[:2], b.identity[:2])) in wanted
    ]
    return [*_across_seeds(finished), *pairs]


def _studied(a: Record, b: Record, changes: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Name the fields that two studies set to different values on purpose; none within one study."""
    first, second = changes[a.run.study], changes[b.run.study]
    absent = object()
    return {name for name in {*first, *second} if first.get(name, absent) != second.get(name, absent)}


def _across_seeds(finished: Sequence[Record]) -> Iterator[PairCheck]:
    """Compare the seeds of each network, which a claim takes together: recipe and code must be the same."""
    first: dict[tuple[str, str], Record] = {}
    for record in finished:
        before = first.setdefault(record.identity[:2], record)
        found = tuple(_recipe_differences(before, record, set()))
        if found:
            yield PairCheck(before.name, record.name, found, 0)


def differences(a: Record, b: Record, studied: Collection[str] = ()) -> Iterator[str]:
    """Name everything that differs between two members of a pair and should not.

    Args:
        a: one member.
        b: the other.
        studied: fields of the configuration whose influence is what is being compared.
    """
    assert a.final
    assert b.final
    yield from _recipe_differences(a, b, studied)
    for field, old, new in _machine_differences(a.run.environment, b.run.environment):
        yield f"{field}: {old} against {new}"
    for record in (a, b):
        yield from _moved(record)
    for name in _shared(a, b):
        if a.run.initial_parameters[name] != b.run.initial_parameters[name]:
            yield f"initial values of {name} differ"
    if a.final.iteration == b.final.iteration:
        yield from _consumption(a, b, a.final, b.final)
    elif "diverged" in (a.final.outcome, b.final.outcome):
        yield from _consumption_so_far(a, b)
    else:
        yield f"iterations: {a.final.iteration} against {b.final.iteration}"
    if not RATES & set(studied):
        yield from _rates(a, b, a.final, b.final)


def _recipe_differences(a: Record, b: Record, studied: Collection[str]) -> Iterator[str]:
    """Name what differs in configuration and code."""
    first, second = (record.run.configuration.model_dump() for record in (a, b))
    for field in sorted(first.keys() - {*NOT_SHARED, *studied}):
        old, new = first[field], second[field]
        led = field == "schedule" and {old, new} == {"plateau", "replay"}
        if old != new and not led:
            yield f"{field}: {old} against {new}"
    for path in differing_sources(a.run.sources, b.run.sources):
        yield f"{path}: trained by different code"


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


def _shared(a: Record, b: Record) -> list[str]:
    """List the parameters of one name and shape in both networks."""
    first, second = a.run.initial_parameters, b.run.initial_parameters
    return [name for name in first if name in second and first[name].split(":")[0] == second[name].split(":")[0]]


def _consumption(a: Record, b: Record, first: FinalRecord, second: FinalRecord) -> Iterator[str]:
    words = {"indices": "order of the images", "pixels": "augmented pixels"}
    for name in sorted({*first.consumed, *second.consumed}):
        if first.consumed.get(name) != second.consumed.get(name):
            yield f"{words.get(name, name)} differ ({name}{_since(a, b, name)})"


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


def summary_line(checks: Sequence[PairCheck]) -> str:
    """Put the checks of an experiment into one sentence."""
    if not checks:
        return "no complete pair yet"
    failed = [check for check in checks if check.differences]
    if not failed:
        return (
            f"all {len(checks)} pairs agree: same images in the same order, crops, flips and augmented pixels, "
            "learning rates, precision, versions and code; equal initial values wherever name and shape agree"
        )
    return f"{len(failed)} of {len(checks)} pairs DIFFER; {failed[0].first} and {failed[0].second}: " + "; ".join(
        failed[0].differences
    )
