"""Keeps two suites from training the same run at the same time.

A run is locked, not a folder: suites on several machines may share ``results/`` as long as their seeds,
networks or settings differ.
"""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

LOCKS = ".locks"


class Locked(ValueError):
    """Another process trains one of the runs."""


class RunLocks:
    """Locks on runs for as long as the context lasts; the operating system lifts those of a dead process."""

    def __init__(self, runs: Iterable[Path]) -> None:
        self.runs = list(runs)
        self.held: list[TextIO] = []

    def __enter__(self) -> "RunLocks":
        """Take every lock, or none.

        Raises:
            Locked: if a run is being trained; names the holder.
        """
        try:
            for run in self.runs:
                self._take(run)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _take(self, run: Path) -> None:
        path = lock_path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        self.held.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return  # some network file systems have no locks: go on without
            raise Locked(
                f"{run} is being trained by {holder(run)}; wait for it to end, or stop it, "
                "or write elsewhere with --results DIR"
            ) from None
        file.truncate(0)
        who = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.write(json.dumps(who) + "\n")
        file.flush()

    def _release(self) -> None:
        for file in self.held:
            file.close()
        self.held.clear()


def lock_path(run: Path) -> Path:
    """Return where the lock of a run is: beside the runs, so that it stays when a run is set aside."""
    return run.parent / LOCKS / f"{run.name}.json"


def holder(run: Path) -> str:
    """Say who holds, or last held, the lock of a run."""
    try:
        who = json.loads(lock_path(run).read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def is_locked(run: Path) -> bool:
    """Say whether a process holds the lock of a run."""
    try:
        with lock_path(run).open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
