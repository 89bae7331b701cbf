"""When figures and report are drawn: every few minutes while runs end, and not again while nothing changed.

Imports neither torch nor, until something is to be drawn, pandas and matplotlib.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plain_vs_residual.atomic import write_text
from plain_vs_residual.experiment import EXPERIMENTS, Experiment, load_experiments
from plain_vs_residual.fingerprint import PACKAGE
from plain_vs_residual.records import plots_folder, run_folders

if TYPE_CHECKING:
    from plain_vs_residual.analysis import Edition

# Drawing takes seconds from the runs beside it.
REFRESH_SECONDS = 240.0


def editions(results: Path, setting: str | None, experiments: Sequence[Experiment]) -> "list[Edition]":
    """The recorded editions that hold a run of the experiments.

    Raises:
        ValueError: if there is no such folder, or no such run in it.
    """
    from plain_vs_residual.analysis import load_editions

    if not results.is_dir():
        raise ValueError(f"--results {results}: no such folder; train some runs first: bash run_all.sh")
    found = load_editions(results, setting)
    chosen = [edition for edition in found if any(edition.of(experiment) for experiment in experiments)]
    if not chosen:
        names = ", ".join(experiment.name for experiment in experiments)
        there = ", ".join(edition.name for edition in found)
        raise ValueError(f"no runs of {names} in {results}, only others of {there}; train some first")
    return chosen


def publish(results: Path, plots: Path | None, setting: str) -> list[Path]:
    """Draws the figures and writes the reports of a setting, unless all of it is as the records and the code are.

    Args:
        results: where the records are.
        plots: where figures go; beside ``results`` if None.
        setting: which one.

    Returns:
        The paths of the reports.
    """
    memory = plots_folder(results, plots) / f".{setting}.json"
    content = _content_hash(results / setting)
    known = _remembered(memory)
    if known.get("content") == content and all(Path(path).exists() for path in known["files"]):
        return [Path(path) for path in known["reports"]]
    from plain_vs_residual.report import write_report

    experiments = list(load_experiments().values())
    reports: list[Path] = []
    folders = []
    for edition in editions(results, setting, experiments):
        folders.append(plots_folder(results, plots) / edition.name)
        reports += write_report(edition, experiments, folders[-1])
    files = [path.resolve().as_posix() for folder in folders for path in sorted(folder.iterdir())]
    written = {"content": content, "reports": [str(path) for path in reports], "files": files}
    write_text(memory, json.dumps(written, indent=1) + "\n")
    return reports


def _remembered(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(known, dict) and {"content", "reports", "files"} <= known.keys()
    return known if whole else {}


def _content_hash(folder: Path) -> str:
    """Of everything that figures and reports are made of: records, code and the drawing libraries' versions."""
    digest = hashlib.sha256()
    for path in _made_of(folder):
        digest.update(f"{path.parent.name}/{path.name}\n".encode())
        digest.update(path.read_bytes())
    for library in ("matplotlib", "seaborn", "pandas"):
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def _made_of(folder: Path) -> Iterator[Path]:
    for run in run_folders(folder):
        yield from sorted(path for path in run.path.iterdir() if path.suffix in (".json", ".csv"))
    yield from sorted(PACKAGE.rglob("*.py"))
    yield from sorted(EXPERIMENTS.glob("*.py"))


class Refresher:
    """Keeps the report of one edition up to date while its runs are trained."""

    def __init__(self, results: Path, plots: Path | None, setting: str, variant: str) -> None:
        self.results = results
        self.plots = plots
        self.setting = setting
        self.variant = variant
        self.changed: set[str] = set()
        self.last = time.monotonic()

    def __call__(self, experiments: Sequence[str]) -> None:
        """Redraws what the named experiments show, now or together with a later call."""
        self.changed.update(experiments)
        if time.monotonic() - self.last < REFRESH_SECONDS:
            return
        try:
            self._draw()
        except (ValueError, OSError) as error:
            print(f"note: the report could not be refreshed ({error}); training goes on")
        self.last = time.monotonic()

    def _draw(self) -> None:
        from plain_vs_residual.analysis import load_editions
        from plain_vs_residual.report import write_report

        for edition in load_editions(self.results, self.setting):
            if edition.variant == self.variant:
                folder = plots_folder(self.results, self.plots) / edition.name
                write_report(edition, list(load_experiments().values()), folder, redraw=self.changed)
        self.changed.clear()
