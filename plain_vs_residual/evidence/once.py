"""What was found out of a finished run is kept: several experiments, claims and pairs ask for the same."""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TypeVar

from plain_vs_residual.records.store import Record

Found = TypeVar("Found")


def once_per_run(find: Callable[[Record], Iterator[Found]]) -> Callable[[Record], tuple[Found, ...]]:
    """Let a function of a finished run find what it finds once.

    It is kept by the run's folder and the seal of its outcome, which vouches for all its files.
    """
    kept: dict[tuple[Path, str], tuple[Found, ...]] = {}

    @wraps(find)
    def found(record: Record) -> tuple[Found, ...]:
        assert record.final
        key = record.folder.path.resolve(), record.final.checksum
        if key not in kept:
            kept[key] = tuple(find(record))
        return kept[key]

    return found
