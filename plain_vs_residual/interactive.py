"""The suite from Python, for notebooks: a network from its name, images, training, results as tables.

Figures are those of the report: their functions take axes, as
:func:`plain_vs_residual.report.figures.curves.draw_curves` does.

>>> plain, residual = network("cifar-plain20"), network("cifar-residual20-A")
>>> all(p.equal(q) for p, q in zip(plain.parameters(), residual.parameters()))
True
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.batches import Batch
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.executors.common_arithmetic import ComputeOptions
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.executors.suite import train_all
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.ledger import Changed, Ledger
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.networks import Network, build
from plain_vs_residual.plan import Selection
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.records.models import FinalRecord
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.records.store import read_record
from plain_vs_residual.run import Job
from plain_vs_residual.settings import find_setting

CPU = torch.device("cpu")


def network(name: str, setting: str = "fashion", seed: int = 0) -> Network:
    """Build a network with the initial weights of a seed, in training mode.

    Args:
        name: such as ``cifar-plain20`` or ``residual34-A``.
        setting: decides stem and width, and the number of channels and classes.
        seed: parameters of one name and shape are equal in all networks of one seed.

    Raises:
        ValueError: if there is no such network or setting; says what is accepted.
    """
    recipe = find_setting(setting)
    kind = IMAGE_KINDS[recipe.data]
    return build(Architecture.parse(name), recipe, channels=kind.channels, num_classes=kind.num_classes, seed=seed)


def images(setting: str = "fashion", number: int = 128) -> Batch:
    """Return training images as a network sees them, without augmentation, and their labels.

    Args:
        setting: whose images.
        number: evenly spaced over the training set.

    Returns:
        Float (number, C, H, W) and int64 (number,).
    """
    recipe = find_setting(setting)
    feed = make_feed(split(load_dataset(recipe), recipe.split), recipe, 0, CPU)
    batches = list(feed.evaluation_batches("training", number))
    return torch.cat([batch for batch, _ in batches]), torch.cat([labels for _, labels in batches])


def calibrated(network: nn.Module, batch: Batch) -> nn.Module:
    """Return a copy in evaluation mode with BN statistics of the images, as an untrained network needs."""
    return with_estimated_statistics(network, [batch]).eval()


def train(
    names: str | Sequence[str],
    setting: str = "fashion",
    seeds: int | Sequence[int] = (0,),
    *,
    results: str | Path = Path("results/notebook"),
    rerun: bool = False,
    watch: Callable[[Path], object] | None = None,
    **changes: Any,
) -> RecordedRuns:
    """Train networks under one schedule, or find them trained, and return what is recorded of these runs.

    Args:
        names: of networks, or of one.
        setting: a recipe by name.
        seeds: each network is trained with each of them; whole numbers from 0 on, or one.
        results: where the records go.
        rerun: whether runs that other code trained are set aside and trained anew.
        watch: called after every evaluation with the folder of the run, which holds ``metrics.csv`` and
            ``training_curve.csv`` up to then. Without it, a line for each run says how far it is.
        changes: of fields of the setting, such as ``iterations=100``, in any order.

    Raises:
        ValueError: if a name, seed or field is not accepted, or other code trained what is recorded there.
    """
    recipe = find_setting(setting)
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ValueError("names: there is none; name at least one network, such as cifar-plain20")
    selection = Selection((_experiment(wanted, setting, changes),), recipe, _whole_numbers(seeds))
    ledger, runs = Ledger(Path(results)), selection.plan()
    here = ComputeOptions(device="cpu", jobs=1)
    # A notebook keeps the number of threads that it has.
    placed = choose_placement(runs, ledger, load_dataset(recipe), here, threads=torch.get_num_threads())
    with ledger.locked(runs):
        try:
            ledger.check(placed.jobs, placed.describe, rerun=rerun)
        except Changed as changed:
            raise ValueError(
                f"{changed}; train(..., rerun=True) sets them aside and trains anew, and "
                'train(..., results=Path("elsewhere")) keeps them'
            ) from None
        train_all(placed, _Watching(watch))
    records = tuple(read_record(job.folder) for job in placed.jobs)
    return RecordedRuns(setting, selection.variant, records)


def _whole_numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return each seed once, NumPy's integers as Python's."""
    try:
        found = [index(seeds)] if isinstance(seeds, SupportsIndex) else [index(seed) for seed in seeds]
    except TypeError:
        found = []
    if not found or min(found) < 0:
        raise ValueError(f"seeds: {seeds!r}; accepted are whole numbers from 0 on, such as 0 or (0, 1, 2)")
    return tuple(dict.fromkeys(found))


def _experiment(names: Sequence[str], setting: str, changes: Mapping[str, Any]) -> Experiment:
    """Declare an experiment without claims: networks under one study, which the changes name in any order."""
    words = (f"{field}-{changes[field]}" for field in sorted(changes))
    study = Study("-".join(re.findall(r"[\w.+-]+", " ".join(words))), changes)
    return Experiment(
        title="From Python",
        paper="none",
        figures=("final_errors",),
        networks={setting: tuple(names)},
        studies={setting: (study,)},
        claims=(),
        name="from_python",
    )


class _Watching:
    """Tells of each evaluation: whoever watches, or in a line for each run, which is overwritten."""

    def __init__(self, watch: Callable[[Path], object] | None) -> None:
        self.watch = watch
        self.folder = Path()
        self.line = ""

    def begins(self, job: Job, number: int, total: int, seconds_left: float | None) -> "_Watching":
        self.folder = job.folder.path
        self.line = f"{number}/{total} {job.name}"
        self._say(self.line)
        return self

    def ended(self, job: Job, final: FinalRecord) -> None:
        self._say("\n")

    def advanced(self, iteration: int, num_iterations: int) -> None:
        pass

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        error = f"training error {row.training_error:5.1f} %"
        self._say(f"\r{self.line}: iteration {row.iteration} of {num_iterations}, {error}")
        if self.watch:
            self.watch(self.folder)

    def _say(self, words: str) -> None:
        if not self.watch:
            print(words, end="", flush=True)
