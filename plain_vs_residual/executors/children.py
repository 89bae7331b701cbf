"""Processes that this one starts: what they are handed, how they end, and that none outlives this one."""

import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from plain_vs_residual.records.atomic import naming

POLL_SECONDS = 0.2


class WorkerDied(ValueError):
    """A process was killed from outside."""


@contextmanager
def handed_over(value: Any) -> Iterator[Path]:
    """Write a value to a file from which processes read it, for as long as the context lasts.

    Through a file: tensors that are handed over use shared memory, of which a container has little, and a process
    that is killed before it has read its pipe to the end leaves this one waiting for ever.
    """
    with tempfile.TemporaryDirectory(prefix="plain_vs_residual-") as folder:
        path = Path(folder) / "handed_over"
        with naming(path):
            path.write_bytes(pickle.dumps(value))
        yield path


@contextmanager
def ended(processes: Callable[[], Sequence[BaseProcess]]) -> Iterator[None]:
    """Kill what is left of some processes at the end of the context, however it ends."""
    try:
        yield
    finally:
        for process in processes():
            process.kill()


def wait_for(processes: Iterable[BaseProcess], deadline: float) -> None:
    """Wait until processes have ended, or until a time on the clock of ``time.monotonic``."""
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))


def end_when(unneeded: Callable[[], bool]) -> None:
    """End this process, whatever it is doing, once a function says that nobody needs it."""

    def watch() -> None:
        while not unneeded():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
