"""The tables of a report, as Markdown. Imports no torch."""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from plain_vs_residual.analysis import Edition, summary
from plain_vs_residual.claims import Verdict
from plain_vs_residual.experiment import Claim, Experiment, Network
from plain_vs_residual.figures.studies import confusion_matrix

UNITS = {"training_error": "points", "validation_error": "points", "mean_response": ""}


def error_table(edition: Edition, experiment: Experiment) -> str:
    """Final errors of every network, mean and spread over seeds; with what the experiment's figures add."""
    table = summary(edition, experiment)
    own_paper = paper_is_comparable(edition, experiment)
    heads = ["network", "training error (%)", "validation error (%)", "seeds"]
    if own_paper:
        heads.append(f"paper ({experiment.paper_data}, test error %)")
    if edition.setting == "imagenet":
        heads.append("validation top-5 error (%)")
    responses = "layer_responses" in experiment.figures
    costs = "shortcut_options" in experiment.figures
    if responses:
        heads += ["mean response", "mean F(x) / x"]
    if costs:
        heads += ["parameters", "multiply-adds (M)", "training images a second", "time against plain"]
    rows = []
    plain = [row for _, row in table.iterrows() if row["n"] and Network.parse(row["network"]).kind == "plain"]
    baseline = plain[0]["images_per_second"] if plain else math.nan
    several = len(experiment.studies_in(edition.setting)) > 1
    for _, row in table.iterrows():
        label = _label(f"{row['network']}@{row['study']}" if several else row["network"])
        if not row["n"]:
            rows.append([label, "not run", "not run", "0"] + [""] * (len(heads) - 4))
            continue
        seeds = str(row["n"]) + (f" ({row['diverged']} diverged, counted as chance)" if row["diverged"] else "")
        cells = [label, _spread(row, "training_error"), _spread(row, "validation_error"), seeds]
        if own_paper:
            cells.append(
                f"{experiment.paper_errors[row['network']]:.2f}"
                if row["network"] in experiment.paper_errors
                else ""
            )
        if edition.setting == "imagenet":
            cells.append(_spread(row, "validation_top5_error"))
        if responses:
            cells += [_spread(row, "mean_response", 3), _spread(row, "mean_ratio", 3)]
        if costs:
            speed = row["images_per_second"]
            cells += [
                f"{row['parameters']:,.0f}",
                f"{row['multiply_adds'] / 1e6:,.1f}",
                f"{speed:,.0f}",
                "" if math.isnan(baseline) else f"{baseline / speed:.2f}x",
            ]
        rows.append(cells)
    note = "Mean ± standard deviation over seeds.\n\n"
    if costs:
        note += "Speed is the median over the runs of this table, measured while they trained.\n\n"
    if responses:
        finals = edition.select(edition.finals, experiment)
        where = finals["responses_on"].iloc[0] if not finals.empty else ""
        note += (
            f"Responses and ratios on {where}; at initialisation with BN statistics estimated on these images.\n\n"
        )
    return note + markdown_table(heads, rows)


def _label(key: str) -> str:
    """The paper's name of a network, with the study behind it in ``network@study``."""
    network, _, study = key.partition("@")
    return Network.parse(network).label + (f" ({study})" if study else "")


def paper_is_comparable(edition: Edition, experiment: Experiment) -> bool:
    """The paper's numbers stand beside ours only for the same data, split and budget."""
    return bool(experiment.paper_errors) and edition.name == "cifar10" and edition.dataset == experiment.paper_data


def class_tables(edition: Edition, experiment: Experiment) -> Iterator[str]:
    """Precision, recall and F1 by class of every network, all seeds together."""
    for network in experiment.networks[edition.setting]:
        matrix, classes, part = confusion_matrix(edition, experiment, network)
        if matrix is None:
            continue
        labels, predictions = np.indices(matrix.shape).reshape(2, -1)
        measures = precision_recall_fscore_support(
            labels, predictions, sample_weight=matrix.ravel(), labels=range(len(classes)), zero_division=0
        )
        published = experiment.published_classes if set(classes) == set(experiment.published_classes) else {}
        heads = ["class", "precision", "recall", "F1"] + ["article: precision", "recall"] * bool(published)
        rows = [
            [escape(name), *(f"{measure[place]:.2f}" for measure in measures[:3])]
            + [f"{number:.2f}" for number in published.get(name, ())]
            for place, name in enumerate(classes)
        ]
        accuracy = np.trace(matrix) / max(matrix.sum(), 1)
        yield f"**{Network.parse(network).label}** on the {part} images: accuracy {accuracy:.4f}.\n"
        yield markdown_table(heads, rows)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """What was claimed, what came out."""
    rows = []
    for verdict in verdicts:
        claim, unit = verdict.claim, UNITS.get(verdict.claim.column, "")
        marks = ", primary" if claim.primary else ""
        decided = f"**{verdict.verdict}**" + (f" ({escape(verdict.reason)})" if verdict.reason else "")
        if verdict.diverged:
            decided += f"; {verdict.diverged} diverged runs count as chance error"
        rows.append(
            [
                escape(claim.statement) + marks,
                f"{formula(claim)} {'>' if claim.above is not None else '<'} {claim.margin:g} {unit}".strip(),
                _number(verdict.mean),
                "" if math.isnan(verdict.low) else f"{_number(verdict.low)} to {_number(verdict.high)}",
                "" if math.isnan(verdict.p) else f"{verdict.p:.2g}",
                str(len(verdict.values)),
                decided,
            ]
        )
    return markdown_table(["claim", "number a seed", "mean", "95 % interval", "p", "seeds", "verdict"], rows)


def formula(claim: Claim) -> str:
    """The claim's number in words, such as ``training error: plain-34 - plain-18``."""
    text = ""
    for name, weight in claim.contrast.items():
        sign = "-" if weight < 0 else "+"
        text += f" {sign} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{_label(name)}"
    return f"{claim.column.replace('_', ' ')}: {text.removeprefix(' + ').strip()}"


def _spread(row: "pd.Series[float]", column: str, digits: int = 2) -> str:
    mean, sd = row[f"{column}_mean"], row[f"{column}_sd"]
    if pd.isna(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}" if abs(value) < 0.1 else f"{value:+.2f}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain cells."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: names of data sets and networks come from outside."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
