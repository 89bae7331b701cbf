"""The only module that knows the file names and columns under results/. Imports no torch.

``results/<setting>/<run>/`` holds ``run.json`` (configuration, fingerprint, versions), ``metrics.csv`` (a
row an evaluation), ``responses.csv`` (a row a layer, at initialisation and at the end), ``final.json``
(written last: its presence is what "finished" means), ``weights.pt``, and ``checkpoint.pt`` while it trains.
"""

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plain_vs_residual.atomic import write_json, write_text

METRICS = (
    "iteration",
    "epoch",
    "learning_rate",
    "running_training_loss",
    "running_training_error",
    "training_loss",
    "training_error",
    "validation_loss",
    "validation_error",
    "validation_top5_error",
    "training_seconds",
    "evaluation_seconds",
    "consumed",
)
RESPONSES = ("moment", "kind", "order", "layer", "value")
FIRST_ITERATIONS = (
    *("iteration", "loss", "input", "conv1", "bn1", "logits"),
    *("conv1_gradient", "conv1_weight", "gradient_norm"),
)
REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "results"
SET_ASIDE = "set-aside"
Json = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the files in it."""

    path: Path

    @property
    def run(self) -> Path:
        """What was to be done, by what and on what; written first."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """A row an evaluation, columns ``METRICS``; errors in percent, losses in nats."""
        return self.path / "metrics.csv"

    @property
    def responses(self) -> Path:
        """Layer responses and F(x) to x, columns ``RESPONSES``."""
        return self.path / "responses.csv"

    @property
    def first_iterations(self) -> Path:
        """Scale of activations and gradients in the first iterations, where a study asks for it."""
        return self.path / "first_iterations.csv"

    @property
    def final(self) -> Path:
        """The outcome; written last."""
        return self.path / "final.json"

    @property
    def checkpoint(self) -> Path:
        """State of an unfinished run."""
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The one before, for the case that the last is damaged."""
        return self.path / "checkpoint.previous.pt"

    @property
    def weights(self) -> Path:
        """State dict of a finished run."""
        return self.path / "weights.pt"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.final.exists()

    def set_aside(self) -> Path:
        """Moves the run out of the way, whole, and returns where it went."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        target = self.path.parent / SET_ASIDE / f"{self.path.name}-{stamp}"
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{self.path.name}-{stamp}-{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.rename(target)
        return target


def plots_folder(results: Path, plots: Path | None) -> Path:
    """plots/ beside results/, and plots/reference/ for results/reference/."""
    if plots:
        return plots
    if results.parent.name == "results":
        return results.parent.parent / "plots" / results.name
    return results.parent / ("plots" if results.name == "results" else f"{results.name}-plots")


def run_name(network: str, variants: Iterable[str], seed: int) -> str:
    """The folder name of a run: ``<network>[-<variant>]-s<seed>``."""
    return "-".join([network, *(variant for variant in variants if variant), f"s{seed}"])


def run_folders(folder: Path) -> list[RunFolder]:
    """Every run under ``results/<setting>/``, finished or not, by name."""
    if not folder.is_dir():
        return []
    return [RunFolder(path.parent) for path in sorted(folder.glob("*/run.json"))]


def read_json(path: Path) -> Json:
    """Reads a JSON object.

    Raises:
        ValueError: if it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); delete its folder to train this run anew") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a JSON object was expected; delete its folder to train this run anew")
    return values


def write_run(folder: RunFolder, values: Mapping[str, Any]) -> None:
    """Writes ``run.json`` with its own SHA-256: until the run is finished nothing else vouches for it."""
    write_json(folder.run, _sealed(values))


def write_final(folder: RunFolder, values: Mapping[str, Any]) -> None:
    """Writes ``final.json`` with the SHA-256 of the run's other files and of itself: later damage shows."""
    others = (folder.run, folder.metrics, folder.responses, folder.first_iterations, folder.weights)
    files = {path.name: _sha256(path.read_bytes()) for path in others if path.exists()}
    write_json(folder.final, _sealed({**values, "files": files}))


