"""The tables of a report, as Markdown, but for that of an experiment's errors (``error_table.py``)."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.divergence import COUNT_AS_CHANCE
from plain_vs_residual.evidence.measurement import Measurement, beyond
from plain_vs_residual.experiment import COLUMN_WORDS, Claim, Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns


def label(network: str, study: str = "") -> str:
    """Return the paper's name of a network, with the study behind it."""
    return Architecture.parse(network).label + (f" ({study})" if study else "")


def confusion_matrix(
    recorded: RecordedRuns, experiment: Experiment, network: str
) -> tuple[np.ndarray, list[str], str] | None:
    """Add up images by class (row) and prediction (column) over all seeds; None where the network was not run.

    Returns:
        The counts, the classes, and which images they are of.
    """
    finals = [(r.run, r.final) for r in recorded.of(experiment) if r.final and r.run.network == network]
    if not finals:
        return None
    counts = np.sum([np.array(final.confusion) for _, final in finals], axis=0)
    run, final = finals[0]
    return counts, run.dataset.classes, final.confusion_on


def class_tables(recorded: RecordedRuns, experiment: Experiment) -> Iterator[str]:
    """Tabulate precision, recall and F1 of each class for every network, all seeds together."""
    from sklearn.metrics import precision_recall_fscore_support  # a second to import, for few experiments

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
    heads = ["claim", "number per seed", "mean", "interval (level)", "seeds", "what came out"]
    return markdown_table(heads, list(map(_verdict_row, verdicts)))


def _verdict_row(verdict: Verdict) -> list[str]:
    claim, measured = verdict.claim, verdict.measurement
    statement = plain(verdict.statement)
    came_out = f"**{verdict.outcome}**" if verdict.bold and verdict.decides else verdict.outcome
    if verdict.reason:
        came_out += f" ({plain(verdict.reason)})"
    if verdict.diverged and claim.column in COUNT_AS_CHANCE:
        came_out += f"; {verdict.diverged} diverged runs count as chance error"
    if verdict.counted_unread:
        came_out += f"; its level counts {plain(', '.join(verdict.counted_unread))}, which cannot be read"
    return [
        f"**{statement}**" if verdict.bold else statement,
        f"{formula(claim, verdict.validation_name)} {wanted_in_words(claim, verdict.margin)}",
        _number(measured.mean),
        _interval(measured),
        str(measured.num),
        came_out,
    ]


def wanted_in_words(claim: Claim, margin: float) -> str:
    """Write what is claimed of a number.

    >>> wanted_in_words(Claim("alike", {"plain34": 1}, within=2), 2)
    'between -2 and 2 points'
    """
    unit = " points" if claim.column.endswith("error") else ""
    if claim.side == "within":
        return f"between {-margin:g} and {margin:g}{unit}"
    return f"{'>' if claim.side == 'above' else '<'} {margin:g}{unit}"


def seeds_table(verdicts: Sequence[Verdict]) -> str:
    """Tabulate what decides seed by seed: numbers, signs, distance from the margin, what another seed may give."""
    heads = [
        "claim",
        "seed: number",
        "above 0",
        "as claimed",
        "mean from margin, in spreads",
        "another seed (95 %)",
    ]
    rows = [_seeds_row(verdict) for verdict in verdicts if verdict.measurement.num or verdict.others.num]
    return markdown_table(heads, rows)


def _seeds_row(verdict: Verdict) -> list[str]:
    measured, claim = verdict.measurement, verdict.claim
    values = list(measured.values.values())
    numbers = ", ".join(f"{seed}: {_number(value)}" for seed, value in sorted(measured.values.items()))
    outside = ", ".join(f"{seed}: {_number(value)}" for seed, value in sorted(verdict.others.values.items()))
    low, high = measured.next_seed
    return [
        plain(verdict.statement) + (f" ({verdict.registration.family})" if verdict.registration else ""),
        "; ".join(filter(None, (numbers, f"not planned, decide nothing: {outside}" if outside else ""))),
        f"{sum(value > 0 for value in values)} of {len(values)}",
        f"{sum(beyond(claim.side, value, verdict.margin) > 0 for value in values)} of {len(values)}",
        "" if measured.num < 2 else f"{verdict.distance / measured.deviation:+.2f}",
        "" if measured.num < 2 else f"{_number(low)} to {_number(high)}",
    ]


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
    """Put the claim's number into words.

    >>> formula(Claim("deeper is worse", {"plain34": 1, "plain18": -0.5}, above=2))
    'training error: plain-34 - 0.5 plain-18'
    """
    text = ""
    for name, weight in claim.contrast.items():
        network, _, study = name.partition("@")
        sign = "-" if weight < 0 else "+"
        factor = "" if abs(weight) == 1 else f"{abs(weight):g} "
        text += f" {sign} {factor}{label(network, study)}"
    return f"{column_words(claim.column, validation_name)}: {text.removeprefix(' + ').strip()}"


def column_words(column: str, validation_name: str) -> str:
    """Return the name of a column as a reader wants it.

    >>> column_words("training_error", "test"), column_words("validation_error", "test")
    ('clean training error', 'test error')
    """
    words = COLUMN_WORDS.get(column, column.replace("_", " "))
    return words.replace("validation", validation_name)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.3g}" if abs(value) < 0.1 else f"{value:+.2f}"


CHANGES = {True: " with changes", False: "", None: ", whether with changes is unknown"}


def machine_table(recorded: RecordedRuns) -> str:
    """Tabulate on which machines and with which versions the runs were trained."""
    machines: Counter[tuple[str, ...]] = Counter()
    for record in recorded.records:
        environment, arithmetic = record.run.environment, record.run.arithmetic
        machines[
            f"{environment.device_name} ({environment.device}, {arithmetic.threads} threads)",
            f"{arithmetic.precision}, {arithmetic.execution}",
            f"Python {environment.python}, torch {environment.torch}, torchvision {environment.torchvision}",
            f"{environment.git_commit or 'unknown'}{CHANGES[environment.git_changes]}",
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
