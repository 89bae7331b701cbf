"""The tables of a report, as Markdown."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.verdicts import Verdict
from plain_vs_residual.experiment import COLUMN_WORDS, ERRORS, Claim, Experiment
from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.studies import confusion_matrix
from plain_vs_residual.report.paper_numbers import paper_is_comparable
from plain_vs_residual.report.summary import summary

Row = Any  # of a pandas table
NOT_RUN, SEEDS = "not run", "seeds"


def error_table(recorded: RecordedRuns, experiment: Experiment) -> str:
    """Tabulate final errors of every network, mean and spread over seeds, and what else is asked for."""
    table = summary(recorded, experiment)
    several = len(experiment.studies_in(recorded.setting)) > 1
    labels = [
        _label(f"{row['network']}@{row['study']}" if several else row["network"]) for _, row in table.iterrows()
    ]
    columns = {"network": labels} | {
        heading: [
            cell(row) if row["n"] else "0" if heading == SEEDS else NOT_RUN * heading.endswith("error (%)")
            for _, row in table.iterrows()
        ]
        for heading, cell in _columns(recorded, experiment, table).items()
    }
    return _notes(recorded, experiment) + markdown_table(list(columns), list(zip(*columns.values(), strict=True)))


def _columns(
    recorded: RecordedRuns, experiment: Experiment, table: pd.DataFrame
) -> dict[str, Callable[[Row], str]]:
    """Return how to write each column of an experiment's table, by its heading."""
    columns: dict[str, Callable[[Row], str]] = {
        f"{column_words(column, recorded.validation_name(experiment))} (%)": partial(_spread, column=column)
        for column in ERRORS
    }
    columns[SEEDS] = _seeds
    if recorded.setting == "imagenet":
        columns["validation top-5 (%)"] = lambda row: _spread(row, "validation_top5_error")
        columns["10-crop error (%)"] = lambda row: _spread(row, "ten_crop_error")
        columns["10-crop top-5 (%)"] = lambda row: _spread(row, "ten_crop_top5_error")
    if paper_is_comparable(recorded, experiment):
        paper = {network: f"{error:.2f}" for network, error in experiment.paper_errors.items()}
        words = "error" if recorded.setting == "imagenet" else "test error"
        columns[f"paper ({experiment.paper_data}, {words} %)"] = lambda row: paper.get(row["network"], "")
    if "responses" in experiment.table:
        columns |= {
            mean.heading: partial(_spread, column=column, digits=3) for column, mean in RESPONSE_MEANS.items()
        }
    if "costs" in experiment.table:
        plain_rows = [row for _, row in table.iterrows() if row["n"] and _kind(row) == "plain"]
        columns["parameters"] = lambda row: f"{row['parameters']:,.0f}"
        columns["multiply-adds (M)"] = lambda row: f"{row['multiply_adds'] / 1e6:,.1f}"
        columns["training images per second"] = lambda row: f"{row['images_per_second']:,.0f}"
        baseline = plain_rows[0]["images_per_second"] if plain_rows else None
        columns["time against plain"] = lambda row: (
            f"{baseline / row['images_per_second']:.2f}x" if baseline else ""
        )
    return columns


def _kind(row: Row) -> str:
    return Architecture.parse(row["network"]).kind


def _seeds(row: Row) -> str:
    return str(row["n"]) + (f" ({row['diverged']} diverged, counted as chance)" if row["diverged"] else "")


def _notes(recorded: RecordedRuns, experiment: Experiment) -> str:
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
            f"Responses and ratios on {where}; at initialisation with BN statistics estimated on these images.\n\n"
        )
    return notes


def _label(key: str) -> str:
    """Return the paper's name of a network, with the study behind it in ``network@study``."""
    network, _, study = key.partition("@")
    return Architecture.parse(network).label + (f" ({study})" if study else "")


