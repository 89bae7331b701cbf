"""Records to tables. Reads files alone and imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records import METRICS, RESPONSES, Record, RunFolder, read_records, run_name

WORDS = ("consumed", "moment", "kind", "layer")


@dataclass(frozen=True)
class Edition:
    """All runs of one setting on one data set and split: what one report is about.

    Attributes:
        setting: name of the setting.
        variant: sets other data and splits apart; empty for the setting's own.
        records: the runs, finished or not.
    """

    setting: str
    variant: str
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Name of its folder under plots/."""
        return "-".join(filter(None, (self.setting, self.variant)))

    @property
    def dataset(self) -> str:
        """The data set's name, as it stands in every figure."""
        return str(self.records[0].run["dataset"]["name"])

    @property
    def caveats(self) -> list[str]:
        """What a reader must know about the data set and the setting."""
        run = self.records[0].run
        return [text for text in (run["dataset"]["caveat"], run["caveat"]) if text]

    @property
    def seeds(self) -> list[int]:
        """Every seed of which there is a run."""
        return sorted({record.run["seed"] for record in self.records})

    def study(self, experiment: Experiment) -> str:
        """The name of the experiment's study in this setting, empty if it has none."""
        study = experiment.studies.get(self.setting)
        return study.name if study else ""

    def of(self, experiment: Experiment) -> list[Record]:
        """The runs that belong to an experiment."""
        networks = experiment.networks.get(self.setting, ())
        study = self.study(experiment)
        return [
            record for record in self.records if record.run["network"] in networks and record.run["study"] == study
        ]

    def missing(self, experiment: Experiment) -> list[str]:
        """Runs that the experiment needs for the seeds there are, but that are not finished."""
        study = self.study(experiment)
        there = {record.identity for record in self.records if record.final}
        return [
            run_name(network, (study, self.variant), seed)
            for seed in self.seeds
            for network in experiment.networks.get(self.setting, ())
            if (network, study, seed) not in there
        ]

    @cached_property
    def finals(self) -> pd.DataFrame:
        """A row a finished run: identity, final errors (percent), costs.

        A diverged run counts as chance error and has ``diverged`` set.
        """
        rows = []
        for record in self.records:
            if record.final is None:
                continue
            row = {name: value for name, value in record.final.items() if not isinstance(value, dict | list)}
            row |= {name: record.run[name] for name in ("network", "label", "study", "seed")}
            row |= {name: record.run.get(name) for name in ("parameters", "multiply_adds")}
            row["diverged"] = record.final["outcome"] == "diverged"
            if row["diverged"]:
                num_classes = len(record.run["dataset"]["classes"])
                chance = 100 * (1 - 1 / num_classes)
                row |= {"training_error": chance, "validation_error": chance}
                row["validation_top5_error"] = max(0.0, 100 * (1 - 5 / num_classes))
            rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row an evaluation of every run, with its identity."""
        return self._tables(lambda folder: folder.metrics, METRICS)

    @cached_property
    def responses(self) -> pd.DataFrame:
        """A row a layer and moment of every run, with its identity."""
        return self._tables(lambda folder: folder.responses, RESPONSES)

    def _tables(self, path_in: Callable[[RunFolder], Path], columns: Sequence[str]) -> pd.DataFrame:
        tables = []
        for record in self.records:
            path = path_in(record.folder)
            if not path.exists():
                continue
            try:
                table = pd.read_csv(path)
            except (ValueError, UnicodeDecodeError) as error:
                raise ValueError(f"{path}: not a table this suite wrote ({error})") from error
            for column in columns:
                if column not in table:
                    raise ValueError(f"{path}: not a table this suite wrote (no column '{column}')")
                if column not in WORDS and not pd.api.types.is_numeric_dtype(table[column]):
                    raise ValueError(f"{path}: not a table this suite wrote (column '{column}' is not numbers)")
            network, study, seed = record.identity
            tables.append(table.assign(network=network, label=record.run["label"], study=study, seed=seed))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def select(self, table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
        """The rows of ``finals``, ``curves`` or ``responses`` that belong to an experiment."""
        if table.empty:
            return table
        networks = experiment.networks.get(self.setting, ())
        return table[table["network"].isin(networks) & (table["study"] == self.study(experiment))]


def load_editions(results: Path, setting: str | None = None) -> list[Edition]:
    """Every edition under a results folder, or those of one setting.

    Raises:
        ValueError: if there are no runs, or a file is not what this suite writes.
    """
    folders = [results / setting] if setting else [path for path in sorted(results.glob("*")) if path.is_dir()]
    editions = []
    for folder in folders:
        if folder.name == "reference" and setting is None:
            continue
        read = read_records(folder)
        for variant in sorted({record.run["dataset"]["variant"] for record in read}):
            chosen = tuple(record for record in read if record.run["dataset"]["variant"] == variant)
            first: dict[tuple[str, str, int], Record] = {}
            for record in chosen:
                same = first.setdefault(record.identity, record)
                if same is not record:
                    raise ValueError(f"{same.folder.path} and {record.folder.path} are the same run; keep one")
            editions.append(Edition(folder.name, variant, chosen))
    if not editions:
        wanted = f" of setting '{setting}'" if setting else ""
        raise ValueError(f"no runs{wanted} in {results}; train some first: bash run_all.sh")
    return editions


def summary(edition: Edition, experiment: Experiment) -> pd.DataFrame:
    """A row a network of the experiment, in its order: mean, standard deviation and number of seeds.

    Columns: network, label, n, diverged, then ``<column>_mean`` and ``<column>_sd`` of the errors (percent),
    parameters, multiply_adds and ``images_per_second`` (median).
    """
    chosen = edition.select(edition.finals, experiment)
    rows = []
    for network in experiment.networks.get(edition.setting, ()):
        runs = chosen[chosen["network"] == network] if not chosen.empty else chosen
        if runs.empty:
            rows.append({"network": network, "label": None, "n": 0, "diverged": 0})
            continue
        row = {
            "network": network,
            "label": runs["label"].iloc[0],
            "n": len(runs),
            "diverged": int(runs["diverged"].sum()),
            "parameters": runs["parameters"].iloc[0],
            "multiply_adds": runs["multiply_adds"].iloc[0],
            "images_per_second": runs["images_per_second"].median(),
        }
        for column in (
            "training_error",
            "validation_error",
            "validation_top5_error",
            "mean_response",
            "mean_ratio",
        ):
            values = pd.to_numeric(runs[column])
            row |= {f"{column}_mean": values.mean(), f"{column}_sd": values.std()}
        rows.append(row)
    return pd.DataFrame(rows)