def damage(folder: RunFolder, *, weights: bool = False) -> list[str]:
    """A line for each file of a run that is not what was written.

    Args:
        folder: the run's.
        weights: also looks at the weights, which takes longer, and which records kept in git lack.
    """
    try:
        if not folder.finished:
            return _damaged_seal(folder.run, _checked(folder.run, FIELDS_OF_RUN))
        final = _checked(folder.final, FIELDS_OF_FINAL)
    except ValueError as error:
        return [str(error)]
    found = _damaged_seal(folder.final, final)
    for name, written in final["files"].items():
        path = folder.path / name
        if path == folder.weights and not weights:
            continue
        if not path.exists():
            found.append(f"{path}: missing")
        elif _sha256(path.read_bytes()) != written:
            found.append(f"{path}: damaged, it does not match its SHA-256 in final.json")
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sealed(values: Mapping[str, Any]) -> Json:
    unsealed = {name: value for name, value in values.items() if name != "checksum"}
    return {**unsealed, "checksum": _sha256(json.dumps(unsealed, sort_keys=True).encode())}


def _damaged_seal(path: Path, values: Json) -> list[str]:
    whole = values.get("checksum") == _sealed(values)["checksum"]
    return [] if whole else [f"{path}: damaged, its content does not match its checksum"]


def write_rows(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a CSV file atomically, whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


@dataclass(frozen=True)
class Record:
    """One run as it was recorded; ``final`` is None while it is unfinished."""

    folder: RunFolder
    run: Json
    final: Json | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.path.name

    @property
    def identity(self) -> tuple[str, str, int]:
        """Network, study and seed: unique among the runs of one setting on one data set."""
        return self.run["network"], self.run["study"], self.run["seed"]


TEXT, WHOLE, NUMBER = (str,), (int,), (int, float)
Fields = Mapping[str, tuple[type, ...]]
FIELDS_OF_RUN: Fields = {
    **dict.fromkeys(("network", "label", "setting", "study", "caveat"), TEXT),
    "seed": WHOLE,
    **dict.fromkeys(("dataset", "configuration", "sources", "environment", "initial_parameters"), (dict,)),
    **dict.fromkeys(("dataset.name", "dataset.caveat", "dataset.variant"), TEXT),
    **dict.fromkeys(("dataset.classes", "departures"), (list,)),
    **dict.fromkeys(("configuration.num_training", "configuration.num_validation"), WHOLE),
}
FIELDS_OF_FINAL: Fields = {
    "outcome": TEXT,
    "iteration": WHOLE,
    **dict.fromkeys(("training_error", "validation_error", "validation_top5_error", "images_per_second"), NUMBER),
    **dict.fromkeys(("training_seconds", "evaluation_seconds", "peak_memory_mib"), NUMBER),
    **dict.fromkeys(("mean_response", "mean_ratio"), (*NUMBER, type(None))),
    "responses_on": TEXT,
    **dict.fromkeys(("consumed", "files"), (dict,)),
    "learning_rates": (list,),
    "checksum": TEXT,
}


def read_records(folder: Path) -> list[Record]:
    """Every run under ``results/<setting>/``.

    Raises:
        ValueError: if a file is not what this suite writes; names the file and the field.
    """
    return [read_record(run_folder) for run_folder in run_folders(folder)]


def read_record(folder: RunFolder) -> Record:
    """One run.

    Raises:
        ValueError: if a file is not what this suite writes, or no longer what it wrote.
    """
    run = _checked(folder.run, FIELDS_OF_RUN)
    final = _checked(folder.final, FIELDS_OF_FINAL) if folder.finished else None
    if damaged := damage(folder):
        raise ValueError(f"{damaged[0]}; delete its folder, or train it anew with --rerun")
    return Record(folder, run, final)


def _checked(path: Path, fields: Fields) -> Json:
    values = read_json(path)
    for field, kinds in fields.items():
        value: Any = values
        for part in field.split("."):
            if not isinstance(value, dict) or part not in value:
                raise ValueError(f"{path}: field '{field}' is missing; delete its folder to train this run anew")
            value = value[part]
        if not isinstance(value, kinds):
            raise ValueError(
                f"{path}: field '{field}' cannot be {value!r}; delete its folder to train this run anew"
            )
    return values
