"""Draws a report in a process of its own while runs are trained: whatever becomes of it, they go on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from plain_vs_residual.records.files import REPOSITORY


class Drawing:
    """A command of this suite that draws, begun and not waited for, with less priority than training.

    Args:
        words: of the command, as on the command line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        # Not the lowest, at which nothing would ever be drawn where every core trains.
        politely = ["nice", "-n", "5"] if shutil.which("nice") else []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [*politely, sys.executable, "-m", "plain_vs_residual", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def ended(self) -> bool:
        """Say whether the process has come to its end."""
        return self._process.poll() is not None

    def fault(self) -> str:
        """Return what went wrong, the last line that was said of it; empty if nothing did."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        failed = self._process.wait() != 0
        return (lines or [f"exit status {self._process.returncode}"])[-1] if failed else ""

    def stop(self) -> None:
        """End the process, as Ctrl-C would: it takes what is half written away."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._said.close()
