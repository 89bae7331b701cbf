"""Every field of every record of a run changed, one by one and sealed again: no change alters a verdict unseen.

The changes are made by code, from the records themselves: a field or column that is added is changed here too. Each is
made in one run, and again in all runs alike, where no comparison of runs with each other can tell.
"""

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.bookkeeping import CURVE_POINTS
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.evidence.summaries import SUMMARIES
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.atomic import write_json, write_text
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import PACKAGE, code_hashes, hashes_of_modules
from plain_vs_residual.records.store import sealed
from plain_vs_residual.report.error_table import error_table
from plain_vs_residual.report.tables import class_tables
from plain_vs_residual.training.training_curve import POINTS
from plain_vs_residual.vocabulary import columns, measurements
from tests.made_up_records import read_json, read_runs, reseal, write_made_up_measurement, write_run

MEMBERS = ("cifar-plain20", "cifar-residual20-A")
AGAINST = {MEMBERS[0]: 1, MEMBERS[1]: -1}
EXPERIMENTS = (
    Experiment(
        "Trained",
        "none",
        (),
        {"digits": MEMBERS},
        (
            Claim("training error", AGAINST, above=0.5, primary=True),
            Claim("clean training error", AGAINST, "training_error", above=0.5),
            Claim("validation error", AGAINST, "validation_error", above=0.5),
            Claim("responses", AGAINST, "mean_response", above=0.1),
        ),
        table=("responses", "classes"),
        name="trained",
    ),
    Experiment(
        "Measured",
        "none",
        (),
        {"digits": MEMBERS},
        (Claim("lesions", AGAINST, "lesion_median", below=0.5, primary=True),),
        seminar=True,
        measurement="lesions",
        name="measured",
    ),
)
RUN, FINAL, LESIONS = "run.json", "final.json", "lesions.json"
CHANGED_RUN = "cifar-residual20-A-s1"
# Maps whose entries are all of one kind: one of each is changed.
ALIKE = ("initial_parameters", "initial_buffers", "sources", "consumed")


@dataclass(frozen=True)
class Change:
    """A change of one file of a run."""

    file: str
    what: str
    make: Callable[[Path], None]


def of_value(value: Any) -> Any:
    """Return another value of the same type: what a slip of a script would leave."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 1.1 * value + 0.1
    if isinstance(value, str):
        return {"finished": "diverged", "validation": "test", "fp32": "bf16", "eager": "graph"}.get(
            value, f"{value}0"
        )
    if isinstance(value, list):
        return value[:-1] if value else ["another"]
    return 1 if value is None else value


def leaves(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a JSON file, of maps of one kind the first alone."""
    if not isinstance(record, dict) or not record:
        yield path
        return
    names = list(record)[:1] if path and path[-1] in ALIKE else list(record)
    for name in names:
        if name not in ("checksum", "files"):
            yield from leaves(record[name], (*path, name))


def set_leaf(path: tuple[Any, ...], file: Path) -> None:
    record = read_json(file)
    *outer, last = path
    inner = record
    for name in outer:
        inner = inner[name]
    inner[last] = of_value(inner[last])
    write_json(file, record)


