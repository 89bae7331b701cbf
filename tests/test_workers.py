"""A pool of processes: the others save when one is killed, and all save on Ctrl-C."""

import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.children import WorkerDied
from plain_vs_residual.executors.processes import Workers
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.run import Job, Run
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped

CPU = torch.device("cpu")


def pretends(job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
    """Write this process's id to a file; seed 1 ends at once, other seeds wait until they are asked to stop."""
    path = job.folder.path
    path.with_suffix(".pid").write_text(str(os.getpid()))
    if job.run.seed == 1:
        return
    while not stops():
        time.sleep(0.01)
    time.sleep(0.5)
    path.with_suffix(".saved").touch()
    raise Stopped(f"{path.name} is saved")


def job_in(folder: Path, seed: int) -> Job:
    run = Run(Architecture.parse("plain18"), DIGITS, seed)
    return Job(run, Arithmetic(precision="fp32", threads=1), RunFolder(folder / f"s{seed}"))


@pytest.fixture
def submit(tmp_path: Path) -> Callable[[Workers, int], int]:
    """Return a function that submits a run of a seed to the pool and gives the id of the process working on it."""

    def submitted(workers: Workers, seed: int) -> int:
        workers.submit(job_in(tmp_path, seed))
        path = tmp_path / f"s{seed}.pid"
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return int(path.read_text())

    return submitted


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pool_of_two() -> Workers:
    return Workers(2, {"test": None}, [CPU], pretends)  # type: ignore[dict-item]


def notes_its_device(
    job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]
) -> None:
    """Write the device to a file, and wait until the other process has done the same."""
    job.folder.path.with_suffix(".device").write_text(str(place.device))
    deadline = time.monotonic() + 60
    while len(list(job.folder.path.parent.glob("*.device"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.usefixtures("forked_workers")
def test_two_runs_at_once_are_on_two_gpus_and_each_knows_its_own(tmp_path: Path) -> None:
    gpus = [torch.device("cuda", 0), torch.device("cuda", 1)]
    with Workers(2, {"test": None}, gpus, notes_its_device) as workers:  # type: ignore[dict-item]
        for seed in (0, 1):
            workers.submit(job_in(tmp_path, seed))
    assert sorted(path.read_text() for path in tmp_path.glob("*.device")) == ["cuda:0", "cuda:1"]


def notes_its_images(
    job: Job, place: Place, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]
) -> None:
    job.folder.path.with_suffix(".images").write_text(dataset.fingerprint)


def test_images_come_by_a_file_that_is_removed_and_not_by_pipe_or_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe holds 64 KiB: more would leave the suite waiting for a process that was killed as it began."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    dataset = load_dataset(DIGITS)
    with Workers(1, {DIGITS.split: dataset}, [CPU], notes_its_images) as workers:
        path, *_ = workers.pool._initargs
        assert path.is_relative_to(temporary)
        assert path.stat().st_size > 16 * 16 * 1797
        assert not any(isinstance(argument, Dataset | dict) for argument in workers.pool._initargs)
        workers.submit(job_in(tmp_path, 0))
    assert (tmp_path / "s0.images").read_text() == dataset.fingerprint
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("other", [2, 1], ids=["busy", "idle"])
def test_a_run_is_saved_when_another_process_is_killed(
    submit: Callable[[Workers, int], int], tmp_path: Path, other: int
) -> None:
    def act(workers: Workers) -> None:
        with workers:
            pids.extend(submit(workers, seed) for seed in (0, other))
            os.kill(pids[1], signal.SIGKILL)
            for future in list(workers.jobs):
                future.result()

    pids: list[int] = []
    with pytest.raises(WorkerDied, match="a training process was killed"):
        act(pool_of_two())
    assert (tmp_path / "s0.saved").exists()
    assert not any(map(is_alive, pids))


@pytest.mark.usefixtures("forked_workers")
def test_ctrl_c_lets_every_process_save(submit: Callable[[Workers, int], int]) -> None:
    def act(workers: Workers) -> None:
        with workers:
            pids.extend(submit(workers, seed) for seed in (0, 2))
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(Stopped, match="s0 is saved; s2 is saved"):
        act(pool_of_two())
    assert not any(map(is_alive, pids))
