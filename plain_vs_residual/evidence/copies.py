"""Tables that hold the same numbers under two names: a folder copied, or filled from one file twice."""

import hashlib
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pandas as pd

from plain_vs_residual.evidence.once import once_per_run
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MeasuredRow, MetricsRow, ResponseRow
from plain_vs_residual.records.store import Record

# What is the same in runs that differ, and clocks, which no two runs share.
NOT_COMPARED = ["iteration", "epoch", "learning_rate", "training_seconds", "evaluation_seconds", "consumed"]
# Counts of images repeat: networks that guess, or make no error, have few different numbers.
LEAST_VALUES = 10


def contents_of_tables(record: Record, measurement: str) -> Iterator[tuple[str, str]]:
    """Yield name and hash of the numbers of a finished run's tables, and of one measurement's if it was taken.

    Rows without a finite loss are left out: of two runs that diverged at once, nothing can tell.
    """
    return chain(_of_run(record), _of_measurement(record, measurement) if measurement else ())


@once_per_run
def _of_run(record: Record) -> Iterator[tuple[str, str]]:
    folder = record.folder
    for path, model, loss in (
        (folder.metrics, MetricsRow, "training_loss"),
        (folder.training_curve, CurveRow, "running_training_loss"),
    ):
        if path.exists():
            table = read_table(path, model)
            finite = table[np.isfinite(table[loss])].drop(columns=NOT_COMPARED, errors="ignore")
            if not finite.empty:
                yield path.name, _hash(finite)
    responses = read_table(folder.responses, ResponseRow)[["moment", "kind", "order", "value"]]
    if responses["value"].nunique() >= LEAST_VALUES:
        yield folder.responses.name, _hash(responses)


def _of_measurement(record: Record, measurement: str) -> Iterator[tuple[str, str]]:
    path = record.folder.measured(measurement)
    if path.exists():
        table = read_table(path, MeasuredRow)
        if table["value"].nunique() >= LEAST_VALUES:
            yield path.name, _hash(table)


def _hash(table: pd.DataFrame) -> str:
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()
