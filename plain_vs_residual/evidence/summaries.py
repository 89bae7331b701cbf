"""What a measurement of the seminar sums up, computed once more from its table, by its own definition.

The modules of ``seminar/`` compute these columns while they measure, on tensors; here they are read off the rows.
A column that has no function here is named (:func:`not_recomputed`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from plain_vs_residual.evidence.bookkeeping import equal
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MeasuredRow
from plain_vs_residual.records.store import Record, read_measurement

Summary = Callable[[pd.DataFrame, Record], float]


def wrong_summaries(record: Record, measurement: str) -> Iterator[str]:
    """Name every column of a measurement of a run that its table does not come to; nothing if it was not taken."""
    if not record.folder.measurement(measurement).exists():
        return
    taken = read_measurement(record.folder, measurement)
    stated = taken.summary
    if taken.measurement != measurement:
        yield f"{measurement}: its record is of {taken.measurement}"
    table = read_table(record.folder.measured(measurement), MeasuredRow)
    for column, summary in SUMMARIES.get(measurement, {}).items():
        if column not in stated:
            continue  # measured by an earlier version
        try:
            value = summary(table, record)
        except (IndexError, KeyError, ValueError, ZeroDivisionError):
            yield f"{measurement}, {column}: its table lacks rows for it"
            continue
        if not equal(stated[column], value if math.isfinite(value) else None):
            yield f"{measurement}, {column}: {stated[column]} in its summary, {value:g} in its table"


def not_recomputed(measurement: str, columns: Iterable[str]) -> Iterator[str]:
    """Name the columns of a measurement that cannot be computed again here."""
    for column in columns:
        if column not in SUMMARIES.get(measurement, {}):
            yield f"{column} ({measurement})"


def _values(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return table[table["quantity"] == quantity]


def _numbers(table: pd.DataFrame, quantity: str) -> Any:
    """Return the values alone, in the order of the rows: a tenth of the time that selecting rows takes."""
    return table["value"].to_numpy()[table["quantity"].to_numpy() == quantity]


def _lesions(mode: str) -> Summary:
    """Median rise of the error without a block."""

    def summary(table: pd.DataFrame, record: Record) -> float:
        (intact,) = _numbers(table, f"intact_{mode}")
        return float(median(_numbers(table, f"removed_{mode}") - intact))

    return summary


def _lesion_share(mode: str) -> Summary:
    """That rise, of what a network can lose until it guesses; NaN for one that guesses."""

    def summary(table: pd.DataFrame, record: Record) -> float:
        (intact,) = _numbers(table, f"intact_{mode}")
        left = 100 * (1 - 1 / len(record.run.dataset.classes)) - intact
        return _lesions(mode)(table, record) / left if left > 0 else math.nan

    return summary


def _removable_blocks(table: pd.DataFrame, record: Record) -> float:
    return float(len(_numbers(table, "removed_E")))


def _rise(mode: str) -> Summary:
    """Median rise of the loss a quarter of the way out, over directions and both senses."""

    def summary(table: pd.DataFrame, record: Record) -> float:
        losses = _values(table, f"loss_{mode}").pivot(index="place", columns="position", values="value")
        return float(median([*(losses[-0.25] - losses[0.0]), *(losses[0.25] - losses[0.0])]))

    return summary


def _gradient_ratio(iteration: int) -> Summary:
    """Logarithm of the second convolution's weight gradient over that of the last."""

    def summary(table: pd.DataFrame, record: Record) -> float:
        rows = _values(table, "weight")
        norms = rows[rows["iteration"] == iteration].sort_values("position")["value"].to_list()
        return math.log10(norms[1] / norms[-1]) if len(norms) > 1 and norms[1] > 0 < norms[-1] else math.nan

    return summary


def _gradient_growth(table: pd.DataFrame, record: Record) -> float:
    """Factor per layer by which the gradient grows towards the input, in stage 1, before training."""
    rows = _values(table, "output")
    rows = rows[(rows["iteration"] == 0) & rows["place"].str.startswith("layer1.")].sort_values("position")
    if len(rows) < 2:
        raise ValueError("no line through fewer than two layers")
    if not ((rows["value"] > 0) & np.isfinite(rows["value"])).all():
        return math.nan
    return float(np.exp(-np.polyfit(range(len(rows)), np.log(rows["value"]), 1)[0]))


