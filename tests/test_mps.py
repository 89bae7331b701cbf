"""Several runs on a GPU at the same time: the service is private, and ends with the suite, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plain_vs_residual.executors import mps
from plain_vs_residual.executors.mps import FOLDERS, at_the_same_time

# Does what is needed of NVIDIA's program: -f serves in the foreground, and "quit" on its input ends the service.
PROGRAM = """#!/bin/sh
if [ "$1" = -f ]; then
    echo $$ >"$CUDA_MPS_PIPE_DIRECTORY/served"
    mkfifo "$CUDA_MPS_PIPE_DIRECTORY/control"
    read -r said <"$CUDA_MPS_PIPE_DIRECTORY/control"
    echo "$said" >>{log}
else
    read -r said
    echo "$said" >"$CUDA_MPS_PIPE_DIRECTORY/control"
fi
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log, program = tmp_path / "log", tmp_path / "nvidia-cuda-mps-control"
    program.write_text(PROGRAM.format(log=log), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in FOLDERS:
        monkeypatch.delenv(name, raising=False)
    return log


def test_processes_are_told_of_a_private_service_that_ends_with_the_context(log: Path) -> None:
    with at_the_same_time():
        folder = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
        assert os.environ["CUDA_MPS_LOG_DIRECTORY"] == str(folder)
        assert (folder / "served").exists()
        assert not log.exists()
    assert log.read_text(encoding="utf-8") == "quit\n"
    assert not folder.exists()
    assert not any(name in os.environ for name in FOLDERS)


def test_the_service_ends_when_the_suite_is_killed(log: Path) -> None:
    code = (
        "import time\nfrom plain_vs_residual.executors.mps import at_the_same_time\n"
        "with at_the_same_time():\n    print('serving', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as suite:
        assert suite.stdout is not None
        assert suite.stdout.readline() == "serving\n"
        suite.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.exists()


def test_without_the_program_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps.shutil, "which", lambda _: None)
    before = dict(os.environ)
    with at_the_same_time():
        assert dict(os.environ) == before


def test_a_service_of_the_users_own_is_left_alone(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/run/theirs")
    with at_the_same_time():
        assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == "/run/theirs"
    assert not log.exists()


def test_a_service_that_does_not_start_is_done_without(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.parent / "nvidia-cuda-mps-control").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    began = time.monotonic()
    with at_the_same_time():
        assert time.monotonic() - began < mps.SECONDS
