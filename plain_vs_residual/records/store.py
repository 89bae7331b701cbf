"""Writes and reads the records of runs, sealed so that later damage shows."""

import codecs
import csv
import hashlib
import io
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from plain_vs_residual.recipe import explained
from plain_vs_residual.records.atomic import naming, write_json, write_text
from plain_vs_residual.records.earlier import in_todays_form
from plain_vs_residual.records.files import RunFolder, run_folders
from plain_vs_residual.records.models import FinalRecord, MeasurementRecord, Model, RunRecord
from plain_vs_residual.records.rows import MeasuredRow

AnyModel = TypeVar("AnyModel", bound=Model)
LINE_ENDINGS = "only its line endings differ (CRLF, as Git for Windows and some editors write them)"


@dataclass(frozen=True)
class Record:
    """One run as it was recorded; ``final`` is None while it is unfinished."""

    folder: RunFolder
    run: RunRecord
    final: FinalRecord | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def identity(self) -> tuple[str, str, int]:
        """Network, study and seed: unique among the runs of one setting on one data set."""
        return self.run.network, self.run.study, self.run.seed


class OtherFormat(ValueError):
    """A record is whole, but was written by another version of this suite."""


def write_run(folder: RunFolder, run: RunRecord) -> None:
    """Write ``run.json`` with its own SHA-256: until the run is finished nothing else vouches for it."""
    write_json(folder.run, sealed(run.model_dump(mode="json")))


def write_final(folder: RunFolder, final: FinalRecord) -> None:
    """Write ``final.json`` with the SHA-256 of the run's other files and of itself."""
    others = (
        *(folder.run, folder.metrics, folder.training_curve),
        *(folder.responses, folder.first_iterations, folder.weights),
    )
    files = {path.name: _sha256(path.read_bytes()) for path in others if path.exists()}
    write_json(folder.final, sealed(final.model_dump(mode="json") | {"files": files}))


def write_measurement(folder: RunFolder, record: MeasurementRecord, rows: Sequence[MeasuredRow]) -> None:
    """Write what was measured on a finished run: the numbers, then the record that vouches for them."""
    path = folder.measured(record.measurement)
    write_rows(path, rows)
    files = {path.name: _sha256(path.read_bytes())}
    write_json(folder.measurement(record.measurement), sealed(record.model_dump(mode="json") | {"files": files}))


def read_measurement(folder: RunFolder, measurement: str) -> MeasurementRecord:
    """Read what was measured with on a finished run, and what it comes to.

    Raises:
        ValueError: if it is not what this suite wrote, or was measured on another run.
    """
    path = folder.measurement(measurement)
    record = read_sealed(path, MeasurementRecord, "delete it, and the same command measures anew")
    table = folder.measured(measurement)
    if fault := _fault(table, record.files.get(table.name, "")):
        anew = f"missing or damaged; delete {path.name} beside it to measure anew"
        raise ValueError(f"{table}: {fault if LINE_ENDINGS in fault else anew}")
    if record.run != read_final(folder).checksum:
        raise ValueError(f"{path}: was measured on another run; delete it, and the same command measures anew")
    return record


def write_rows(path: Path, rows: Sequence[Model]) -> None:
    """Write records of one kind as a CSV file, a row each, atomically and whole."""
    write_table(path, tuple(type(rows[0]).model_fields), [row.model_dump() for row in rows])


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_run(folder: RunFolder) -> RunRecord:
    """Read ``run.json``.

    Raises:
        ValueError: if it is not what this suite writes, or no longer what it wrote.
    """
    return read_sealed(folder.run, RunRecord)


def read_final(folder: RunFolder) -> FinalRecord:
    """Read ``final.json``.

    Raises:
        ValueError: if it is not what this suite writes, or no longer what it wrote.
    """
    return read_sealed(folder.final, FinalRecord)


