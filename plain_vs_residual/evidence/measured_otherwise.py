"""What differs in how two runs were measured and should not: what must not differ in their training either."""

from collections.abc import Iterator

from plain_vs_residual.evidence.differences import computed_otherwise
from plain_vs_residual.records.fingerprint import differing_code
from plain_vs_residual.records.store import Record, read_measurement


def measured_otherwise(a: Record, b: Record, measurement: str) -> Iterator[str]:
    """Name what differs in code, versions, device and arithmetic of one measurement of two runs.

    Args:
        a: one run.
        b: the other.
        measurement: its name; nothing is compared where it is empty or was not taken of both.
    """
    if not measurement or not all(one.folder.measurement(measurement).exists() for one in (a, b)):
        return
    first, second = (read_measurement(one.folder, measurement) for one in (a, b))
    for path in differing_code(first.sources, second.sources):
        yield f"{path}: measured ({measurement}) by different code"
    for field, old, new in computed_otherwise(first, second):
        yield f"{measurement} was measured with {field} {old} against {new}"
    if set(first.summary) != set(second.summary):
        odd = min(first.summary.keys() ^ second.summary.keys())
        yield f"{measurement}: {odd} was summed up of one of them only"
    if {first.environment.git_changes, second.environment.git_changes} == {True, False}:
        yield f"{measurement}: only one was measured with uncommitted changes of the code"
