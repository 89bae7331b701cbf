"""Keeps two suites from training the same run at the same time.

A run is locked, not a folder: suites on several machines may share ``results/`` as long as their seeds,
networks or settings differ. A suite holds one file open however many runs it locks: the lock of a run,
``.locks/<run>.json``, names the file of the suite that took it, which that suite keeps locked as long as it lives.
"""

import errno
import fcntl
import json
import os
import platform
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from plain_vs_residual.records.atomic import naming

LOCKS = ".locks"
SUITE = ".suite"


class Locked(ValueError):
    """Another process trains one of the runs."""


class RunLocks:
    """Locks on runs for as long as the context lasts; the operating system lifts those of a dead process."""

    def __init__(self, runs: Iterable[Path]) -> None:
        self.runs = list(runs)
        self.held: dict[Path, TextIO] = {}
        self.dead: set[Path] = set()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self.who = {"pid": os.getpid(), "host": platform.node(), "since": since}

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
        if path.parent not in self.held:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.held[path.parent] = _made(path.with_name(f"{uuid.uuid4().hex}{SUITE}"))
        with naming(path), path.open("a+", encoding="utf-8") as file:
            # Only while this suite looks into it and signs it; an earlier version held every one of them.
            mine, who = _lock(file), _signature(file)
            if not mine or self._is_taken(path, who):
                raise Locked(
                    f"{run} is being trained by {_words(who)}; wait for it to end, or stop it, "
                    "or write elsewhere with --results DIR"
                )
            file.truncate(0)
            file.write(json.dumps(self.who | {"suite": Path(self.held[path.parent].name).name}) + "\n")

    def _is_taken(self, path: Path, who: dict[str, Any]) -> bool:
        """Say whether the suite that signed a lock last lives; remove the file that a killed one left."""
        suite = _suite_of(path, who)
        if suite is None or suite in self.dead:
            return False
        if _is_alive(suite):
            return True
        suite.unlink(missing_ok=True)
        self.dead.add(suite)
        return False

    def _release(self) -> None:
        for file in self.held.values():
            Path(file.name).unlink(missing_ok=True)
            file.close()
        self.held.clear()


def lock_path(run: Path) -> Path:
    """Return where the lock of a run is: beside the runs, so that it stays when a run is set aside."""
    return run.parent / LOCKS / f"{run.name}.json"


def holder(run: Path) -> str:
    """Say who holds, or last held, the lock of a run."""
    return _words(_read(lock_path(run)))


def is_locked(run: Path) -> bool:
    """Say whether a process holds the lock of a run."""
    path = lock_path(run)
    return _is_alive(_suite_of(path, _read(path)) or path)


def _made(suite: Path) -> TextIO:
    """Make the file of a suite, locked before anything names it."""
    file = suite.open("w", encoding="utf-8")
    _lock(file)
    return file


def _lock(file: TextIO) -> bool:
    """Lock a file until it is closed; return false if another process has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks: go on without.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_alive(path: Path) -> bool:
    """Say whether the process that locked a file still does."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            return _signature(file)
    except OSError:
        return {}


def _signature(file: TextIO) -> dict[str, Any]:
    """Read who signed a lock last; nothing if nobody did."""
    file.seek(0)
    try:
        who = json.load(file)
    except ValueError:
        return {}
    return who if isinstance(who, dict) else {}


def _suite_of(path: Path, who: dict[str, Any]) -> Path | None:
    """Return the file of the suite that signed a lock; None if nobody did, or an earlier version."""
    name = Path(str(who.get("suite", ""))).name
    return path.with_name(name) if name.endswith(SUITE) else None


def _words(who: dict[str, Any]) -> str:
    try:
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except KeyError:
        return "another process"
