"""Locks: only one suite at a time trains a run, and a dead process holds no lock."""

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plain_vs_residual.records import locks
from plain_vs_residual.records.locks import Locked, RunLocks, holder, is_locked, lock_path

HOLDS = """
import sys, time
from pathlib import Path
from plain_vs_residual.records.locks import RunLocks
with RunLocks([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def limited_to(files: int) -> Iterator[None]:
    """Let this process open few files more than it has open now."""
    next_one = os.dup(0)
    os.close(next_one)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one + files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    runs = [tmp_path / "digits" / name for name in ("a", "b", "c")]
    with RunLocks(runs[:2]):
        with pytest.raises(Locked, match=rf"b is being trained by process {os.getpid()} on .* since 20"):
            RunLocks([runs[2], runs[1]]).__enter__()
        assert is_locked(runs[0])
        assert not is_locked(runs[2])  # a suite locks all its runs or none
        with RunLocks([runs[2]]):  # the other runs of the folder stay free
            pass
    assert not any(map(is_locked, runs))


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=f"process {process.pid} on "):
        RunLocks([run]).__enter__()
    process.kill()
    process.communicate()
    with RunLocks([run]):
        assert f"process {os.getpid()} " in holder(run)


def test_a_lock_file_that_says_nothing_names_another_process(tmp_path: Path) -> None:
    run = tmp_path / "run"
    lock_path(run).parent.mkdir()
    for content in ("", "[]", "{}", "no json"):
        lock_path(run).write_text(content)
        assert holder(run) == "another process"
        assert not is_locked(run)


def test_a_thousand_runs_need_one_open_file(tmp_path: Path) -> None:
    """A usual limit is 1,024 open files, of which figures and images want some, too."""
    runs = [tmp_path / "digits" / f"run-{number}" for number in range(1020)]
    with limited_to(8), RunLocks(runs):
        assert all(is_locked(run) for run in (runs[0], runs[-1]))
        with pytest.raises(Locked, match=f"run-1019 is being trained by process {os.getpid()} on"):
            RunLocks([runs[-1]]).__enter__()
    assert not any(is_locked(run) for run in runs)
    assert not list(lock_path(runs[0]).parent.glob("*.suite"))


def test_what_killed_suites_left_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", HOLDS, str(run)], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.communicate()
        assert not is_locked(run)
        assert len(list(lock_path(run).parent.glob("*.suite"))) == 1
    with RunLocks([run]):
        assert is_locked(run)


def test_a_run_that_an_earlier_version_trains_is_locked(tmp_path: Path) -> None:
    """It kept the file of each run locked itself, and named no suite in it."""
    run = tmp_path / "run"
    lock_path(run).parent.mkdir()
    with lock_path(run).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"pid": 42, "host": "node7", "since": "2026-11-01 12:00:00"}\n')
        file.flush()
        assert is_locked(run)
        with pytest.raises(Locked, match="process 42 on node7 since 2026-11-01 12:00:00"):
            RunLocks([run]).__enter__()
    with RunLocks([run]):
        assert is_locked(run)


def test_a_lock_names_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    lock_path(run).parent.mkdir()
    for name in ("../other.suite", 7, ".suite", "gone.suite"):
        lock_path(run).write_text(json.dumps({"suite": name}))
        assert not is_locked(run)
        with RunLocks([run]):
            assert is_locked(run)


def test_file_systems_without_locks_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    runs = [tmp_path / "a", tmp_path / "b"]
    with RunLocks(runs), RunLocks(runs):
        assert not is_locked(runs[0])


def test_a_full_disk_is_said_with_the_lock_that_could_not_be_written(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*run\.json'"):
            RunLocks([tmp_path / "run"]).__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
