"""Two results side by side: what differs between them, their curves, differences seed by seed, verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import COLUMN_WORDS, Experiment
from plain_vs_residual.records.atomic import write_text
from plain_vs_residual.records.kept_code import diff_of_code
from plain_vs_residual.records.models import RunRecord
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.records.store import Record
from plain_vs_residual.report.figures.comparison import comparison_figure
from plain_vs_residual.report.figures.style import write_figure
from plain_vs_residual.report.html import as_html
from plain_vs_residual.report.tables import markdown_table, number_and_interval
from plain_vs_residual.report.templating import TEMPLATES

LEVEL = 0.95
OF_NO_INTEREST = ("seed", "network", "data_fingerprint")


@dataclass(frozen=True)
class Side:
    """One of two results.

    Attributes:
        folder: of the setting's results.
        recorded: its runs.
    """

    folder: Path
    recorded: RecordedRuns

    @cached_property
    def by_identity(self) -> dict[tuple[str, str, int], Record]:
        """Every finished run by network, study and seed."""
        return {record.identity: record for record in self.recorded.records if record.final}


def find_sides(before: Path, after: Path) -> list[tuple[Side, Side]]:
    """Read two results and match their settings; two single ones are compared whatever they are called.

    Args:
        before: a results folder, or the folder of one setting in it.
        after: likewise.

    Raises:
        ValueError: if a folder holds no runs, or the two have no setting in common.
    """
    sides = [{side.recorded.name: side for side in _sides(path)} for path in (before, after)]
    names = [name for name in sides[0] if name in sides[1]]
    if not names and len(sides[0]) == len(sides[1]) == 1:
        return [(next(iter(sides[0].values())), next(iter(sides[1].values())))]
    if not names:
        there = " and ".join(", ".join(one) for one in sides)
        raise ValueError(
            f"compare {before} {after}: no setting in common ({there}); name the folders of two settings, such as "
            f"{before}/{next(iter(sides[0]))}"
        )
    return [(sides[0][name], sides[1][name]) for name in names]


def _sides(path: Path) -> Iterator[Side]:
    if not path.is_dir():
        raise ValueError(f"compare {path}: no such folder; name two folders with results")
    one_setting = any(path.glob("*/run.json"))
    for recorded in load_recorded_runs(*((path.parent, path.name) if one_setting else (path, None))):
        yield Side(path if one_setting else path / recorded.setting, recorded)


def compare(before: Side, after: Side, experiments: Sequence[Experiment], folder: Path) -> list[Path]:
    """Write ``comparison.md`` and ``.html`` and the figure of two results; returns the paths, HTML last.

    Args:
        before: the one.
        after: the other.
        experiments: all there are, for the claims.
        folder: where everything goes.

    Raises:
        ValueError: if they have no finished network in common.
    """
    common = [identity for identity in before.by_identity if identity in after.by_identity]
    if not common:
        raise ValueError(
            f"compare {before.folder} {after.folder}: no finished run of one network, study and seed in both; "
            "train the same experiments and seeds in both"
        )
    differences = list(_differences(before, after, common))
    make = partial(comparison_figure, before.recorded, after.recorded, common, differences)
    caption = f"{_words(before)} (dashed) and {_words(after)} (bold)"
    write_figure(make, caption, folder, "comparison")
    text = TEMPLATES.get_template("comparison.md.j2").render(
        before=before,
        after=after,
        changes=list(_changes(before, after, common)),
        diffs=_diffs(before, after, common),
        errors=_errors(differences),
        claims=_claims(before, after, experiments),
        missing=[
            (side.folder, len(side.by_identity) - len(common))
            for side in (before, after)
            if len(side.by_identity) > len(common)
        ],
    )
    write_text(folder / "comparison.md", text)
    write_text(folder / "comparison.html", as_html(text, "Two results side by side", folder))
    return [folder / "comparison.md", folder / "comparison.html"]


def _words(side: Side) -> str:
    return f"{side.recorded.name} of {side.folder.parent}"


# ---- what differs ----------------------------------------------------------------------------------------


def _changes(before: Side, after: Side, common: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    """Name every field of configuration, data set and environment that differs, with its values."""
    found: dict[str, set[tuple[str, str]]] = {}
    for identity in common:
        old, new = (side.by_identity[identity].run for side in (before, after))
        one, other = _circumstances(old), _circumstances(new)
        for name in one:
            if one[name] != other[name]:
                found.setdefault(name.replace("_", " "), set()).add((str(one[name]), str(other[name])))
    for name, values in found.items():
        yield f"{name}: " + "; ".join(f"{one} before, {other} after" for one, other in sorted(values))


def _circumstances(run: RunRecord) -> dict[str, object]:
    """Return what a run was trained with, by name."""
    configuration = run.configuration.model_dump(exclude=set(OF_NO_INTEREST))
    return configuration | {"data set": run.dataset.name} | run.environment.model_dump()


def _diffs(before: Side, after: Side, common: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return the diffs of the code between any two runs, each once."""
    pairs = {}
    for identity in common:
        old, new = (side.by_identity[identity].run for side in (before, after))
        pairs[str(sorted(old.sources.items())), str(sorted(new.sources.items()))] = (old, new)
    diffs = (diff_of_code((before.folder, old), (after.folder, new)) for old, new in pairs.values())
    return list(dict.fromkeys(diff for several in diffs for diff in several))


