"""Pages that need not be drawn again: nothing that they were drawn from has changed, and none of their files.

Beside the pages of a setting, ``.<setting>.drawn.json`` keeps a hash of all that went into them (records, code,
experiments, versions of whatever draws, names of folders) and one of each of their files.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.launcher import command
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import run_folders
from plain_vs_residual.records.fingerprint import PACKAGE

DRAWING = ("matplotlib", "seaborn", "numpy", "pandas", "scipy", "pillow", "jinja2", "markdown-it-py", "pydantic")


class KeptPages:
    """The pages of one setting as they were drawn last.

    Args:
        results: where the records are.
        plots: where the pages are.
        setting: which one.
        experiments: all there are.
    """

    def __init__(self, results: Path, plots: Path, setting: str, experiments: Sequence[Experiment]) -> None:
        self.plots = plots
        self.path = plots / f".{setting}.drawn.json"
        self.origin = _hash("\n".join(_went_into(results, plots, setting, experiments)).encode())

    def reports(self) -> list[Path]:
        """Return the reports, HTML last of each, if they would be drawn as they are; else nothing."""
        try:
            noted = json.loads(self.path.read_bytes())
            same = noted["origin"] == self.origin and all(
                _hash((self.plots / name).read_bytes()) == value for name, value in noted["files"].items()
            )
            return [self.plots / name for name in noted["reports"]] if same else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []  # nothing was noted, or not by this version, or a file is gone: all is drawn anew

    def note(self, reports: Sequence[Path]) -> None:
        """Note what was drawn just now."""
        folders = dict.fromkeys(report.parent for report in reports)
        files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
        noted = {str(path.relative_to(self.plots)): _hash(path.read_bytes()) for path in files}
        names = [str(report.relative_to(self.plots)) for report in reports]
        write_json(self.path, {"origin": self.origin, "reports": names, "files": noted})


def _went_into(results: Path, plots: Path, setting: str, experiments: Sequence[Experiment]) -> Iterator[str]:
    """List all on which the pages depend."""
    yield f"{results} {plots} {command()}"
    yield sys.version
    for package in DRAWING:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} unknown"
    yield repr(experiments)
    code = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".j2"))
    folders = [results / setting, *(run.path for run in run_folders(results / setting))]
    records = (path for folder in folders for path in folder.glob("*") if path.suffix in (".json", ".csv"))
    for path in sorted([*code, *records]):
        yield f"{path} {_hash(path.read_bytes())}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
