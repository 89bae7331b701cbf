"""Locks: only one suite at a time trains a run, and a dead process holds no lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plain_vs_residual.records.locks import Locked, RunLocks, holder, is_locked, lock_path

HOLDS = """
import sys, time
from pathlib import Path
from plain_vs_residual.records.locks import RunLocks
with RunLocks([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(60)
"""


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
