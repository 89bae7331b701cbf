"""``results/<setting>/registered.json``: what was claimed, by which margin and on which seeds, before the runs.

A registration is written when the first run of its experiments is planned, and never changed. Every run, and every
measurement of a finished run, records the digests of those that were there when it began, so that a registration
that was changed afterwards is one that no run knows.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from plain_vs_residual.records.atomic import naming, write_json
from plain_vs_residual.records.locks import LOCKS
from plain_vs_residual.records.models import Model
from plain_vs_residual.records.store import read_sealed, sealed

NAME = "registered.json"


class RegisteredClaim(Model):
    """A claim as its experiment declared it."""

    experiment: str
    statement: str
    contrast: dict[str, float]
    column: str
    side: Literal["above", "below", "within"]
    margin: float
    reason: str = Field(description="Why the margin is what it is.")
    primary: bool
    undecidable: str = Field("", description="Why the setting cannot decide it; empty if it can.")


class Registration(Model):
    """Claims that share one error rate, and the seeds that are to decide them."""

    variant: str = Field(description="Of the runs: sets other images and budgets apart.")
    family: str = Field(description="Which experiments these are.")
    seeds: list[int]
    error_rate: float = Field(description="Shared by the primary claims, by Holm's method.")
    num_primary: int = Field(description="How many claims share it.")
    unread: list[str] = Field(description="Files that count as one of them each, because they could not be read.")
    claims: list[RegisteredClaim]
    registered: str = Field(description="When; no part of the digest.")
    commit: str | None = Field(None, description="Of the code; no part of the digest.")

    @property
    def digest(self) -> str:
        """Hash of what is registered: equal for two processes that register the same at once."""
        content = self.model_dump(mode="json", exclude={"registered", "commit"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class _File(Model):
    registrations: list[Registration]
    checksum: str = ""


def read_registrations(folder: Path, variant: str | None = None) -> tuple[Registration, ...]:
    """Read what was registered for the runs in ``results/<setting>/``, the earliest first; nothing if nothing was.

    Args:
        folder: that of the setting.
        variant: of the runs; all if None.

    Raises:
        ValueError: if the file is not what this suite wrote.
    """
    path = folder / NAME
    if not path.exists():
        return ()
    advice = "restore it; without it nothing in this folder counts as claimed before its runs"
    found = read_sealed(path, _File, advice).registrations
    return tuple(one for one in found if variant in (None, one.variant))


def add_registrations(
    folder: Path, choose: Callable[[tuple[Registration, ...]], Iterable[Registration]]
) -> tuple[Registration, ...]:
    """Let ``choose`` say, of what is registered, what is to be registered besides; return that.

    Processes that start at the same time wait for each other, so that each plan is written once.
    """
    lock = folder / LOCKS / "registering"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with naming(lock), lock.open("a") as file:
        with suppress(OSError):  # some network file systems have no locks: go on without
            fcntl.flock(file, fcntl.LOCK_EX)
        there = read_registrations(folder)
        new = tuple(choose(there))
        if new:
            values = _File(registrations=[*there, *new]).model_dump(mode="json")
            write_json(folder / NAME, sealed(values))
    return new


def digests(folder: Path, variant: str) -> list[str]:
    """Return the digests of the registrations of a variant, for a record that begins now."""
    return [one.digest for one in read_registrations(folder, variant)]
