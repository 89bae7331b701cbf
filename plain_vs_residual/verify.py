"""Whether the members of a pair saw the same data, schedule and initial weights. Imports no torch."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from plain_vs_residual.analysis import Edition
from plain_vs_residual.experiment import Experiment, Network
from plain_vs_residual.records import Record

OWN = ("network", "seed", "replayed_rates")
SAME_MACHINE = (
    *("torch", "torchvision", "numpy", "python"),
    *("device", "device_name", "cuda", "cudnn", "threads"),
)


@dataclass(frozen=True)
class PairCheck:
    """Two runs that a claim compares, and what differs between them that should not."""

    first: str
    second: str
    differences: tuple[str, ...]
    shared_parameters: int


def verify(edition: Edition, experiment: Experiment) -> list[PairCheck]:
    """Checks every two finished runs of one seed that a claim of the experiment compares."""
    wanted = {
        frozenset(experiment.member(key, edition.setting) for key in pair)
        for claim in experiment.claims_in(edition.setting)
        for pair in combinations(claim.contrast, 2)
    }
    finished = [record for record in edition.of(experiment) if record.final]
    changes = {study.name: study.changes for study in experiment.studies_in(edition.setting)}
    pairs = [
        PairCheck(a.name, b.name, tuple(differences(a, b, _studied(a, b, changes))), len(_shared(a, b)))
        for a, b in combinations(finished, 2)
        if a.run["seed"] == b.run["seed"] and frozenset((a.identity[:2], b.identity[:2])) in wanted
    ]
    return [*_across_seeds(finished), *pairs]


def _studied(a: Record, b: Record, changes: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Fields that two studies set to different values on purpose; none within one study."""
    first, second = changes[a.run["study"]], changes[b.run["study"]]
    absent = object()
    return {name for name in {*first, *second} if first.get(name, absent) != second.get(name, absent)}


def _across_seeds(finished: Sequence[Record]) -> Iterator[PairCheck]:
    """Seeds of one network that were trained in another way: a claim takes them together."""
    first: dict[tuple[str, str], Record] = {}
    for record in finished:
        before = first.setdefault(record.identity[:2], record)
        found = tuple(_setup_differences(before, record, set()))
        if found:
            yield PairCheck(before.name, record.name, found, 0)


def differences(a: Record, b: Record, studied: Collection[str] = ()) -> Iterator[str]:
    """Names everything that differs between two members of a pair and should not.

    Args:
        a: one member.
        b: the other.
        studied: fields of the configuration whose influence is what is being compared.
    """
    assert a.final
    assert b.final
    yield from _setup_differences(a, b, studied)
    for field in SAME_MACHINE:
        old, new = a.run["environment"].get(field), b.run["environment"].get(field)
        if old != new:
            yield f"{field}: {old} against {new}"
    for record in (a, b):
        yield from _moved(record)
    for name in _shared(a, b):
        if a.run["initial_parameters"][name] != b.run["initial_parameters"][name]:
            yield f"initial values of {name} differ"
    if a.final["iteration"] == b.final["iteration"]:
        yield from _consumption(a, b)
    elif "diverged" in (a.final["outcome"], b.final["outcome"]):
        yield from _consumption_so_far(a, b)
    else:
        yield f"iterations: {a.final['iteration']} against {b.final['iteration']}"
    if not {"learning_rate", "warm_up_iterations", "schedule", "drops"} & set(studied):
        yield from _rates(a, b)


def _moved(record: Record) -> Iterator[str]:
    """Names where a run was resumed on another machine or by other versions than it began with."""
    for session in record.run.get("resumed", ()):
        for field in SAME_MACHINE:
            old, new = record.run["environment"].get(field), session["environment"].get(field)
            if old != new:
                yield f"{record.name} went on from iteration {session['iteration']} with {field} {new}, not {old}"


