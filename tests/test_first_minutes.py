"""In the first minutes a person hears how long everything takes, and how far runs in other processes are."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.cli.announcements import FirstMinutes
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors import suite
from plain_vs_residual.executors.board import Board
from plain_vs_residual.executors.estimate import Estimate
from plain_vs_residual.executors.here import Here
from plain_vs_residual.executors.placement import PlacedJobs
from plain_vs_residual.executors.processes import Processes
from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.launcher import command
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.run import Job, Run
from plain_vs_residual.settings import DIGITS, SETTINGS
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place
from tests.conftest import Silent
from tests.made_up_records import write_run

CPU = torch.device("cpu")
EXPERIMENTS = load_experiments()


def job_in(results: Path, seed: int) -> Job:
    run = Run(Architecture.parse("plain18"), DIGITS, seed)
    return Job(run, Arithmetic(precision="fp32", threads=1), RunFolder(results / "digits" / f"plain18-s{seed}"))


class Hears(Silent):
    """A monitor that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def advanced(self, iteration: int, num_iterations: int) -> None:
        self.heard.append((iteration, num_iterations))


def comes_to_seven(job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
    """Take seven iterations, and wait until the suite had time to hear of the last."""
    for iteration in range(1, 8):
        monitor.advanced(iteration, 100 + job.run.seed)
        time.sleep(0.6)
    time.sleep(2)


@pytest.mark.usefixtures("forked_workers")
def test_the_suite_hears_how_far_runs_in_other_processes_are(tmp_path: Path, tiny_dataset: Dataset) -> None:
    monitors = {seed: Hears() for seed in (3, 4)}
    jobs = [job_in(tmp_path, seed) for seed in monitors]
    executor = Processes(2, [CPU], lambda run: tiny_dataset)
    done = list(executor.carry_out(jobs, comes_to_seven, lambda job: monitors[job.run.seed]))
    assert {job.name for job in done} == {"plain18-s3", "plain18-s4"}
    for seed, monitor in monitors.items():
        iterations = [iteration for iteration, _ in monitor.heard]
        assert iterations == sorted(iterations)
        assert iterations[-1] == 7
        assert {length for _, length in monitor.heard} == {100 + seed}


@pytest.mark.parametrize("note", ["", "7", "12 64"])
def test_a_note_that_is_being_written_is_read_later(tmp_path: Path, note: str) -> None:
    board, monitor = Board(tmp_path), Hears()
    board.tell("plain18-s0", monitor)  # none is there yet
    (tmp_path / "plain18-s0.note").write_text(note)
    board.tell("plain18-s0", monitor)
    assert monitor.heard == []
    board.note("plain18-s0", 12, 640)
    board.tell("plain18-s0", monitor)
    assert monitor.heard == [(12, 640)]


def test_where_no_note_can_be_written_training_goes_on(tmp_path: Path) -> None:
    Board(tmp_path / "gone").note("plain18-s0", 1, 2)


def test_all_that_is_left_is_estimated_while_the_first_run_is_trained(
    tmp_path: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(suite, "Estimate", partial(Estimate, now=lambda: clock))

    def work(job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
        nonlocal clock
        for iteration in range(1, 1001):
            monitor.advanced(iteration, 1000)
            clock += 0.1
        write_run(tmp_path, "digits", "plain18", job.run.seed)

    jobs = [job_in(tmp_path, seed) for seed in range(3)]
    here = Here(Place(CPU), lambda run: tiny_dataset)
    heard: list[tuple[float, float | None]] = []
    placed = PlacedJobs(jobs, CPU, lambda run: tiny_dataset, here, work, here)
    suite.train_all(placed, Silent(), lambda seconds_left: heard.append((clock, seconds_left)))
    assert len(heard) == pytest.approx(300, abs=30)  # of 3,000 iterations: once in a second
    told = [(when, left) for when, left in heard if left is not None]
    assert told[0][0] == pytest.approx(31, abs=2)
    for when, left in told:
        assert left == pytest.approx(300 - when, abs=1.5)
    assert told[-1] == (pytest.approx(300), 0)


def say(seconds: float | None, setting: str, *names: str, **changes: Any) -> None:
    experiments: list[Experiment] = [EXPERIMENTS[name] for name in names or ("fig4_depth",)]
    chosen = SETTINGS[setting].with_changes(changes)
    selection = Selection(tuple(experiments), chosen, range(chosen.seeds))
    refreshed = []
    first_minutes = FirstMinutes(selection, names, lambda: refreshed.append(1))
    for known in (None, seconds, seconds):
        first_minutes(known)
    assert len(refreshed) == 3


def test_shorter_ways_are_named_with_their_commands(capsys: pytest.CaptureFixture[str]) -> None:
    say(5 * 3600.0, "cifar10", "fig4_depth")
    assert capsys.readouterr().out.splitlines() == [
        "  about 5 h 0 min until all of it is done, at the speed so far",
        f"  shorter: {command('fig4_depth', '--setting', 'cifar10', '--seeds', 1)} (about 1 h 40 min)",
        f"  shorter: {command('fig4_depth', '--setting', 'cifar10-short')} (about 38 min)",
        f"  shorter: {command('fig4_depth', '--setting', 'fashion')} ({SETTINGS['fashion'].expected})",
    ]


@pytest.mark.parametrize(
    ("seconds", "setting", "names", "changes", "shorter"),
    [
        (None, "cifar10", (), {}, []),
        (0.0, "cifar10", (), {}, []),  # after a single run nothing is left
        (590.0, "cifar10", (), {}, []),
        (5000.0, "fashion", (), {}, ["--setting fashion --seeds 1"]),
        (5000.0, "fashion", (), {"seeds": 1}, []),
        (5000.0, "cifar10", (), {"seeds": 1, "iterations": 8000}, ["--setting fashion"]),  # not the short one
        # Which has no networks for fashion.
        (9e5, "imagenet", ("table3_depth",), {}, ["--setting cifar10", "--setting cifar10-short"]),
    ],
)
def test_only_what_is_shorter_and_possible_is_named(
    seconds: float | None,
    setting: str,
    names: tuple[str, ...],
    changes: dict[str, Any],
    shorter: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(seconds, setting, *names, **changes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shorter) + bool(seconds)
    for line, words in zip(lines[1:], shorter, strict=True):
        assert f"{words} (" in line


def test_every_shorter_way_is_a_setting() -> None:
    for setting in SETTINGS.values():
        assert setting.name not in setting.publication.shorter
        assert set(setting.publication.shorter) <= SETTINGS.keys()
