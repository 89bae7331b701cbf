"""Where everything under results/ and plots/ is: the only module that knows the names of files.

``results/<setting>/<run>/`` holds ``run.json`` (configuration, sources, versions), ``metrics.csv`` (a row per
evaluation), ``training_curve.csv`` (the running training error at fifty points or more), ``responses.csv`` (a row
per layer or block, at initialisation and at the end), ``final.json`` (written last: its presence means
"finished"), ``weights.pt``, and ``checkpoint.pt`` while it trains. What an experiment of the seminar measures on
it later is in ``<measurement>.csv`` and, written last, ``<measurement>.json``.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from plain_vs_residual.launcher import INSTALLED

REPOSITORY = Path(__file__).parent.parent.parent
# Where results/, plots/ and data/ are unless others are named; for an installed package, the current folder.
ROOT = Path.cwd() if INSTALLED else REPOSITORY
RESULTS = ROOT / "results"
SET_ASIDE = "set-aside"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the files in it."""

    path: Path

    @property
    def run(self) -> Path:
        """What was to be done, by what and on what; written first (:class:`RunRecord`)."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """A row per evaluation (:class:`MetricsRow`)."""
        return self.path / "metrics.csv"

    @property
    def training_curve(self) -> Path:
        """Running training error, at more points than there are evaluations (:class:`CurveRow`)."""
        return self.path / "training_curve.csv"

    @property
    def responses(self) -> Path:
        """Layer responses, and F(x) over x (:class:`ResponseRow`)."""
        return self.path / "responses.csv"

    @property
    def first_iterations(self) -> Path:
        """Scale of activations and gradients in the first iterations, where a study asks for it."""
        return self.path / "first_iterations.csv"

    @property
    def final(self) -> Path:
        """The outcome; written last (:class:`FinalRecord`)."""
        return self.path / "final.json"

    @property
    def checkpoint(self) -> Path:
        """State of an unfinished run."""
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before it, in case the last one is damaged."""
        return self.path / "checkpoint.previous.pt"

    @property
    def weights(self) -> Path:
        """State dict of a finished run."""
        return self.path / "weights.pt"

    def measured(self, measurement: str) -> Path:
        """What was measured on the finished run, number by number (:class:`MeasuredRow`)."""
        return self.path / f"{measurement}.csv"

    def measurement(self, measurement: str) -> Path:
        """What it was measured with, and its summary; written after the numbers (:class:`MeasurementRecord`)."""
        return self.path / f"{measurement}.json"

    def measurements(self) -> list[str]:
        """Name everything that was measured on the finished run."""
        return sorted(path.stem for path in self.path.glob("*.json") if path not in (self.run, self.final))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.final.exists()

    @property
    def name(self) -> str:
        """Name of the folder: ``<network>[-<variant>]-s<seed>``."""
        return self.path.name

    def beside(self, name: str) -> "RunFolder":
        """Return the folder of another run of the same setting, by its name."""
        return RunFolder(self.path.with_name(name))

    def set_aside(self) -> Path:
        """Move the run out of the way, whole, and return where it went."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        target = self.path.parent / SET_ASIDE / f"{self.name}-{stamp}"
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{self.name}-{stamp}-{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.rename(target)
        return target


def run_name(network: str, variants: Iterable[str], seed: int) -> str:
    """Return the folder name of a run.

    >>> run_name("plain34", ["", "long"], 0)
    'plain34-long-s0'
    """
    return "-".join([network, *(variant for variant in variants if variant), f"s{seed}"])


def run_folders(folder: Path) -> list[RunFolder]:
    """List every run under ``results/<setting>/``, finished or not, by name."""
    if not folder.is_dir():
        return []
    return [RunFolder(path.parent) for path in sorted(folder.glob("*/run.json"))]


def plots_folder(results: Path, plots: Path | None) -> Path:
    """Return where figures go: plots/ beside results/, and plots/reference/ for results/reference/."""
    if plots:
        return plots
    if results.parent.name == "results":
        return results.parent.parent / "plots" / results.name
    return results.parent / ("plots" if results.name == "results" else f"{results.name}-plots")
