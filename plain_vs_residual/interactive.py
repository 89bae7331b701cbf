"""The suite from Python, for notebooks: a network from its name, images, training, results as tables.

Figures are those of the report: their functions take axes, as
:func:`plain_vs_residual.report.figures.curves.draw_curves` does.

>>> plain, residual = network("cifar-plain20"), network("cifar-residual20-A")
>>> all(p.equal(q) for p, q in zip(plain.parameters(), residual.parameters()))
True
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.batches import Batch
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.networks import Network, build
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.records.models import FinalRecord, MetricsRow
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.settings import find_setting
from plain_vs_residual.suite.machine import choose_precision
from plain_vs_residual.suite.suite import Suite
from plain_vs_residual.training.run import Run

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
    names: Sequence[str],
    setting: str = "fashion",
    seeds: Sequence[int] = (0,),
    *,
    results: Path = Path("results/notebook"),
    watch: Callable[[Path], object] | None = None,
    **changes: Any,
) -> RecordedRuns:
    """Train networks under one schedule, or find them trained, and return what is recorded of the setting.

    Args:
        names: of networks.
        setting: a recipe by name.
        seeds: each network is trained with each of them; consecutive.
        results: where the records go.
        watch: called after every evaluation with the folder of the run, which holds ``metrics.csv`` and
            ``training_curve.csv`` up to then.
        changes: of fields of the setting, such as ``iterations=100``.

    Raises:
        ValueError: if a name or field is not accepted, or other code trained what is recorded there.
    """
    study = Study("-".join(f"{field}-{value}" for field, value in changes.items()), changes)
    experiment = Experiment(
        title="From Python",
        paper="none",
        figures=("final_errors",),
        networks={setting: tuple(names)},
        studies={setting: (study,)},
        claims=(),
        name="from_python",
    )
    recipe = find_setting(setting)
    suite = Suite(
        experiments=(experiment,),
        setting=recipe,
        dataset=load_dataset(recipe),
        results=results,
        seeds=range(min(seeds), max(seeds) + 1),
        precision=choose_precision(None, CPU),
        device=CPU,
    )
    runs = suite.plan()
    with suite.locked(runs):
        suite.check(runs, rerun=False)
        suite.train(runs, _Watching(watch))
    return next(recorded for recorded in load_recorded_runs(results, setting) if not recorded.variant)


class _Watching:
    """Tells a notebook of each evaluation."""

    def __init__(self, watch: Callable[[Path], object] | None) -> None:
        self.watch = watch
        self.folder: Path | None = None

    def begins(self, run: Run, number: int, total: int, seconds_left: float | None) -> "_Watching":
        self.folder = run.folder.path
        return self

    def ended(self, run: Run, final: FinalRecord) -> None:
        pass

    def advanced(self, iteration: int, num_iterations: int) -> None:
        pass

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        if self.watch and self.folder:
            self.watch(self.folder)
