"""Fixtures and helpers of several tests: tiny images, a tiny setting, and a suite of it."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
import torch
from PIL import Image

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic, Execution, Precision
from plain_vs_residual.cli import app as cli
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.executors.executor import DatasetOf, Executor, split_once
from plain_vs_residual.executors.placement import PlacedJobs, on_this_machine
from plain_vs_residual.executors.sharing import Sharing
from plain_vs_residual.executors.suite import SuiteMonitor, measure_all, train_all
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.ledger import Ledger
from plain_vs_residual.networks import Network, build
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.locks import RunLocks
from plain_vs_residual.run import Job
from plain_vs_residual.settings import DIGITS, Setting
from plain_vs_residual.training.place import Place
from tests.warm import fork_for_spawn

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported

CPU = torch.device("cpu")
# Tiny networks gain nothing from several threads, which on a busy machine spend their time waiting for each other.
torch.set_num_threads(1)
# What is imported and collected lives to the end; looking through it for garbage took a tenth of the time.
gc.set_threshold(50_000)


def pytest_collection_finish() -> None:
    gc.freeze()


class Silent:
    """A monitor of a suite and its runs that prints nothing."""

    def begins(self, *_: Any) -> "Silent":
        return self

    def ended(self, *_: Any) -> None:
        pass

    def advanced(self, *_: Any) -> None:
        pass

    def evaluated(self, *_: Any) -> None:
        pass


class InterruptedAfter(Silent):
    """A silent monitor that raises KeyboardInterrupt after a number of evaluations."""

    def __init__(self, evaluations: int) -> None:
        self.left = evaluations

    def evaluated(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Suite:
    """What a command has in its hands: a selection, a ledger, an arithmetic, images and a device."""

    experiments: tuple[Experiment, ...]
    setting: Setting
    dataset: Dataset
    results: Path
    seeds: Sequence[int]
    precision: Precision = "fp32"
    device: torch.device = CPU
    execution: Execution = Execution.EAGER
    deterministic: bool = False
    trial: Mapping[str, Any] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    executor: Callable[[DatasetOf], Executor] | None = None

    @property
    def selection(self) -> Selection:
        return Selection(
            self.experiments,
            self.setting,
            self.seeds,
            only_networks=self.only,
            trial=self.trial,
            images_variant=self.dataset.variant,
        )

    @property
    def variant(self) -> str:
        return self.selection.variant

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.results)

    @property
    def place(self) -> Place:
        return Place(self.device)

    @cached_property
    def split(self) -> DatasetOf:
        return split_once(self.dataset)

    def dataset_of(self, job: Job) -> Dataset:
        return self.split(job.run)

    def plan(self) -> list[Job]:
        arithmetic = Arithmetic(
            precision=self.precision, execution=self.execution, deterministic=self.deterministic, threads=1
        )
        return self.ledger.jobs(self.selection.plan(), arithmetic)

    def placed(self, jobs: Iterable[Job], at_once: int = 1) -> PlacedJobs:
        here = on_this_machine(self.device, Sharing(at_once, 1, 1), self.split)
        executor = self.executor(self.split) if self.executor else here
        return PlacedJobs(list(jobs), self.device, self.split, executor, train_job, here)

    def locked(self, jobs: Iterable[Job]) -> RunLocks:
        return self.ledger.locked(job.run for job in jobs)

    def check(self, jobs: Sequence[Job], *, rerun: bool) -> list[Path]:
        return self.ledger.check(jobs, self.placed(jobs).describe, rerun=rerun)

    def train(self, jobs: Sequence[Job], monitor: SuiteMonitor, at_once: int = 1) -> None:
        train_all(self.placed(jobs, at_once), monitor)

    def measure(self, jobs: Sequence[Job], say: Callable[[str], object], at_once: int = 1) -> None:
        measure_all(self.placed(jobs, at_once), self.experiments, say)


def network_of(
    name: str, *, channels: int, num_classes: int, stem: str = "3x3", stem_width: int = 16, seed: int = 0
) -> Network:
    """Build a network by name, with the given stem and width and the initial values of a seed."""
    recipe = DIGITS.with_changes({"stem": stem, "stem_width": stem_width})
    return build(Architecture.parse(name), recipe, channels=channels, num_classes=num_classes, seed=seed)


@pytest.fixture(scope="session", autouse=True)
def _nothing_outlives_a_power_cut() -> Iterator[None]:
    """Do without fsync: tests write tens of thousands of files, and nobody wants one after the machine stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def small_figures() -> Iterator[None]:
    """Draw without laying out, and a tenth of the pixels: for modules that read what is written in figures."""
    from matplotlib.figure import Figure

    from plain_vs_residual.report.figures.style import STYLE

    honest = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STYLE, "figure.constrained_layout.use", False)
        patch.setattr(Figure, "savefig", lambda self, path, **given: honest(self, path, **given | {"dpi": 40}))
        yield


