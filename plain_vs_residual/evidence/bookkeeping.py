"""What stands in two places of a run's record must be the same in both: summaries are computed from their tables.

Nobody has to mean harm for a number to change: a script, a merge, a copy between folders does it, and seals are
easily made again. What is computed here from a table was written by training from the same numbers: it agrees to
the last digits.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from plain_vs_residual.records.models import RESPONSE_MEANS, FinalRecord
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MetricsRow, ResponseRow, consumed_parts
from plain_vs_residual.records.store import Record
from plain_vs_residual.training.schedule import evaluation_points

CURVE_POINTS = 50  # POINTS of training/training_curve.py, which needs torch
ERRORS = ("training_error", "validation_error", "validation_top5_error")
IN_THE_OUTCOME = (*ERRORS, "training_loss", "validation_loss")
PERCENT = (*ERRORS, "running_training_error")
# An evaluation after the last row adds to these chains.
TAKEN_AGAIN = {"validation": ("measured_training", "evaluated_validation"), "test": ("measured_training",)}


def contradictions(record: Record) -> Iterator[str]:
    """Name every number of a finished run that is not what its tables come to."""
    final = record.final
    assert final
    yield from _confusion(record, final)
    yield from _responses(record, final)
    if not record.folder.training_curve.exists():
        yield "training curve: not recorded"
        return
    metrics = read_table(record.folder.metrics, MetricsRow)
    curve = read_table(record.folder.training_curve, CurveRow)
    yield from _points(record, final, metrics, curve)
    yield from _last_row(final, metrics)
    yield from _running(final, metrics, curve)
    yield from _rates(final, metrics)
    yield from _times(record, final, metrics)


def equal(first: float | None, second: float | None) -> bool:
    """Say whether two numbers are the same but for rounding; no number is the same as NaN."""
    one, other = (math.nan if value is None else float(value) for value in (first, second))
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))


def _confusion(record: Record, final: FinalRecord) -> Iterator[str]:
    """Compare the error with the images that were put into a wrong class."""
    if (final.confusion_on == "test") != (final.test_error is not None):
        yield f"classes were counted on the {final.confusion_on} images, and the test error is {final.test_error}"
        return
    classes, images = len(record.run.dataset.classes), sum(map(sum, final.confusion))
    if [len(row) for row in final.confusion] != [classes] * classes:
        yield f"images by class and prediction: not a table of {classes} classes"
        return
    if final.confusion_on == "validation" and images != record.run.configuration.num_validation:
        yield f"{images} images by class, {record.run.configuration.num_validation} validation images"
        return
    error = 100 - 100 * sum(row[label] for label, row in enumerate(final.confusion)) / images
    stated = final.validation_error if final.test_error is None else final.test_error
    if abs(error - stated) > 50.1 / images:  # half an image
        yield f"{final.confusion_on} error: {stated:g} in the outcome, {error:g} by class and prediction"
    if any(count < 0 for row in final.confusion for count in row):
        yield "images by class and prediction: less than none"


def _responses(record: Record, final: FinalRecord) -> Iterator[str]:
    """Compare what sums up the layer responses with their table, whose layers are the same at every moment."""
    images = min(1000, record.run.configuration.num_training)  # NUM_IMAGES of measures/responses.py
    if not final.responses_on.startswith(f"{images:,} training images"):
        yield f"responses measured on {final.responses_on}, not on {images:,} training images"
    table = read_table(record.folder.responses, ResponseRow)
    values = {of: rows["value"].tolist() for of, rows in table.groupby(["kind", "moment"])}
    for column, of in RESPONSE_MEANS.items():
        value = of.of(values.get((of.kind, of.moment), []))
        if final.outcome == "diverged" and value is not None and math.isnan(value):
            continue  # whatever stands there, it does not count (divergence.py)
        if not equal(value, getattr(final, column)) and column in final.model_fields_set:
            yield f"{column}: {getattr(final, column)} in the outcome, {value} in its table"
    places = {
        moment: sorted(zip(rows["kind"], rows["order"], rows["layer"], strict=True))
        for moment, rows in table.groupby("moment")
    }
    same = {"initial", "final"} <= places.keys() and all(one == places["initial"] for one in places.values())
    if not same or len(set(places["initial"])) * len(places) != len(table):
        yield "layer responses: not of the same layers before and after training, each once"
    cosines = table["kind"] == "cosine"
    if (table["value"][~cosines] < 0).any() or (table["value"][cosines].abs() > 1 + 1e-6).any():
        yield "layer responses: a length below 0, or a cosine beyond 1"


def _points(record: Record, final: FinalRecord, metrics: pd.DataFrame, curve: pd.DataFrame) -> Iterator[str]:
    """Compare the iterations of both tables with those at which training reads and evaluates."""
    recipe = record.run.configuration
    assert recipe.iterations is not None
    evaluated = evaluation_points(recipe.iterations, recipe.evaluations)
    read = sorted({*evaluated, *evaluation_points(recipe.iterations, CURVE_POINTS)})
    for name, table, points in (("metrics", metrics, evaluated), ("training curve", curve, read)):
        if list(table["iteration"]) != [point for point in points if point <= final.iteration]:
            yield f"{name}: not of the iterations at which its recipe reads it"
        epochs = (table["iteration"] * recipe.batch_size / recipe.num_training).round(4)
        if (abs(epochs - table["epoch"]) > 1.01e-4).any():
            yield f"{name}: its epochs are not those of its iterations"


def _last_row(final: FinalRecord, metrics: pd.DataFrame) -> Iterator[str]:
    """Compare the outcome with the last evaluation, and ask of every evaluation whether it can be."""
    last = metrics.iloc[-1]
    for name in IN_THE_OUTCOME:
        if not equal(getattr(final, name), last[name]):
            yield f"{name}: {getattr(final, name):g} in the outcome, {last[name]:g} at the last evaluation"
    consumed = consumed_parts(last["consumed"])
    for name, value in consumed.items():
        if name not in TAKEN_AGAIN[final.confusion_on] and final.consumed.get(name, value) != value:
            yield f"{name}: other hashes in the outcome and at the last evaluation"
    crops: dict[str, float | None] = {
        "validation_error": final.ten_crop_error,
        "validation_top5_error": final.ten_crop_top5_error,
    }
    rows = [dict(zip(PERCENT, row, strict=True)) for row in metrics[list(PERCENT)].to_numpy(float).tolist()]
    for row in (*rows, crops):
        known = {name: value for name, value in row.items() if value is not None and not math.isnan(value)}
        if any(not 0 <= value <= 100 for value in known.values()):
            yield "errors: one is no percentage"
        if known.get("validation_top5_error", 0) > known.get("validation_error", 100) + 1e-9:
            yield "errors: a top-5 error is larger than the error"
    losses = (
        metrics[["training_loss", "validation_loss", "running_training_loss"]].to_numpy(float).ravel().tolist()
    )
    if any(loss < 0 for loss in losses):
        yield "losses: one is negative"


def _running(final: FinalRecord, metrics: pd.DataFrame, curve: pd.DataFrame) -> Iterator[str]:
    """Compute the running error and loss again from the curve: of the last tenth, and between evaluations."""
    ends = curve["iteration"].to_numpy()
    steps = np.diff(ends, prepend=0)
    starts = ends - steps
    tenth = starts >= starts[starts <= 0.9 * final.iteration].max()
    error = np.nansum((curve["running_training_error"].to_numpy() * steps)[tenth]) / steps[tenth].sum()
    if not equal(final.running_training_error, error):
        yield f"running training error: {final.running_training_error:g} in the outcome, {error:g} in the curve"
    for name in ("running_training_error", "running_training_loss"):
        sums, before = curve[name].to_numpy() * steps, 0
        for iteration, value in zip(metrics["iteration"], metrics[name], strict=True):
            between = (starts >= before) & (ends <= iteration)
            before = iteration
            mean = sums[between].sum() / steps[between].sum()
            if not equal(value, mean):
                yield f"{name} at iteration {iteration}: {value:g} in the metrics, {mean:g} in the curve"
                break


def _rates(final: FinalRecord, metrics: pd.DataFrame) -> Iterator[str]:
    for iteration, rate in zip(metrics["iteration"], metrics["learning_rate"], strict=True):
        applied = [rate for first, rate in final.learning_rates if first < iteration]
        if applied and not math.isclose(rate, applied[-1], rel_tol=1e-9):
            yield f"learning rate at the evaluation after iteration {iteration}: {rate:g}, applied {applied[-1]:g}"
            return


def _times(record: Record, final: FinalRecord, metrics: pd.DataFrame) -> Iterator[str]:
    """Compare seconds and images per second, which say what a network costs."""
    for name in ("training_seconds", "evaluation_seconds"):
        if abs(getattr(final, name) - metrics[name].iloc[-1]) > 2e-3:
            yield f"{name}: {getattr(final, name):g} in the outcome, {metrics[name].iloc[-1]:g} at the end"
        if (metrics[name].diff() < 0).any():
            yield f"{name}: fell from one evaluation to the next"
    images = final.iteration * record.run.configuration.batch_size
    speed = images / max(final.training_seconds, 1e-3)
    # Seconds are recorded in thousandths, speed in tenths.
    if abs(speed - final.images_per_second) > 0.051 + 0.51e-3 * speed / max(final.training_seconds, 1e-3):
        yield f"images per second: {final.images_per_second:g}, but {images} in {final.training_seconds:g} s"
    if final.waited_for_data_seconds > final.training_seconds + final.evaluation_seconds + 1:
        yield f"waited for data {final.waited_for_data_seconds:g} s in {final.training_seconds:g} s of training"