def _setup_differences(a: Record, b: Record, studied: Collection[str]) -> Iterator[str]:
    """Names what differs in configuration and code."""
    for field in sorted({*a.run["configuration"], *b.run["configuration"]} - {*OWN, *studied}):
        old, new = a.run["configuration"].get(field), b.run["configuration"].get(field)
        led = field == "schedule" and {old, new} == {"plateau", "replay"}
        if old != new and not led:
            yield f"{field}: {old} against {new}"
    for path in sorted({*a.run["sources"], *b.run["sources"]}):
        if a.run["sources"].get(path) != b.run["sources"].get(path):
            yield f"{path}: trained by different code"


def _shared(a: Record, b: Record) -> list[str]:
    """Parameters of one name and shape in both networks."""
    first, second = a.run["initial_parameters"], b.run["initial_parameters"]
    return [name for name in first if name in second and first[name].split(":")[0] == second[name].split(":")[0]]


def _consumption(a: Record, b: Record) -> Iterator[str]:
    assert a.final
    assert b.final
    words = {"indices": "order of the images", "pixels": "augmented pixels"}
    for name in sorted({*a.final["consumed"], *b.final["consumed"]}):
        if a.final["consumed"].get(name) != b.final["consumed"].get(name):
            yield f"{words.get(name, name)} differ ({name}{_since(a, b, name)})"


def _consumption_so_far(a: Record, b: Record) -> Iterator[str]:
    """Compares what two runs had consumed at the last evaluation that both came to."""
    import pandas as pd

    first, second = (pd.read_csv(record.folder.metrics).set_index("iteration")["consumed"] for record in (a, b))
    common = first.index.intersection(second.index)
    if len(common) and first[common[-1]] != second[common[-1]]:
        yield f"what was consumed until iteration {common[-1]} differs"


def _since(a: Record, b: Record, name: str) -> str:
    """Between which evaluations the two began to differ."""
    import pandas as pd

    tables = [pd.read_csv(record.folder.metrics) for record in (a, b)]
    before = 0
    for (_, first), (_, second) in zip(tables[0].iterrows(), tables[1].iterrows(), strict=False):
        if _part(first["consumed"], name) != _part(second["consumed"], name):
            return f", first between iterations {before} and {first['iteration']}"
        before = first["iteration"]
    return ""


def _part(consumed: str, name: str) -> str | None:
    return dict(part.split(":") for part in consumed.split("/")).get(name)


def _rates(a: Record, b: Record) -> Iterator[str]:
    """Compares the applied learning rates; a warm-up that depth alone decides is left out of both."""
    assert a.final
    assert b.final
    least = a.run["configuration"].get("warm_up_depth", 110)
    deep = [Network.parse(record.run["network"]).depth >= least for record in (a, b)]
    start = a.run["configuration"]["warm_up_iterations"] if deep[0] != deep[1] else 0
    stop = min(a.final["iteration"], b.final["iteration"])
    first, second = dict(a.final["learning_rates"]), dict(b.final["learning_rates"])
    rates = _rate_at(first, start), _rate_at(second, start)
    for iteration in sorted({*first, *second, start}):
        if not start <= iteration < stop:
            continue
        rates = first.get(iteration, rates[0]), second.get(iteration, rates[1])
        if rates[0] != rates[1]:
            yield f"learning rate differs first at iteration {iteration}: {rates[0]:g} against {rates[1]:g}"
            return


def _rate_at(trace: Mapping[int, float], iteration: int) -> float:
    return trace[max(since for since in trace if since <= iteration)]


def summary_line(checks: Sequence[PairCheck]) -> str:
    """One sentence for a report."""
    if not checks:
        return "no complete pair yet"
    failed = [check for check in checks if check.differences]
    if not failed:
        return (
            f"all {len(checks)} pairs agree: same images in the same order, crops, flips and augmented pixels, "
            "learning rates, precision, versions and code; equal initial values wherever name and shape agree"
        )
    worst: Mapping[str, Any] = {"first": failed[0].first, "second": failed[0].second}
    return f"{len(failed)} of {len(checks)} pairs DIFFER; {worst['first']} and {worst['second']}: " + "; ".join(
        failed[0].differences
    )
