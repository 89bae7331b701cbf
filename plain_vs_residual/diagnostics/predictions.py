"""What a finished run predicts: its recorded error checked, errors by class, the confusion matrix."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import classification_report, confusion_matrix
from torch.nn.functional import cross_entropy

from plain_vs_residual import records
from plain_vs_residual.data.datasets import Dataset, load_dataset, split
from plain_vs_residual.data.feeds import Batch, make_feed
from plain_vs_residual.experiment import Network
from plain_vs_residual.figures.studies import draw_confusion
from plain_vs_residual.figures.style import Drawn, write_figure
from plain_vs_residual.fingerprint import source_hashes
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.job import Job, build_for
from plain_vs_residual.training.step import PRECISIONS, Totals, Trainer
from plain_vs_residual.weights import load_weights, read_weights

# Names of the images that a setting has without --data.
OWN_IMAGES = ("CIFAR-10", "digits (scikit-learn)")
# Percent: far less than one image, more than a number loses on its way through JSON.
TOLERANCE = 1e-6
SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Predictions:
    """Labels and predictions int64 (N) in the order of the images, mean loss (nats), error (percent)."""

    labels: np.ndarray
    predicted: np.ndarray
    loss: float
    error: float


def predict(trainer: Trainer, batches: Iterable[Batch]) -> Predictions:
    """Shows every image to a network in evaluation mode; error and loss are summed exactly as in training."""
    totals = Totals(trainer.device)
    labels_seen, predicted = [], []
    trainer.network.eval()
    with torch.inference_mode():
        for images, labels in batches:
            logits = trainer.forward(images)
            totals.add(logits, labels, cross_entropy(logits, labels))
            labels_seen.append(labels.cpu())
            predicted.append(logits.argmax(dim=1).cpu())
    loss, error, _ = totals.read()
    return Predictions(torch.cat(labels_seen).numpy(), torch.cat(predicted).numpy(), loss, error)


@dataclass(frozen=True)
class Inspection:
    """A finished run, what it predicts for its validation images, and what does not agree with its record."""

    record: records.Record
    classes: tuple[str, ...]
    predictions: Predictions
    remark: str

    @property
    def matrix(self) -> np.ndarray:
        """Number of images by class (row) and prediction (column)."""
        every = np.arange(len(self.classes))
        counts: np.ndarray = confusion_matrix(self.predictions.labels, self.predictions.predicted, labels=every)
        return counts

    @property
    def home(self) -> Path:
        """Folder of the run's setting, ``results/<setting>``, for a run that was set aside as well."""
        folder = self.record.folder.path.parent
        return folder.parent if folder.name == records.SET_ASIDE else folder

    @property
    def title(self) -> str:
        """Network, study, seed, data set and error, as above the figure."""
        run, seen = self.record.run, self.predictions
        study = f", {run['study']}" if run["study"] else ""
        assert self.record.final
        return (
            f"{run['label']}{study}, seed {run['seed']}, {self.record.final['iteration']:,} iterations; "
            f"{run['dataset']['name']}, setting {run['setting']}\n"
            f"{len(seen.labels):,} validation images, error {seen.error:.2f} %"
        )

    def report(self, *, as_table: bool = False) -> Any:
        """scikit-learn's classification report as text, or by class as a dictionary."""
        return classification_report(
            self.predictions.labels,
            self.predictions.predicted,
            labels=np.arange(len(self.classes)),
            target_names=list(self.classes),
            digits=3,
            # A class that is never predicted has no precision: 0, as scikit-learn has it, without its warning.
            zero_division=0,
            output_dict=as_table,
        )

    def text(self) -> str:
        """What ``inspect`` prints."""
        parts = [self.title, self.remark, self.report(), "Confusion matrix (row: true class, column: prediction)"]
        if len(self.classes) > SHOWN_CLASSES:
            parts.append(f"{len(self.classes)} classes are too many for a screen: see confusion_matrix.csv")
        else:
            parts.append(self._matrix_text())
        return "\n\n".join(parts)

    def _matrix_text(self) -> str:
        table = pd.DataFrame(self.matrix, index=list(self.classes), columns=list(self.classes))
        if max(map(len, self.classes)) > 5:
            # Numbers for names, else ten classes would not fit on a line.
            table.index = pd.Index([f"{name} [{number}]" for number, name in enumerate(self.classes)])
            table.columns = pd.Index([f"[{number}]" for number in range(len(self.classes))])
        return str(table.to_string())

    def write(self, folder: Path) -> list[Path]:
        """Writes ``classification_report.csv`` and ``confusion_matrix.csv``, ``.png`` and ``.svg``."""
        picture = write_figure(
            partial(_heat_map, self.matrix, self.classes), self.title, folder, "confusion_matrix"
        )
        by_class = self.report(as_table=True)
        # scikit-learn's one number for all classes stands in the column of F1, as in its printed report.
        if isinstance(by_class.get("accuracy"), float):
            by_class["accuracy"] = {"f1-score": by_class["accuracy"], "support": len(self.predictions.labels)}
        columns = ("class", "precision", "recall", "f1-score", "support")
        rows = [{"class": name, **numbers} for name, numbers in by_class.items()]
        table = folder / "classification_report.csv"
        records.write_rows(table, columns, rows)
        return [table, picture.with_suffix(".csv"), picture]