def _gradient_correlation(table: pd.DataFrame, record: Record) -> float:
    rows = _values(table, "correlation")
    return float(rows[(rows["iteration"] == 0) & (rows["position"] == 4)]["value"].iloc[0])


def _mean_path(table: pd.DataFrame, iteration: int) -> float:
    """Mean length of the paths by their share of the gradient, over that of all paths, n / 2."""
    rows = _values(table, "gradient")
    norms = rows[rows["iteration"] == iteration].sort_values("position")["value"].to_list()
    blocks = len(norms) - 1
    weights = [math.comb(blocks, length) * norm for length, norm in enumerate(norms)]
    mean: float = sum(length * weight for length, weight in enumerate(weights)) / sum(weights)
    return mean / (blocks / 2)


def _path_share(table: pd.DataFrame, record: Record) -> float:
    return _mean_path(table, table["iteration"].max())


def _path_share_change(table: pd.DataFrame, record: Record) -> float:
    return _mean_path(table, table["iteration"].max()) - _mean_path(table, 0)


def _stage1_variance(table: pd.DataFrame, record: Record) -> float:
    rows = _values(table, "variance_of_images")
    return float(rows[rows["place"].str.startswith("layer1.")].sort_values("position")["value"].iloc[-1])


def _error_as_built(table: pd.DataFrame, record: Record) -> float:
    return float(_values(table, "error_E")["value"].iloc[0])


def _worst_training_error(table: pd.DataFrame, record: Record) -> float:
    return float(read_table(record.folder.training_curve, CurveRow)["running_training_error"].max())


def _folded_training_error(table: pd.DataFrame, record: Record) -> float:
    """Error of the folded network, or of the trained one where it does not fold."""
    folded = _values(table, "error_folded")
    return float((_values(table, "error_trained") if folded.empty else folded)["value"].iloc[0])


def _folded_logit_difference(table: pd.DataFrame, record: Record) -> float:
    found = _values(table, "logit_difference")
    return math.nan if found.empty else float(found["value"].iloc[0])


def _shortcut_gain(quantity: str) -> Summary:
    """Largest sum of a row or column of the product of all mixings, after training."""

    def summary(table: pd.DataFrame, record: Record) -> float:
        rows = _values(table, quantity)
        rows = rows[rows["iteration"] == rows["iteration"].max()].sort_values("position")
        return float(rows["value"].iloc[-1])

    return summary


def _largest_shortcut_gain(table: pd.DataFrame, record: Record) -> float:
    rows = _values(table, "row_sum")
    return float(rows["value"][rows["iteration"] == rows["iteration"].max()].max())


def _mixing_change(table: pd.DataFrame, record: Record) -> float:
    changes = _values(table, "change")["value"]
    return float(changes.sum() / len(changes))


SUMMARIES: Mapping[str, Mapping[str, Summary]] = {
    "construction": {"error_as_built": _error_as_built, "worst_training_error": _worst_training_error},
    "folding": {
        "folded_training_error": _folded_training_error,
        "folded_logit_difference": _folded_logit_difference,
    },
    "gradient_norms": {
        "log10_gradient_ratio": _gradient_ratio(0),
        "log10_gradient_ratio_at_iteration_10": _gradient_ratio(10),
        "gradient_growth_in_stage_1": _gradient_growth,
    },
    "lesions": {
        "lesion_median": _lesions("E"),
        "lesion_median_estimated": _lesions("R"),
        "lesion_share": _lesion_share("E"),
        "lesion_share_estimated": _lesion_share("R"),
        "removable_blocks": _removable_blocks,
    },
    "loss_landscape": {"rise": _rise("E"), "rise_estimated": _rise("R")},
    "path_lengths": {"mean_path_share": _path_share, "mean_path_share_change": _path_share_change},
    "residual_functions": {},
    "shattered_gradients": {"gradient_correlation": _gradient_correlation},
    "shortcut_gain": {
        "shortcut_gain": _shortcut_gain("row_sum"),
        "shortcut_gain_back": _shortcut_gain("column_sum"),
        "largest_shortcut_gain": _largest_shortcut_gain,
        "mixing_change": _mixing_change,
    },
    "signal_propagation": {"stage1_variance": _stage1_variance},
}