def class_tables(recorded: RecordedRuns, experiment: Experiment) -> Iterator[str]:
    """Tabulate precision, recall and F1 of each class for every network, all seeds together."""
    for network in experiment.networks[recorded.setting]:
        summed = confusion_matrix(recorded, experiment, network)
        if summed is None:
            continue
        matrix, classes, part = summed
        labels, predictions = np.indices(matrix.shape).reshape(2, -1)
        measures = precision_recall_fscore_support(
            labels, predictions, sample_weight=matrix.ravel(), labels=range(len(classes)), zero_division=0
        )
        published = experiment.published_classes if set(classes) == set(experiment.published_classes) else {}
        heads = ["class", "precision", "recall", "F1"] + ["article: precision", "recall"] * bool(published)
        rows = [
            [plain(name), *(f"{measure[place]:.2f}" for measure in measures[:3])]
            + [f"{number:.2f}" for number in published.get(name, ())]
            for place, name in enumerate(classes)
        ]
        accuracy = np.trace(matrix) / max(matrix.sum(), 1)
        yield f"**{Architecture.parse(network).label}** on the {part} images: accuracy {accuracy:.4f}.\n"
        yield markdown_table(heads, rows)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Tabulate what was claimed and what came out: primary claims in bold, what only describes in plain words."""
    rows = []
    for verdict in verdicts:
        claim, measured = verdict.claim, verdict.measurement
        statement = plain(verdict.statement)
        decided = f"**{verdict.outcome}**" if claim.primary else verdict.outcome
        if verdict.reason:
            decided += f" ({plain(verdict.reason)})"
        if verdict.diverged and claim.column.endswith("error"):
            decided += f"; {verdict.diverged} diverged runs count as chance error"
        unit = " points" if claim.column.endswith("error") else ""
        sign = ">" if claim.wants_more else "<"
        rows.append(
            [
                f"**{statement}**" if claim.primary else statement,
                f"{formula(claim, verdict.validation_name)} {sign} {verdict.margin:g}{unit}",
                _number(measured.mean),
                _interval(measured),
                str(measured.num),
                decided,
            ]
        )
    return markdown_table(["claim", "number per seed", "mean", "interval (level)", "seeds", "what came out"], rows)


def number_and_interval(measured: Measurement) -> str:
    """Write a mean, its interval and how many seeds are behind it.

    >>> number_and_interval(Measurement({0: 1.0, 1: 2.0, 2: 3.0}, level=0.95, floor=0.0))
    '+2.00, interval -0.48 to +4.48 (95 %), 3 seeds'
    """
    interval = f", interval {_interval(measured)}" if measured.num > 1 else ""
    return f"{_number(measured.mean)}{interval}, {measured.num} seed{'s' if measured.num > 1 else ''}"


def _interval(measured: Measurement) -> str:
    low, high = measured.interval
    return "" if math.isnan(low) else f"{_number(low)} to {_number(high)} ({100 * measured.level:.4g} %)"


def formula(claim: Claim, validation_name: str = "validation") -> str:
    """Put the claim's number into words, such as ``training error: plain-34 - plain-18``."""
    text = ""
    for name, weight in claim.contrast.items():
        sign = "-" if weight < 0 else "+"
        text += f" {sign} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{_label(name)}"
    return f"{column_words(claim.column, validation_name)}: {text.removeprefix(' + ').strip()}"


def column_words(column: str, validation_name: str) -> str:
    """Return the name of a column as a reader wants it.

    >>> column_words("training_error", "test"), column_words("validation_error", "test")
    ('clean training error', 'test error')
    """
    words = COLUMN_WORDS.get(column, column.replace("_", " "))
    return words.replace("validation", validation_name)


def _spread(row: Row, column: str, digits: int = 2) -> str:
    mean, sd = row.get(f"{column}_mean"), row.get(f"{column}_sd")
    if pd.isna(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}" if abs(value) < 0.1 else f"{value:+.2f}"


def machine_table(recorded: RecordedRuns) -> str:
    """Tabulate on which machines and with which versions the runs were trained."""
    machines: Counter[tuple[str, ...]] = Counter()
    for record in recorded.records:
        environment, arithmetic = record.run.environment, record.run.arithmetic
        machines[
            f"{environment.device_name} ({environment.device}, {arithmetic.threads} threads)",
            f"{arithmetic.precision}, {arithmetic.execution}",
            f"Python {environment.python}, torch {environment.torch}, torchvision {environment.torchvision}",
            f"{environment.git_commit}{' with changes' if environment.git_changes else ''}",
        ] += 1
    rows = [[*machine, str(number)] for machine, number in machines.items()]
    return markdown_table(["device", "precision", "versions", "commit", "runs"], rows)


def time_table(recorded: RecordedRuns) -> str:
    """Tabulate time, speed and memory of the finished runs; empty if there are none."""
    finals = recorded.finals
    if finals.empty:
        return ""
    on_device = finals["peak_memory_mib"].notna().all()  # a CPU has no peak of one run
    rows = [
        [
            f"{network}{f' ({study})' if study else ''}",
            f"{runs['training_seconds'].mean():,.1f}",
            f"{runs['evaluation_seconds'].mean():,.1f}",
            f"{runs['images_per_second'].median():,.0f}",
            *([f"{runs['peak_memory_mib'].max():,.0f}"] if on_device else []),
            str(len(runs)),
        ]
        for (network, study), runs in finals.groupby(["network", "study"], sort=False)
    ]
    memory = ["peak memory (MiB)"] if on_device else []
    return markdown_table(["run", "training (s)", "evaluation (s)", "images per second", *memory, "seeds"], rows)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table of plain cells."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: names of data sets and networks come from outside."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
