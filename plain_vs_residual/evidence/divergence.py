"""What a run that diverged counts as: here, and nowhere else.

It is never dropped, which would flatter the network that diverges. Its errors count as those of guessing. Nothing
stands for failure in other columns, such as layer responses: there it has no value. ``exceptions.py`` says what
follows for a claim.
"""

import math

import numpy as np
import pandas as pd

from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import RecordedRuns

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
