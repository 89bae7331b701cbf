"""A process that has imported torch and forks a suite for each request, in a tenth of the time that a start takes.

``python -m tests.warm SOCKET`` listens there. A request is a JSON line with the module to run, its arguments and
cores, beside the file that takes what the suite says; the answers are its process id and, at its end, its status.
"""

import importlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch

from plain_vs_residual.executors.description import environment
from plain_vs_residual.records.files import REPOSITORY

# Nothing that draws: the child that breaks a write of a figure replaces what that imports.
IMPORTED = (
    *("pandas", "matplotlib.pyplot", "seaborn", "scipy.stats", "sklearn.datasets", "sklearn.model_selection"),
    *("plain_vs_residual.cli.app", "plain_vs_residual.cli.training", "plain_vs_residual.executors.placement"),
    *("plain_vs_residual.executors.suite", "plain_vs_residual.data.datasets"),
)

_own_context = multiprocessing.get_context


def fork_for_spawn(method: str | None = None) -> Any:
    """Stand for ``multiprocessing.get_context``: a worker that is spawned would import again what is here."""
    return _own_context("fork" if method == "spawn" else method)


# ---- the side that asks --------------------------------------------------------------------------------------


class Forked:
    """A forked suite, as far as :class:`subprocess.Popen` is used of a started one."""

    def __init__(self, address: Path, module: str, arguments: Sequence[str]) -> None:
        reading, writing = os.pipe()
        self.stdout: TextIO = os.fdopen(reading, encoding="utf-8")
        self.args = (module, *arguments)
        self.returncode: int | None = None
        self._answers = socket.socket(socket.AF_UNIX)
        self._answers.connect(str(address))
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        request = json.dumps({"module": module, "arguments": list(arguments), "cores": cores})
        socket.send_fds(self._answers, [request.encode()], [writing])
        os.close(writing)
        self._lines = self._answers.makefile(encoding="utf-8")
        self.pid = int(self._lines.readline())
        self._said: list[str] = []
        self._reader = threading.Thread(target=lambda: self._said.append(self.stdout.read()), daemon=True)

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return what was said when all have ended that could say something, its workers among them."""
        if self._reader.ident is None:
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._lines.readline()))
            for opened in (self.stdout, self._lines, self._answers):
                opened.close()
        return self._said[0], None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextmanager
def warm_process(address: Path) -> Iterator[None]:
    """Keep such a process for as long as the context lasts."""
    with subprocess.Popen([sys.executable, "-m", "tests.warm", str(address)], cwd=REPOSITORY) as process:
        try:
            while not address.exists():
                assert process.poll() is None
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


# ---- the side that forks -------------------------------------------------------------------------------------


def _serve(address: Path) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    environment(torch.device("cpu"))  # the code's hashes and what git says, which each suite would ask for again
    listening = socket.socket(socket.AF_UNIX)
    made = address.with_suffix(".new")
    listening.bind(str(made))
    listening.listen()
    made.rename(address)  # now it answers
    while True:
        asking, _ = listening.accept()
        content, (output,), _, _ = socket.recv_fds(asking, 65_536, 1)
        pid = os.fork()
        if not pid:
            listening.close()
            asking.close()
            _become(output, **json.loads(content))
        os.close(output)
        threading.Thread(target=_tell, args=(asking, pid), daemon=True).start()


def _tell(asking: socket.socket, pid: int) -> None:
    with asking, asking.makefile("w", encoding="utf-8") as answers:
        print(pid, file=answers, flush=True)
        print(os.waitpid(pid, 0)[1], file=answers, flush=True)


def _become(output: int, module: str, arguments: list[str], cores: list[int]) -> Any:
    """Be a suite that was started by itself, in a session of its own, and end with its exit code."""
    os.setsid()
    if cores:
        os.sched_setaffinity(0, cores)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv[1:] = arguments
    multiprocessing.get_context = fork_for_spawn
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