def read_record(folder: RunFolder) -> Record:
    """Read one run.

    Raises:
        ValueError: if a file is not what this suite writes, or no longer what it wrote; names it.
    """
    record = _read_json_files(folder)
    if damaged := _damaged_files(record, weights=False):
        advice = "" if LINE_ENDINGS in damaged[0] else "; delete its folder, or train it anew with --rerun"
        raise ValueError(f"{damaged[0]}{advice}")
    return record


def read_records(folder: Path) -> list[Record]:
    """Read every run under ``results/<setting>/``; those of another version are left out, and it is said.

    Raises:
        ValueError: as :func:`read_record`, but for records of another version.
    """
    records, others = [], []
    for run_folder in run_folders(folder):
        try:
            records.append(read_record(run_folder))
        except OtherFormat:
            others.append(run_folder.name)
    if others:
        print(
            f"note: {folder}: {len(others)} runs were recorded by another version of this suite and are left out "
            f"({others[0]} and so on); --rerun trains anew what is still wanted",
            file=sys.stderr,
        )
    return records


def damage(folder: RunFolder, *, weights: bool = False) -> list[str]:
    """Say for each file of a run that is not what was written what is wrong with it, a line per file.

    Args:
        folder: the run's.
        weights: whether to look at the weights too, which takes longer, and which records kept in git lack.
    """
    try:
        record = _read_json_files(folder)
    except ValueError as error:
        return [str(error)]
    return _damaged_files(record, weights=weights)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the content of a JSON file the SHA-256 of everything else in it."""
    unsealed = {name: value for name, value in values.items() if name != "checksum"}
    return {**unsealed, "checksum": _sha256(json.dumps(unsealed, sort_keys=True).encode())}


def _read_json_files(folder: RunFolder) -> Record:
    return Record(folder, read_run(folder), read_final(folder) if folder.finished else None)


def read_sealed(
    path: Path,
    model: type[AnyModel],
    advice: str = "move its folder elsewhere, or delete its folder to train this run anew",
) -> AnyModel:
    """Read a JSON file that was sealed, as a record of a kind.

    Raises:
        ValueError: if it is not what this suite writes, or no longer what it wrote; with the advice.
    """
    try:
        with naming(path):
            values = json.loads(path.read_bytes())  # also with the mark that editors of Windows put first
    except FileNotFoundError:
        raise ValueError(f"{path}: missing; {advice}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {advice}") from error
    return checked(values, model, str(path), advice)


def checked(values: Any, model: type[AnyModel], what: str, advice: str) -> AnyModel:
    """Return the content of a JSON file that was sealed, as a record of a kind; ``what`` names it in messages.

    Raises:
        ValueError: if it is not what this suite writes, or no longer what it wrote; with the advice.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{what}: a JSON object was expected; {advice}")
    try:
        record = model.model_validate_json(json.dumps(in_todays_form(values)))
    except ValidationError as error:
        whole = values.get("checksum") == sealed(values)["checksum"]
        raise (OtherFormat if whole else ValueError)(f"{what}: {explained(error)}; {advice}") from None
    if values.get("checksum") != sealed(values)["checksum"]:
        raise ValueError(f"{what}: damaged, its content does not match its checksum; {advice}")
    return record


def _damaged_files(record: Record, *, weights: bool) -> list[str]:
    found = []
    for name, written in record.final.files.items() if record.final else ():
        path = record.folder.path / name
        if path == record.folder.weights and not weights:
            continue
        if fault := _fault(path, written):
            found.append(f"{path}: {fault}")
    return found


def _fault(path: Path, written: str) -> str:
    """Say what is wrong with a file that had this SHA-256 when it was written; nothing if nothing is."""
    if not path.exists():
        return "missing"
    with naming(path):
        content = path.read_bytes()
    if _sha256(content) == written:
        return ""
    if _sha256(content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")) != written:
        return "damaged, it does not match its SHA-256"
    files = f"find {shlex.quote(str(path.parent.parent))} -type f '(' -name '*.csv' -o -name '*.json' ')'"
    return f"{LINE_ENDINGS}; nothing is lost: {files} -exec sed -i '1s/^\\xef\\xbb\\xbf//; s/\\r$//' {{}} +"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
