"""Every field of every record of a run changed, one by one and sealed again: no change alters a verdict unseen.

The changes are made by code, from the records themselves: a field or column that is added is changed too. As a
program, this module makes each of them in one run and in all runs alike, and prints what was named.
"""

import csv
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.bookkeeping import CURVE_POINTS
from plain_vs_residual.evidence.own_faults import own_faults
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.evidence.summaries import SUMMARIES
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.inspection.redrawing import drawn_otherwise
from plain_vs_residual.records.atomic import write_json, write_text
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import PACKAGE, code_hashes, hashes_of_modules
from plain_vs_residual.records.store import read_record, sealed
from plain_vs_residual.report.error_table import error_table
from plain_vs_residual.report.tables import class_tables
from plain_vs_residual.training.training_curve import POINTS
from plain_vs_residual.vocabulary import columns, measurements
from tests.made_up_records import read_json, read_runs, reseal, write_made_up_measurement, write_run
from tests.test_training import train_all

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
    """Yield a change of every field of the JSON files, of every column and of a row of the CSV files."""
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
    left_out = io.StringIO()  # a record that no version of this suite would write, which reading says
    try:
        with redirect_stderr(left_out):
            recorded = read_runs(results, "digits")
        named = {text for one in EXPERIMENTS for check in verify(recorded, one) for text in check.differences}
        verdicts = tuple(
            (one.statement, one.outcome, f"{one.measurement.mean:.6g}", one.measurement.num)
            for one in judge(recorded, EXPERIMENTS)
        )
        tables = [error_table(recorded, EXPERIMENTS[0]), *class_tables(recorded, EXPERIMENTS[0])]
        named |= {*remarks(recorded, EXPERIMENTS), *left_out.getvalue().splitlines()}
        return Said(frozenset(named), verdicts, "\n".join(tables))
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
    """Recipe and machine, whose fields test_mutations.py changes one by one, are left out: they take a minute."""
    before = said_of(written)
    assert before.named == frozenset()
    assert len(before.verdicts) >= 5
    every = list(changes_of(written / "digits" / CHANGED_RUN))
    changes = [change for change in every if not change.what.startswith(PAIRED)]
    changes = [change for change in changes if "row 0" not in change.what]
    assert len(changes) >= 60
    unseen = []
    for change in changes:
        after = tried(written, tmp_path, change, [CHANGED_RUN])
        if (after.verdicts, after.printed) != (before.verdicts, before.printed) and not after.named:
            unseen.append((change.file, change.what))
    assert unseen == []


PAIRED = ("environment", "arithmetic", "configuration", "initial_", "sources")
ALIKE_IN_ALL = {
    (FINAL, name)
    for name in (
        *("outcome", "running_training_error", "training_error", "validation_error", "mean_response", "confusion"),
        *("images_per_second", "learning_rates", "iteration"),
    )
} | {
    (RUN, name)
    for name in (
        *("configuration.learning_rate", "configuration.weight_decay", "configuration.iterations"),
        *("sources.plain_vs_residual/__init__.py", "label", "parameters", "network"),
    )
}


def test_what_is_changed_in_all_runs_alike_is_named(written: Path, tmp_path: Path) -> None:
    """Members and seeds agree with each other then; what is in each run, and what is in this folder, does not."""
    names = sorted(path.name for path in (written / "digits").iterdir() if path.is_dir())
    changes = [
        change
        for change in changes_of(written / "digits" / CHANGED_RUN)
        if (change.file, change.what) in ALIKE_IN_ALL
        or (change.what.startswith(("summary.", "running_training_error, row -1")))
    ]
    assert len(changes) >= len(ALIKE_IN_ALL)
    unseen = [
        (change.file, change.what) for change in changes if not tried(written, tmp_path, change, names).named
    ]
    assert unseen == []


def test_equal_tables_of_two_seeds_are_named(written: Path, tmp_path: Path) -> None:
    for name in ("metrics.csv", "training_curve.csv", "responses.csv", "lesions.csv"):
        source = written / "digits" / "cifar-residual20-A-s0" / name

        def copy(file: Path, source: Path = source) -> None:
            shutil.copyfile(source, file)

        named = tried(written, tmp_path, Change(name, "copied", copy), [CHANGED_RUN]).named
        assert f"{name} holds the same numbers in both: one is a copy" in named


def test_every_column_of_every_measurement_is_computed_again() -> None:
    """A column that is added to the seminar gets a second way to its number in evidence/summaries.py."""
    for name in measurements():
        assert {*columns(name)} - {*columns("")} - {*SUMMARIES[name]} == set(), name


def test_the_constants_that_are_repeated_without_torch_are_those_of_training() -> None:
    assert CURVE_POINTS == POINTS


def test_a_divergence_without_a_loss_that_is_not_finite_is_named_and_so_is_the_reverse(tmp_path: Path) -> None:
    for outcome, other in (("finished", "diverged"), ("diverged", "finished")):
        folder = write_run(tmp_path / outcome, "digits", MEMBERS[0], 0, outcome=outcome)
        assert own_faults(read_record(folder)) == ()
        write_json(folder.final, read_json(folder.final) | {"outcome": other})
        reseal(folder)
        assert [
            text for text in own_faults(read_record(folder)) if text.startswith(f"{other}, but the training loss")
        ]


def test_what_a_seed_stands_for_is_drawn_again(make_suite: Any) -> None:
    """Of a run that was trained: it agrees, and with one character of a hash changed it does not."""
    (folder,) = train_all(make_suite("residual18-B"))
    record = read_record(folder)
    assert list(drawn_otherwise(record)) == []
    run, final = record.run, record.final
    assert final
    initial = run.initial_parameters | {"fc.weight": run.initial_parameters["fc.weight"][:-1] + "x"}
    for changed, words in (
        (
            replace(record, run=run.model_copy(update={"initial_parameters": initial})),
            "initial values of fc.weight",
        ),
        (replace(record, run=run.model_copy(update={"multiply_adds": 1})), "multiply_adds: 1 recorded"),
        (replace(record, run=run.model_copy(update={"parameters": 1})), "parameters: 1 recorded"),
        (replace(record, run=run.model_copy(update={"initial_buffers": {}})), "initial statistics of bn1."),
        (replace(record, run=run.model_copy(update={"seed": run.seed + 1})), "indices at iteration"),
        *(
            (
                replace(record, final=final.model_copy(update={"consumed": final.consumed | {name: "0"}})),
                f"{name} in the outcome are not those of seed",
            )
            for name in ("indices", "crops", "flips")
        ),
    ):
        assert any(text.startswith(words) for text in drawn_otherwise(changed)), words
