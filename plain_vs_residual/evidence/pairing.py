"""Whether pairs are pairs: which runs are checked against each other, and what the check says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from plain_vs_residual.evidence.as_declared import unlike_recipe
from plain_vs_residual.evidence.copies import contents_of_tables
from plain_vs_residual.evidence.differences import across_seeds, differences, shared_parameters
from plain_vs_residual.evidence.measured_otherwise import measured_otherwise
from plain_vs_residual.evidence.own_faults import own_faults
from plain_vs_residual.evidence.summaries import wrong_summaries
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.records.store import Record

CANNOT_SEE = (
    "what verify cannot see: a number that was changed in every place where it stands, clean errors between the "
    "first and the last evaluation, single layer responses whose mean is kept, ten-crop errors, what a run says "
    "of its machine, its waiting and its memory, and whether all that was ever trained is here"
)


@dataclass(frozen=True)
class PairCheck:
    """Runs that a claim takes together, and what differs between them that should not.

    Attributes:
        runs: names of the runs: two members of a pair, two seeds of one network, or a run that contradicts itself.
        differences: a line for each.
        shared_parameters: how many parameters have one name and shape in both members of a pair.
        parameters: how many the member with fewer of them has.
        uncommitted: whether the code had changes that were not committed; where it differs, that is a difference.
        unknown: whether git could not say so of a member.
    """

    runs: tuple[str, ...]
    differences: tuple[str, ...]
    shared_parameters: int = 0
    parameters: int = 0
    uncommitted: bool = False
    unknown: bool = False

    @property
    def is_pair(self) -> bool:
        """Whether these are two members of a pair, rather than two seeds or a single run."""
        return bool(self.parameters)


def verify(recorded: RecordedRuns, experiment: Experiment) -> list[PairCheck]:
    """Check every two finished runs of one seed that a claim of the experiment compares.

    Of the checks of single runs and across seeds, only those that found something are returned.
    """
    finished = [record for record in recorded.of(experiment) if record.final]
    studies = {study.name: study for study in experiment.studies_in(recorded.setting)}
    compared = _compared(recorded, experiment)
    pairs = [
        _pair(a, b, studies, experiment.measurement)
        for a, b in combinations(finished, 2)
        if a.run.seed == b.run.seed and frozenset((a.identity[:2], b.identity[:2])) in compared
    ]
    own = (_own(record, studies[record.run.study], recorded, experiment.measurement) for record in finished)
    across = _across_seeds(finished, experiment.measurement)
    copies = _copies(finished, experiment.measurement)
    return [check for check in (*across, *own, *copies) if check.differences] + pairs


def _compared(recorded: RecordedRuns, experiment: Experiment) -> set[frozenset[tuple[str, str]]]:
    """Return every two networks, each with its study, that a claim compares."""
    return {
        frozenset(experiment.member(key, recorded.setting) for key in pair)
        for claim in experiment.claims_in(recorded.setting)
        for pair in combinations(claim.contrast, 2)
    }


def _pair(a: Record, b: Record, studies: Mapping[str, Study], measurement: str) -> PairCheck:
    """Check two members of a pair, and how both were measured."""
    changes = [record.run.environment.git_changes for record in (a, b)]
    studied = _studied(studies[a.run.study].changes, studies[b.run.study].changes)
    return PairCheck(
        (a.name, b.name),
        (*differences(a, b, studied), *measured_otherwise(a, b, measurement)),
        len(shared_parameters(a, b)),
        min(len(a.run.initial_parameters), len(b.run.initial_parameters)),
        all(changes),
        None in changes,
    )


def _own(record: Record, study: Study, recorded: RecordedRuns, measurement: str) -> PairCheck:
    """Check a run by itself, by setting and study, by the run that it was grown from, and by its measurement."""
    faults = (
        *own_faults(record),
        *unlike_recipe(record, study),
        *_unlike_source(record, study, recorded),
        *wrong_summaries(record, measurement),
    )
    return PairCheck((record.name,), faults)


def _studied(first: Mapping[str, object], second: Mapping[str, object]) -> set[str]:
    """Name the fields that two studies set to different values on purpose; none within one study."""
    absent = object()
    return {name for name in {*first, *second} if first.get(name, absent) != second.get(name, absent)}


def _unlike_source(record: Record, study: Study, recorded: RecordedRuns) -> Iterator[str]:
    """Say if a run was not grown from the weights that its study names."""
    grown_from = record.run.configuration.source_weights
    source = study.grown_from.get(record.run.network)
    if (source is None) != (grown_from is None):
        yield f"grown from {'trained weights' if grown_from else 'none'}, but from {source or 'none'} in its study"
        return
    if source is None:
        return
    others = [one for one in recorded.records if one.identity == (source, "", record.run.seed) and one.final]
    if not others:
        yield f"grown from a run of {source} with seed {record.run.seed} that is not recorded"
    for other in others:
        weights = other.final.files.get(other.folder.weights.name) if other.final else None
        if weights not in (None, grown_from):
            yield f"grown from other weights than those of {other.name}"


def _across_seeds(finished: Sequence[Record], measurement: str) -> Iterator[PairCheck]:
    """Compare each seed of a network with all seeds before it."""
    for a, b in combinations(finished, 2):
        if a.identity[:2] == b.identity[:2]:
            found = (*across_seeds(a, b), *measured_otherwise(a, b, measurement))
            yield PairCheck((a.name, b.name), found)


def _copies(finished: Sequence[Record], measurement: str) -> Iterator[PairCheck]:
    """Name runs of other seeds or networks that have a table in common: no two of them come out alike."""
    seen: dict[tuple[str, str], Record] = {}
    for record in finished:
        for name, content in contents_of_tables(record, measurement):
            other = seen.setdefault((name, content), record)
            if (other.run.network, other.run.seed) != (record.run.network, record.run.seed):
                fault = f"{name} holds the same numbers in both: one is a copy"
                yield PairCheck((other.name, record.name), (fault,))


def compares(experiment: Experiment, setting: str) -> bool:
    """Say whether a claim of the experiment takes runs of two networks or studies together."""
    return any(len(claim.contrast) > 1 for claim in experiment.claims_in(setting))


def summary_line(checks: Sequence[PairCheck], *, compares: bool = True) -> str:
    """Put the checks of an experiment into one sentence.

    Args:
        checks: what :func:`verify` found.
        compares: whether a claim of the experiment takes two runs of one seed together.
    """
    pairs = [check for check in checks if check.is_pair]
    failed = [check for check in checks if check.differences]
    if failed:
        first = f"{' and '.join(failed[0].runs)}: {'; '.join(failed[0].differences)}"
        of_pairs = f" of {len(pairs)} pairs" if pairs else ""
        return f"{len(failed)} checks{of_pairs} found what DIFFERS; {first}"
    if not pairs:
        nothing = "nothing to pair: no claim of it compares two runs of one seed"
        return "no complete pair yet" if compares else nothing
    shared, parameters = (
        sum(getattr(pair, name) for pair in pairs) for name in ("shared_parameters", "parameters")
    )
    remarks = {
        "trained with uncommitted changes of the code, equal ones": any(pair.uncommitted for pair in pairs),
        "git could not say of every run whether the code had uncommitted changes": any(p.unknown for p in pairs),
    }
    return (
        f"all {len(pairs)} pairs agree: same images in the same order, crops, flips and augmented pixels, same "
        "images evaluated, learning rates (of equal budgets), precision, versions and code; "
        f"{shared:,} of {parameters:,} parameters of the smaller members have one name and shape in both, and all "
        "of these are drawn equal" + "".join(f"; {remark}" for remark, applies in remarks.items() if applies)
    )