def _heat_map(matrix: np.ndarray, classes: tuple[str, ...]) -> Drawn:
    side = min(16.0, max(8.0, 4.0 + 0.85 * len(classes)))
    figure, axes = plt.subplots(figsize=(side + 2.5, side))
    draw_confusion(axes, matrix, classes)
    table = pd.DataFrame(matrix, columns=list(classes))
    table.insert(0, "true class", list(classes), allow_duplicates=True)
    return figure, table


def inspect_run(path: Path, data: Path | None, device: torch.device) -> Inspection:
    """Rebuilds the network and the images of a finished run and predicts its validation images.

    Args:
        path: folder of the run, ``results/<setting>/<run>``.
        data: where its images are, unless they are the setting's own.
        device: where to compute; the precision is the recorded one.

    Raises:
        ValueError: if the folder is no run or an unfinished one, if the images are not those of the run, or
            if the weights do not fit.
        FileNotFoundError: if CIFAR-10 is neither here nor to be downloaded.
    """
    record = finished_record(path)
    run = record.run
    setting = recorded_setting(run)
    network = Network.parse(run["network"])
    precision = next((known for known in PRECISIONS if known == run["configuration"].get("precision")), None)
    if precision is None:
        raise ValueError(f"{record.folder.run}: field 'configuration.precision' must be one of {PRECISIONS}")
    state = read_weights(record.folder.weights)
    dataset = _images_of(record, setting, data)
    job = Job(network, setting, run["seed"], precision, device)
    built = build_for(job, dataset)
    load_weights(built, state, str(record.folder.weights))
    built.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(built, momentum=0.0, weight_decay=0.0, precision=precision)
    feed = make_feed(dataset, setting, job.seed, device)
    predictions = predict(trainer, feed.evaluation_batches("validation"))
    return Inspection(record, dataset.classes, predictions, _remark(record, predictions, device))


def finished_record(path: Path) -> records.Record:
    """The record of a finished run.

    Raises:
        ValueError: if the folder is no run, or the run is not finished.
    """
    folder = records.RunFolder(path.resolve())
    if not folder.run.is_file():
        raise ValueError(
            f"{path}: no run in this folder (no {folder.run.name}); give one such as results/digits/plain18-s0"
        )
    if not folder.finished:
        raise ValueError(f"{path}: this run is not finished; bash run_all.sh goes on with it")
    if not folder.weights.is_file():
        raise ValueError(
            f"{path}: its {folder.weights.name} is not here (git does not keep weights); train the run anew"
        )
    return records.read_record(folder)


def recorded_setting(run: records.Json) -> Setting:
    """The setting with which a run was trained, changes by a study included.

    Raises:
        ValueError: if there is no setting of that name.
    """
    values = {field.name: run["configuration"].get(field.name) for field in fields(Setting)}
    known = {name: value for name, value in values.items() if value is not None}
    return find_setting(run["setting"]).with_changes(known | {"drops": tuple(known.get("drops", ()))})


def _images_of(record: records.Record, setting: Setting, data: Path | None) -> Dataset:
    name, recorded = record.run["dataset"]["name"], record.run["configuration"].get("data_fingerprint")
    if data is None and name not in OWN_IMAGES:
        raise ValueError(f"{record.name} was trained on {name}; give these images again: --data FOLDER")
    dataset = split(load_dataset(setting, data), setting.split)
    found = dataset.fingerprint()
    if found != recorded:
        where = f"--data {data}" if data else f"setting {setting.name}"
        raise ValueError(
            f"{where}: {dataset.name} with fingerprint {found} is not what {record.name} was trained on: {name} "
            f"with {recorded}; give the same images: --data FOLDER"
        )
    return dataset


def _remark(record: records.Record, predictions: Predictions, device: torch.device) -> str:
    """Whether the recomputed error is the recorded one, and if not, what is different now."""
    assert record.final
    recorded = float(record.final["validation_error"])
    diverged = "\nnote: this run diverged" if record.final["outcome"] == "diverged" else ""
    if np.isclose(predictions.error, recorded, rtol=0, atol=TOLERANCE):
        return f"recomputed error {predictions.error:.4f} %: as recorded{diverged}"
    images = round(abs(predictions.error - recorded) * len(predictions.labels) / 100)
    environment = record.run["environment"]
    reasons = [
        *(
            f"{path} has changed"
            for path, code in source_hashes().items()
            if record.run["sources"].get(path) != code
        ),
        *(
            f"{what} was {environment.get(what)}, is {now}"
            for what, now in (("device", device.type), ("torch", torch.__version__))
            if environment.get(what) != now
        ),
    ]
    why = "; ".join(reasons) or "code, device and torch are the same: have weights or records been changed?"
    return (
        f"NOT as recorded: recomputed error {predictions.error:.4f} %, recorded {recorded:.4f} % "
        f"({images} images); {why}{diverged}"
    )