# ---- what came out ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How a network's error differs between two results, seed by seed.

    Attributes:
        network: with its study.
        column: which error.
        before: mean of the seeds that both have, percent.
        after: likewise.
        paired: after minus before by seed, with the 95 % interval of its mean.
    """

    network: str
    column: str
    before: float
    after: float
    paired: Measurement


def _differences(before: Side, after: Side, common: Sequence[tuple[str, str, int]]) -> Iterator[Difference]:
    finals = [counted(side.recorded).set_index(["network", "study", "seed"]) for side in (before, after)]
    for network, study in dict.fromkeys(identity[:2] for identity in common):
        seeds = [identity[2] for identity in common if identity[:2] == (network, study)]
        for column in COLUMN_WORDS:
            old, new = ({seed: float(rows[column][network, study, seed]) for seed in seeds} for rows in finals)
            name = Architecture.parse(network).label + (f", {study}" if study else "")
            images = before.by_identity[network, study, seeds[0]].run.configuration.num_validation
            paired = {seed: new[seed] - old[seed] for seed in seeds}
            # What one image is worth, unless the runs are the same.
            floor = 100 / images if any(paired.values()) else 0.0
            yield Difference(
                name,
                column,
                sum(old.values()) / len(seeds),
                sum(new.values()) / len(seeds),
                Measurement(paired, LEVEL, floor),
            )


def _errors(differences: Sequence[Difference]) -> str:
    rows = [
        (
            one.network,
            COLUMN_WORDS[one.column],
            f"{one.before:.2f}",
            f"{one.after:.2f}",
            number_and_interval(one.paired),
        )
        for one in differences
    ]
    return markdown_table(["network", "error", "before (%)", "after (%)", "after minus before, points"], rows)


def _claims(before: Side, after: Side, experiments: Sequence[Experiment]) -> str:
    verdicts = [{_key(one): one for one in judge(side.recorded, experiments)} for side in (before, after)]
    rows = []
    for key in dict.fromkeys((*verdicts[0], *verdicts[1])):
        old, new = (side.get(key) for side in verdicts)
        if any(one and one.measurement.num for one in (old, new)):
            rows.append((key[0], key[1], _outcome(old), _outcome(new)))
    return markdown_table(["experiment", "claim", "before", "after"], rows)


def _key(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.experiment, verdict.statement, verdict.claim.column


def _outcome(verdict: Verdict | None) -> str:
    if verdict is None or not verdict.measurement.num:
        return "not run"
    return f"{verdict.outcome}: {number_and_interval(verdict.measurement)}"
