"""All runs of one setting on one data set, as records and as tables."""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.launcher import command
from plain_vs_residual.records.files import RunFolder, run_name
from plain_vs_residual.records.models import Model, RunRecord
from plain_vs_residual.records.registered import Registration, read_registrations
from plain_vs_residual.records.rows import CurveRow, FirstIterationRow, MeasuredRow, MetricsRow, ResponseRow
from plain_vs_residual.records.store import Record, read_measurement, read_records


@dataclass(frozen=True)
class RecordedRuns:
    """All runs of one setting on one data set and split: what one report is about.

    Attributes:
        setting: name of the setting.
        variant: sets other data and splits apart; empty for the setting's own.
        records: the runs, finished or not.
        registrations: what was registered before them, the earliest first.
    """

    setting: str
    variant: str
    records: tuple[Record, ...]
    registrations: tuple[Registration, ...] = ()

    @property
    def name(self) -> str:
        """Name of its folder under plots/."""
        return "-".join(filter(None, (self.setting, self.variant)))

    @property
    def dataset(self) -> str:
        """The data set's name, as it stands in every figure."""
        return self.records[0].run.dataset.name

    @property
    def usual(self) -> RunRecord:
        """A run of the setting as it is, which speaks for all; a study's where there is no other."""
        return next((record for record in self.records if not record.run.study), self.records[0]).run

    @property
    def caveats(self) -> list[str]:
        """What a reader must know about the data set and the setting."""
        run = self.usual
        return [text for text in (run.dataset.caveat, run.caveat) if text]

    def validation_name(self, experiment: Experiment) -> str:
        """Return what an experiment's validation images are called: ``test`` where they are the test images."""
        return next((record.run.dataset.validation_name for record in self.of(experiment)), "validation")

    @property
    def seeds(self) -> list[int]:
        """Every seed of which there is a run."""
        return sorted({record.run.seed for record in self.records})

    def needed(self, experiment: Experiment) -> list[tuple[str, str]]:
        """List network and study of every run that an experiment needs for one seed."""
        return [(network, study.name) for network, study in experiment.runs_in(self.setting)]

    def of(self, experiment: Experiment) -> list[Record]:
        """List the runs that belong to an experiment."""
        needed = self.needed(experiment)
        return [record for record in self.records if record.identity[:2] in needed]

    def shows(self, experiment: Experiment) -> bool:
        """Say whether a report shows the experiment: it has runs, and if it waits to be named, a complete seed.

        An experiment that waits to be named shares runs with others; those alone do not mean that it was.
        """
        if not experiment.waits_to_be_named(self.setting):
            return bool(self.of(experiment))
        complete = self._complete(experiment)
        return bool(self.needed(experiment)) and any(
            all((network, study, seed) in complete for network, study in self.needed(experiment))
            for seed in self.seeds
        )

    def missing(self, experiment: Experiment) -> list[str]:
        """Name the runs that the experiment needs for the seeds there are, but that are not finished."""
        complete = self._complete(experiment)
        return [
            run_name(network, (study, self.variant), seed)
            for seed in self.seeds
            for network, study in self.needed(experiment)
            if (network, study, seed) not in complete
        ]

    def _complete(self, experiment: Experiment) -> set[tuple[str, str, int]]:
        """Return the identity of every run that is finished and measured, as far as the experiment measures."""
        return {
            record.identity
            for record in self.records
            if record.final
            and (not experiment.measurement or record.folder.measurement(experiment.measurement).exists())
        }

    def registered_before(self, record: Record, measurement: str = "") -> set[str]:
        """Return the digests of what was registered before a run began, or before it was measured."""
        found = set(record.run.registered)
        if measurement and record.folder.measurement(measurement).exists():
            found |= set(read_measurement(record.folder, measurement).registered)
        return found

    @cached_property
    def finals(self) -> pd.DataFrame:
        """A row per finished run, as it was recorded: identity, final errors (percent), costs.

        A diverged run has ``diverged`` set; ``evidence/divergence.py`` says what its numbers count as.
        """
        return pd.DataFrame(self._final_rows())

    def _final_rows(self) -> Iterator[dict[str, Any]]:
        for record in self.records:
            run, final = record.run, record.final
            if final is None:
                continue
            row = {name: value for name, value in final.model_dump().items() if not isinstance(value, dict | list)}
            for name in ("test_error", "ten_crop_error", "ten_crop_top5_error"):
                if row[name] is None:
                    del row[name]
            for name in ("network", "label", "study", "seed", "parameters", "multiply_adds"):
                row[name] = getattr(run, name)
            for suffix in ("", "_estimated"):
                trained, untrained = row[f"mean_ratio{suffix}"], final.initial_mean_ratio
                change = math.nan if trained is None or untrained is None else trained - untrained
                row[f"ratio_change{suffix}"] = change
            row["diverged"] = final.outcome == "diverged"
            for measurement in record.folder.measurements():
                row |= read_measurement(record.folder, measurement).summary
            yield row

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row per evaluation of every run, with its identity."""
        return self._tables(lambda folder: folder.metrics, MetricsRow)

    @cached_property
    def training_curves(self) -> pd.DataFrame:
        """A row per point of the training curve of every run, with its identity."""
        return self._tables(lambda folder: folder.training_curve, CurveRow)

    @cached_property
    def first_iterations(self) -> pd.DataFrame:
        """A row per early iteration of every run whose study asks for it, with its identity."""
        return self._tables(lambda folder: folder.first_iterations, FirstIterationRow)

    @cached_property
    def responses(self) -> pd.DataFrame:
        """A row per layer and moment of every run, with its identity."""
        return self._tables(lambda folder: folder.responses, ResponseRow)

    def measured(self, measurement: str) -> pd.DataFrame:
        """Return everything that was measured on any run under that name, with the run's identity."""
        return self._tables(lambda folder: folder.measured(measurement), MeasuredRow)

    def _tables(self, path_in: Callable[[RunFolder], Path], model: type[Model]) -> pd.DataFrame:
        tables = []
        for record in self.records:
            path = path_in(record.folder)
            if path.exists():
                network, study, seed = record.identity
                table = read_table(path, model)
                tables.append(table.assign(network=network, label=record.run.label, study=study, seed=seed))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def select(self, table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
        """Return the rows of ``finals``, ``curves`` or ``responses`` that belong to an experiment."""
        if table.empty:
            return table
        needed = set(self.needed(experiment))
        pairs = zip(table["network"], table["study"], strict=True)
        return table[[pair in needed for pair in pairs]]


def read_table(path: Path, model: type[Model]) -> pd.DataFrame:
    """Read a CSV file of records of one kind.

    Raises:
        ValueError: if it lacks a column that has no default, or a column of numbers holds other things.
    """
    content = path.read_bytes()
    try:
        return _parsed(content, model).copy()
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table this suite wrote ({error})") from error


@lru_cache(maxsize=64)  # the checks of a run ask for its tables again and again
def _parsed(content: bytes, model: type[Model]) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(content))
    for column, field in model.model_fields.items():
        if column not in table:
            if field.is_required():
                raise ValueError(f"no column '{column}'")
            # A column that came after the table was written.
            table[column] = math.nan if field.default is None else field.default
        if field.annotation in (int, float) and not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"column '{column}' is not numbers")
    return table


def load_recorded_runs(results: Path, setting: str | None = None) -> list[RecordedRuns]:
    """Read the runs under a results folder, apart by setting and variant, or those of one setting.

    Raises:
        ValueError: if there are no runs, or a file is not what this suite writes.
    """
    folders = [results / setting] if setting else [path for path in sorted(results.glob("*")) if path.is_dir()]
    found = []
    for folder in folders:
        if folder.name == "reference" and setting is None:
            continue
        read = read_records(folder)
        for variant in sorted({record.run.dataset.variant for record in read}):
            chosen = tuple(record for record in read if record.run.dataset.variant == variant)
            first: dict[tuple[str, str, int], Record] = {}
            for record in chosen:
                same = first.setdefault(record.identity, record)
                if same is not record:
                    raise ValueError(f"{same.folder.path} and {record.folder.path} are the same run; keep one")
            found.append(RecordedRuns(folder.name, variant, chosen, read_registrations(folder, variant)))
    if not found:
        wanted = f" of setting '{setting}'" if setting else ""
        raise ValueError(f"no runs{wanted} in {results}; train some first: {command()}")
    return found
