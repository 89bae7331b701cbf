"""What a run that diverged is, and what it counts as: here, and nowhere else.

It is never dropped, which would flatter the network that diverges. Its errors count as those of guessing. Nothing
stands for failure in other columns, such as layer responses: there it has no value. ``exceptions.py`` says what
follows for a claim.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import RecordedRuns, read_table
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.records.store import Record

ERRORS = ("running_training_error", "training_error", "validation_error", "test_error", "ten_crop_error")
TOP5_ERRORS = ("validation_top5_error", "ten_crop_top5_error")
COUNT_AS_CHANCE = (*ERRORS, *TOP5_ERRORS)
# What was measured on a ruined network means nothing.
WITHOUT_VALUE = (
    *(name for name, mean in RESPONSE_MEANS.items() if mean.moment != "initial"),
    *("ratio_change", "ratio_change_estimated"),
)


def counted(recorded: RecordedRuns) -> pd.DataFrame:
    """Return ``recorded.finals``, a row per finished run, with diverged runs as they count."""
    finals = recorded.finals
    if finals.empty or not finals["diverged"].any():
        return finals
    # The rows are those of the records that have an outcome, in their order.
    num_classes = np.array([len(record.run.dataset.classes) for record in recorded.records if record.final])
    values = {
        **dict.fromkeys(ERRORS, 100 * (1 - 1 / num_classes)),
        **dict.fromkeys(TOP5_ERRORS, np.maximum(0.0, 100 * (1 - 5 / num_classes))),
        **dict.fromkeys(WITHOUT_VALUE, math.nan),
    }
    changed = {
        name: finals[name].mask(finals["diverged"], value) for name, value in values.items() if name in finals
    }
    return finals.assign(**changed)


def wrongly_diverged(record: Record) -> Iterator[str]:
    """Compare what a run says of its end with its losses: it diverged if one of them was not finite.

    As in ``training/session.py``, the running or the clean training loss of an evaluation, where the run ends.
    """
    metrics = read_table(record.folder.metrics, MetricsRow)
    losses = metrics[["running_training_loss", "training_loss"]].to_numpy(float)
    *before, last = np.isfinite(losses).all(axis=1).tolist()
    assert record.final
    if record.final.outcome == "diverged" and last:
        yield "diverged, but the training loss of its last evaluation is finite"
    if record.final.outcome == "finished" and not last:
        yield "finished, but the training loss of its last evaluation is not finite"
    if not all(before):
        first = metrics["iteration"].iloc[before.index(False)]
        yield f"went on after iteration {first}, though its training loss was not finite there"
