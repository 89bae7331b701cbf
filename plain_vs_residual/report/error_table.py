"""The table of an experiment's final errors, with what else its file asks for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.experiment import ERRORS, Experiment
from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.paper_numbers import paper_is_comparable
from plain_vs_residual.report.summary import summary
from plain_vs_residual.report.tables import column_words, label, markdown_table

Row = Any  # of the summary: a network in a study; without runs, it has nothing but ``n``, which is 0
Columns = dict[str, Callable[[Row], str]]  # what to write of a row, by the heading of the column


def error_table(recorded: RecordedRuns, experiment: Experiment) -> str:
    """Tabulate final errors of every network, mean and spread over seeds, and what else is asked for."""
    rows = [row for _, row in summary(recorded, experiment).iterrows()]
    several = len(experiment.studies_in(recorded.setting)) > 1
    columns: Columns = {"network": lambda row: label(row["network"], row["study"] if several else "")}
    columns |= _errors(recorded, experiment)
    if "responses" in experiment.table:
        columns |= _responses()
    if "costs" in experiment.table:
        columns |= _costs(rows)
    cells = [[write(row) for write in columns.values()] for row in rows]
    return _notes(recorded, experiment) + markdown_table(list(columns), cells)


def _errors(recorded: RecordedRuns, experiment: Experiment) -> Columns:
    """Return the columns of every experiment: errors, seeds, and the paper's numbers where they compare."""
    columns: Columns = {
        f"{column_words(column, recorded.validation_name(experiment))} (%)": partial(_error, column=column)
        for column in ERRORS
    }
    columns["seeds"] = _seeds
    if recorded.setting == "imagenet":
        columns["validation top-5 (%)"] = partial(_spread, column="validation_top5_error")
        columns["10-crop error (%)"] = partial(_error, column="ten_crop_error")
        columns["10-crop top-5 (%)"] = partial(_spread, column="ten_crop_top5_error")
    if paper_is_comparable(recorded, experiment):
        paper = {network: f"{error:.2f}" for network, error in experiment.paper_errors.items()}
        words = "error" if recorded.setting == "imagenet" else "test error"
        columns[f"paper ({experiment.paper_data}, {words} %)"] = lambda row: (
            paper.get(row["network"], "") if row["n"] else ""
        )
    return columns


def _responses() -> Columns:
    """Return the columns of the size of layer responses and of F(x) against x."""
    return {
        mean.heading: partial(_spread, column=column, digits=3)
        for column, mean in RESPONSE_MEANS.items()
        if mean.heading
    }


def _costs(rows: list[Row]) -> Columns:
    """Return the columns of what a network costs; its time is compared with that of the first plain one."""
    plain = [row for row in rows if row["n"] and Architecture.parse(row["network"]).kind == "plain"]

    def time_against_plain(row: Row) -> str:
        ratio = plain[0]["images_per_second"] / row["images_per_second"] if plain and row["n"] else None
        return f"{ratio:.2f}x" if ratio else ""

    return {
        "parameters": lambda row: f"{row['parameters']:,.0f}" if row["n"] else "",
        "multiply-adds (M)": lambda row: f"{row['multiply_adds'] / 1e6:,.1f}" if row["n"] else "",
        "training images per second": lambda row: f"{row['images_per_second']:,.0f}" if row["n"] else "",
        "time against plain": time_against_plain,
    }


def _error(row: Row, column: str) -> str:
    return _spread(row, column) if row["n"] else "not run"


def _spread(row: Row, column: str, digits: int = 2) -> str:
    """Write mean and standard deviation over seeds; nothing where there is no value."""
    mean, sd = row.get(f"{column}_mean"), row.get(f"{column}_sd")
    if pd.isna(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")


def _seeds(row: Row) -> str:
    return str(row["n"]) + (f" ({row['diverged']} diverged, counted as chance)" if row["diverged"] else "")


def _notes(recorded: RecordedRuns, experiment: Experiment) -> str:
    """Say above the table what its numbers are."""
    notes = "Mean ± standard deviation over seeds.\n\n"
    if "costs" in experiment.table:
        notes += (
            "Speed is the median over the runs of this table, measured while they trained, beside whatever else "
            "the machine did; the benchmarks compare speeds in turns.\n\n"
        )
    if "responses" in experiment.table:
        finals = recorded.select(recorded.finals, experiment)
        where = finals["responses_on"].iloc[0] if not finals.empty else ""
        notes += (
            f"Responses and ratios on {where}: E with BN's running statistics, R and untrained with statistics "
            "estimated on these images. Running statistics are those of augmented images, and lag behind weights "
            "that still move: the difference between E and R. Untrained, BN gives each layer a response of 1.\n\n"
        )
    return notes