def set_cell(column: str, row: int, file: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    cell = rows[row][column]
    if column == "consumed":
        rows[row][column] = cell.replace("indices:", "indices:0")
    else:
        try:
            rows[row][column] = str(of_value(float(cell) if "." in cell else int(cell)))
        except ValueError:
            rows[row][column] = f"{cell}0"
    write_rows(file, rows)


def drop_row(row: int, file: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    del rows[row]
    write_rows(file, rows)


def write_rows(file: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue())


def changes_of(folder: Path) -> Iterator[Change]:
    """Yield a change of every field of the JSON files, of every column (first and last row) and row of the CSV files."""
    for name in (RUN, FINAL, LESIONS):
        for path in leaves(read_json(folder / name)):
            yield Change(name, ".".join(map(str, path)), partial(set_leaf, path))
    for file in sorted(folder.glob("*.csv")):
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        for row in (0, -1):
            for column in rows[0]:
                yield Change(file.name, f"{column}, row {row}", partial(set_cell, column, row))
            yield Change(file.name, f"row {row} dropped", partial(drop_row, row))


def seal(folder: Path) -> None:
    """Make all seals of a run anew."""
    reseal(RunFolder(folder))
    record = read_json(folder / LESIONS) | {"run": read_json(folder / FINAL)["checksum"]}
    import hashlib

    record["files"] = {"lesions.csv": hashlib.sha256((folder / "lesions.csv").read_bytes()).hexdigest()}
    write_json(folder / LESIONS, sealed(record))


@dataclass(frozen=True)
class Said:
    """What is said of some runs: faults and remarks, verdicts, and the numbers of the tables."""

    named: frozenset[str]
    verdicts: tuple[Any, ...]
    printed: str


def said_of(results: Path) -> Said:
    """Read, verify, judge and tabulate; a file that is refused is named by that."""
    try:
        recorded = read_runs(results, "digits")
        named = {text for one in EXPERIMENTS for check in verify(recorded, one) for text in check.differences}
        verdicts = tuple(
            (one.statement, one.outcome, f"{one.measurement.mean:.6g}", one.measurement.num)
            for one in judge(recorded, EXPERIMENTS)
        )
        tables = [error_table(recorded, EXPERIMENTS[0]), *class_tables(recorded, EXPERIMENTS[0])]
        return Said(frozenset(named | set(remarks(recorded, EXPERIMENTS))), verdicts, "\n".join(tables))
    except (ValueError, KeyError) as error:
        return Said(frozenset({str(error)}), (), "")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("as-written")
    for network in MEMBERS:
        for seed in range(3):
            folder = write_run(results, "digits", network, seed)
            write_json(folder.run, read_json(folder.run) | {"sources": code_hashes()})
            reseal(folder)
            write_made_up_measurement(folder, EXPERIMENTS[1])
            measured = read_json(folder.measurement("lesions"))
            measured["sources"] = hashes_of_modules(PACKAGE / "seminar" / "lesions.py")
            write_json(folder.measurement("lesions"), measured)
            seal(folder.path)
    return results


def tried(written: Path, scratch: Path, change: Change, names: list[str]) -> Said:
    results = Path(shutil.copytree(written, scratch / "changed"))
    for name in names:
        change.make(results / "digits" / name / change.file)
        seal(results / "digits" / name)
    said = said_of(results)
    shutil.rmtree(results)
    return said


def test_no_single_change_alters_a_verdict_or_a_printed_number_unseen(written: Path, tmp_path: Path) -> None:
    before = said_of(written)
    assert before.named == frozenset()
    assert len(before.verdicts) >= 5
    changes = list(changes_of(written / "digits" / CHANGED_RUN))
    assert len(changes) >= 60
    unseen = []
    for change in changes:
        after = tried(written, tmp_path, change, [CHANGED_RUN])
        if (after.verdicts, after.printed) != (before.verdicts, before.printed) and not after.named:
            unseen.append((change.file, change.what))
    assert unseen == []


if __name__ == "__main__":  # the table of docs/reliability.md
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as where:

        class Factory:
            def mktemp(self, name: str) -> Path:
                (Path(where) / name).mkdir()
                return Path(where) / name

        source = written.__wrapped__(Factory()) if hasattr(written, "__wrapped__") else None
        assert source
        before = said_of(source)
        print(before.named, before.verdicts, file=sys.stderr)
        names = sorted(path.name for path in (source / "digits").iterdir() if path.is_dir())
        for change in changes_of(source / "digits" / CHANGED_RUN):
            for scope, chosen in {"one": [CHANGED_RUN], "all": names}.items():
                after = tried(source, Path(where), change, chosen)
                verdict = "changed" if after.verdicts != before.verdicts else "same"
                printed = "changed" if after.printed != before.printed else "same"
                new = sorted(after.named - before.named)
                print(
                    scope,
                    change.file,
                    change.what,
                    verdict,
                    printed,
                    new[0][:110] if new else "-",
                    sep=" | ",
                    flush=True,
                )
