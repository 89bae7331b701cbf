"""The published measurements: summaries are what their rows say, and rows are those that are taken now."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from plain_vs_residual.evidence.summaries import wrong_summaries
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from plain_vs_residual.records.store import read_record
from plain_vs_residual.seminar import (
    construction,
    gradient_norms,
    lesions,
    loss_landscape,
    path_lengths,
    residual_functions,
    shattered_gradients,
)

FOLDER = REPOSITORY / "results" / "reference" / "fashion"
ITERATIONS = 350
Row = tuple[int, str, str, float, float]


def read(measurement: str, run: Path) -> list[Row]:
    with (run / f"{measurement}.csv").open(encoding="utf-8") as file:
        return [
            (int(row["iteration"]), row["quantity"], row["place"], float(row["position"]), float(row["value"]))
            for row in csv.DictReader(file)
        ]


def values(rows: list[Row], iteration: int, quantity: str, within: str = "") -> list[float]:
    return [row[4] for row in rows if row[:2] == (iteration, quantity) and row[2].startswith(within)]


def positions(rows: list[Row], quantity: str) -> list[float]:
    return [row[3] for row in rows if row[1] == quantity]


def of_lesions(rows: list[Row], run: Path) -> dict[str, float]:
    increases = {
        mode: [value - values(rows, ITERATIONS, f"intact_{mode}")[0] for value in removed]
        for mode in ("E", "R")
        if (removed := values(rows, ITERATIONS, f"removed_{mode}"))
    }
    shares = {  # of ten classes, 90 % are wrong by guessing
        mode: median(rises) / (90 - values(rows, ITERATIONS, f"intact_{mode}")[0])
        for mode, rises in increases.items()
    }
    return {
        "lesion_median": median(increases["E"]),
        "lesion_median_estimated": median(increases["R"]),
        "lesion_share": shares["E"],
        "lesion_share_estimated": shares["R"],
        "removable_blocks": len(increases["E"]),
    }


def of_gradients(rows: list[Row], run: Path) -> dict[str, float]:
    ratios = {}
    for iteration in (0, 10):
        weights = values(rows, iteration, "weight")
        ratios[iteration] = math.log10(weights[1] / weights[-1])
    outputs = np.log(values(rows, 0, "output", "layer1."))
    return {
        "log10_gradient_ratio": ratios[0],
        "log10_gradient_ratio_at_iteration_10": ratios[10],
        "gradient_growth_in_stage_1": math.exp(-np.polyfit(np.arange(len(outputs)), outputs, 1)[0]),
    }


def of_landscapes(rows: list[Row], run: Path) -> dict[str, float]:
    found = {}
    for column, quantity in (("rise", "loss_E"), ("rise_estimated", "loss_R")):
        loss = {row[2:4]: row[4] for row in rows if row[1] == quantity}
        rises = [value - loss[place, 0.0] for (place, step), value in loss.items() if abs(step) == 0.25]
        found[column] = median(rises)
    return found


def of_paths(rows: list[Row], run: Path) -> dict[str, float]:
    means = []
    for iteration in (0, ITERATIONS):
        gradients = values(rows, iteration, "gradient")
        blocks = len(gradients) - 1
        weights = [math.comb(blocks, length) * norm for length, norm in enumerate(gradients)]
        means.append(2 / blocks * sum(length * one for length, one in enumerate(weights)) / sum(weights))
    return {"mean_path_share": means[1], "mean_path_share_change": means[1] - means[0]}


def of_correlations(rows: list[Row], run: Path) -> dict[str, float]:
    (found,) = (row[4] for row in rows if row[0] == 0 and row[3] == 4)
    return {"gradient_correlation": found}


def of_signals(rows: list[Row], run: Path) -> dict[str, float]:
    return {"stage1_variance": values(rows, 0, "variance_of_images", "layer1.")[-1]}


def of_constructions(rows: list[Row], run: Path) -> dict[str, float]:
    with (run / "training_curve.csv").open(encoding="utf-8") as file:
        curve = [float(row["running_training_error"]) for row in csv.DictReader(file)]
    iteration = 0 if "grown" in run.name else ITERATIONS
    (built,) = (row[4] for row in rows if row[:2] == (iteration, "error_E") and row[3] == 0)
    return {"error_as_built": built, "worst_training_error": max(curve)}


SUMMARIES: dict[str, Callable[[list[Row], Path], dict[str, float]]] = {
    "construction": of_constructions,
    "gradient_norms": of_gradients,
    "lesions": of_lesions,
    "loss_landscape": of_landscapes,
    "path_lengths": of_paths,
    "residual_functions": lambda rows, run: {},
    "shattered_gradients": of_correlations,
    "signal_propagation": of_signals,
}


@pytest.mark.parametrize("measurement", SUMMARIES)
def test_published_summaries_are_what_their_rows_say(measurement: str) -> None:
    runs = sorted(path.parent for path in FOLDER.glob(f"*-s10/{measurement}.json"))
    assert len(runs) >= 2
    for run in runs:
        recorded = json.loads((run / f"{measurement}.json").read_text(encoding="utf-8"))["summary"]
        expected = SUMMARIES[measurement](read(measurement, run), run)
        # A column that came after the table was published can be computed, but stands in no record.
        assert recorded.keys() <= expected.keys()
        assert {name: expected[name] for name in recorded} == pytest.approx(recorded), run.name
        assert list(wrong_summaries(read_record(RunFolder(run)), measurement)) == []


def in_steps_of(percent: float, errors: list[float]) -> bool:
    """Say whether errors are shares of so many images, and of no fewer."""
    steps = [round(error / percent) for error in errors]
    return [step * percent for step in steps] == pytest.approx(errors) and math.gcd(*steps) == 1


def test_what_is_measured_now_is_what_was_published() -> None:
    """Numbers of images, draws, steps and iterations, as the published tables show them."""
    plain = FOLDER / "cifar-plain20-s10"
    rows = read("lesions", plain)
    assert positions(rows, "removed_at_random_E") == [one for one in lesions.NUMBERS if one <= 7]
    assert positions(rows, "exchanged_E") == list(lesions.NUMBERS)
    assert in_steps_of(100 / lesions.NUM_IMAGES, values(rows, ITERATIONS, "removed_E"))
    rows = read("construction", FOLDER / "cifar-plain56-grown-s10")
    assert positions(rows, "error_E") == [*construction.SHARES, 0]
    assert in_steps_of(100 / construction.NUM_IMAGES, [row[4] for row in rows])
    rows = read("loss_landscape", plain)
    assert positions(rows, "loss_R") == list(loss_landscape.STEPS) * loss_landscape.DIRECTIONS
    assert positions(rows, "plane_E") == loss_landscape._evenly(-0.5, 0.5, loss_landscape.PLANE) * 13
    assert positions(rows, "line_R") == loss_landscape._evenly(0, 1, loss_landscape.LINE)
    rows = read("gradient_norms", plain)
    assert {row[0] for row in rows} == {*gradient_norms.FIRST_ITERATIONS, 70, 140, 210, 280, 350}
    rows = read("shattered_gradients", plain)
    assert positions(rows, "correlation") == [*shattered_gradients.LAGS] * 2
    rows = read("residual_functions", FOLDER / "cifar-residual56-A-s10")
    assert {row[0] for row in rows} == {0, 350, *(round(350 ** (one / 12)) for one in range(12))}
    assert residual_functions.MOMENTS == 12
    assert len(read("path_lengths", FOLDER / "cifar-residual20-A-s10")) == 2 * 3 * 10
    assert path_lengths.DRAWS == 8