@pytest.fixture(scope="module")
def undrawn_figures() -> Iterator[None]:
    """Make figures, and write a white dot for each: for modules that look at no picture."""
    from matplotlib.figure import Figure

    def save(_: Figure, path: Path, **given: Any) -> None:
        if given["format"] == "svg":
            path.write_text(
                f"""<svg viewBox="0 0 1 1"><metadata><dc:description>{
                    escape(given["metadata"]["Description"])
                }</dc:description></metadata></svg>"""
            )
        else:
            Image.new("L", (1, 1), 255).save(path, given["format"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Keep what a module starts to one core: a suite takes all it may use, and pytest's processes share them."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = sorted(os.sched_getaffinity(0))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fork the processes that would be started afresh, each of which takes seconds to import torch again.

    With a GPU that could not be done. Tests of workers and of whole suites start some as they are.
    """
    monkeypatch.setattr(multiprocessing, "get_context", fork_for_spawn)
    # Newer versions of Python warn of threads; those of pytest hold no lock that a worker needs.
    ignored = "ignore:This process .* is multi-threaded:DeprecationWarning"
    request.node.add_marker(pytest.mark.filterwarnings(ignored))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr("sys.argv", ["plain_vs_residual", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def grown_experiment(measurement: str = "") -> Experiment:
    """Return an experiment of the seminar: a network of 8 layers, and one of 14 that is grown from it."""
    return Experiment(
        title="Tiny",
        paper="none",
        figures=("construction",),
        networks={"digits": ("cifar-plain8", "cifar-plain14")},
        studies={
            "digits": (
                Study(networks=("cifar-plain8",)),
                Study("grown", networks=("cifar-plain14",), grown_from={"cifar-plain14": "cifar-plain8"}),
            )
        },
        claims=(),
        seminar=True,
        measurement=measurement,
        name="tiny",
    )


@pytest.fixture
def tiny_setting() -> Setting:
    """Return a setting whose runs take a second: 8 px, 12 iterations, 3 evaluations, with crops and flips."""
    return DIGITS.with_changes(
        {
            "image_size": 8,
            "stem_width": 4,
            "batch_size": 8,
            "epochs": None,
            "iterations": 12,
            "evaluations": 3,
            "crop_padding": 1,
            "flip": True,
        }
    )


@pytest.fixture
def tiny_dataset() -> Dataset:
    """Return thirty training and twelve validation images of three classes, with one channel."""
    generator = torch.Generator().manual_seed(0)

    def images(num: int) -> Images:
        labels = torch.arange(num) % 3
        noise = torch.randint(0, 100, (num, 8, 8, 1), generator=generator)
        return Images((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)

    return Dataset("tiny", ("a", "b", "c"), images(30), images(12))


@pytest.fixture
def make_suite(tiny_setting: Setting, tiny_dataset: Dataset, tmp_path: Path) -> Any:
    """Return a function that makes a suite of one experiment with the given networks."""

    def make(*networks: str, seeds: int = 1, **changes: Any) -> Suite:
        experiment = Experiment(
            title="Tiny",
            paper="none",
            figures=("final_errors",),
            networks={"digits": networks},
            claims=(),
            name="tiny",
        )
        values: dict[str, Any] = {
            "experiments": (experiment,),
            "setting": tiny_setting,
            "dataset": tiny_dataset,
            "results": tmp_path / "results",
            "seeds": range(seeds),
        }
        return Suite(**(values | changes))

    return make


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Return a folder with train/ and val/, each with three classes of small PNG files of different shapes."""
    random = np.random.default_rng(0)
    for part, num in (("train", 8), ("val", 3)):
        for channel, name in enumerate(("ant", "bee", "cat")):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(num):
                pixels = random.integers(0, 60, (40 + number, 50, 3), dtype=np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"
