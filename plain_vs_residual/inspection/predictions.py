"""What a finished run predicts: its recorded error checked, errors by class, the confusion matrix."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import classification_report

from plain_vs_residual.inspection.agreement import agreement
from plain_vs_residual.inspection.looking import shown
from plain_vs_residual.records.files import SET_ASIDE, plots_folder
from plain_vs_residual.records.store import Record, write_table
from plain_vs_residual.report.figures.studies import draw_confusion
from plain_vs_residual.report.figures.style import Drawn, write_figure
from plain_vs_residual.subject.from_run import finished_record, open_run
from plain_vs_residual.training.evaluation import Errors

SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Inspection:
    """A finished run, what it predicts for its validation images, and whether its record agrees.

    Attributes:
        record: of the run.
        classes: their names.
        errors: recomputed.
        remark: whether the recomputed error is the recorded one, and if not, what is different now.
    """

    record: Record
    classes: tuple[str, ...]
    errors: Errors
    remark: str

    @property
    def matrix(self) -> np.ndarray:
        """Number of images by class (row) and prediction (column)."""
        return np.array(self.errors.confusion)

    @property
    def home(self) -> Path:
        """Folder of the run's setting, ``results/<setting>``, for a run that was set aside as well."""
        folder = self.record.folder.path.parent
        return folder.parent if folder.name == SET_ASIDE else folder

    @property
    def default_out(self) -> Path:
        """Where tables and figure go: among the plots, or beside a run that was copied out of its results."""
        name = self.record.folder.path.name
        if self.home.name != self.record.run.setting:
            return self.home / "inspect" / name
        return plots_folder(self.home.parent, None) / self.home.name / "inspect" / name

    @property
    def title(self) -> str:
        """Network, study, seed, data set and error, as above the figure."""
        run = self.record.run
        study = f", {run.study}" if run.study else ""
        assert self.record.final
        return (
            f"{run.label}{study}, seed {run.seed}, {self.record.final.iteration:,} iterations; "
            f"{run.dataset.name}, setting {run.setting}\n"
            f"{self.matrix.sum():,} validation images, error {self.errors.error:.2f} %"
        )

    def report(self, *, as_table: bool = False) -> Any:
        """Return scikit-learn's classification report as text, or by class as a dictionary."""
        labels, predictions = (
            np.repeat(every.ravel(), self.matrix.ravel()) for every in np.indices(self.matrix.shape)
        )
        return classification_report(
            labels,
            predictions,
            labels=np.arange(len(self.classes)),
            target_names=list(self.classes),
            digits=3,
            # A class that is never predicted has no precision: 0, as scikit-learn has it, without its warning.
            zero_division=0,
            output_dict=as_table,
        )

    def text(self) -> str:
        """Return what the command ``inspect`` prints."""
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
        """Write ``classification_report.csv`` and ``confusion_matrix.csv``, ``.png`` and ``.svg``."""
        picture = write_figure(
            partial(_heat_map, self.matrix, self.classes), self.title, folder, "confusion_matrix"
        )
        by_class = self.report(as_table=True)
        # scikit-learn's one number for all classes stands in the column of F1, as in its printed report.
        if isinstance(by_class.get("accuracy"), float):
            by_class["accuracy"] = {"f1-score": by_class["accuracy"], "support": int(self.matrix.sum())}
        columns = ("class", "precision", "recall", "f1-score", "support")
        rows = [{"class": name, **numbers} for name, numbers in by_class.items()]
        table = folder / "classification_report.csv"
        write_table(table, columns, rows)
        return [table, picture.with_suffix(".csv"), picture]


def _heat_map(matrix: np.ndarray, classes: tuple[str, ...]) -> Drawn:
    side = min(16.0, max(8.0, 4.0 + 0.85 * len(classes)))
    figure, axes = plt.subplots(figsize=(side + 2.5, side))
    draw_confusion(axes, matrix, classes)
    table = pd.DataFrame(matrix, columns=list(classes))
    table.insert(0, "true class", list(classes), allow_duplicates=True)
    return figure, table


def inspect_run(path: Path, data: Path | None, device: torch.device) -> Inspection:
    """Rebuild the network and the images of a finished run and predict its validation images.

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
    subject = open_run(record, data, device)
    with shown(subject, subject.num_images("validation")) as watched:
        errors = watched.errors("validation")
    return Inspection(record, subject.dataset.classes, errors, agreement(record, errors, "validation", subject))
