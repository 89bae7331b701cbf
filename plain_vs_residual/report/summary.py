"""Final numbers of an experiment's runs, summarised over seeds."""

import pandas as pd

from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.recorded_runs import RecordedRuns

NUMBERS = [name for name, field in FinalRecord.model_fields.items() if field.annotation in (float, float | None)]


def summary(recorded: RecordedRuns, experiment: Experiment) -> pd.DataFrame:
    """Summarise the experiment, a row per network and study in its order: mean, standard deviation, seeds.

    Columns: network, study, label, n, diverged, parameters, multiply_adds and ``images_per_second`` (median), then
    ``<column>_mean`` and ``<column>_sd`` of every number of the final record that is no count: errors (percent),
    losses (nats), means of the responses, times.
    """
    chosen = recorded.select(counted(recorded), experiment)
    rows = []
    for network, study in recorded.needed(experiment):
        runs = chosen
        if not chosen.empty:
            runs = chosen[(chosen["network"] == network) & (chosen["study"] == study)]
        if runs.empty:
            rows.append({"network": network, "study": study, "label": None, "n": 0, "diverged": 0})
            continue
        row = {
            "network": network,
            "study": study,
            "label": runs["label"].iloc[0],
            "n": len(runs),
            "diverged": int(runs["diverged"].sum()),
            "parameters": runs["parameters"].iloc[0],
            "multiply_adds": runs["multiply_adds"].iloc[0],
            "images_per_second": runs["images_per_second"].median(),
        }
        for column in (name for name in NUMBERS if name in runs):
            values = pd.to_numeric(runs[column])
            row |= {f"{column}_mean": values.mean(), f"{column}_sd": values.std()}
        rows.append(row)
    return pd.DataFrame(rows)
