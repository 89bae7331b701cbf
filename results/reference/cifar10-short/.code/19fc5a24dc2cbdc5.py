"""Checkpoints of one run: everything that a resumed run needs to go on as if nothing had happened.

A file is a SHA-256 and what ``torch.save`` wrote. The one before it stays until the next is durable, so that a
damaged checkpoint costs the time since the last one and a kill costs no more than the time since its own.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from plain_vs_residual.records.atomic import atomically, write_bytes
from plain_vs_residual.records.files import RunFolder

Checkpoint = dict[str, Any]
MAGIC = b"plain-vs-residual 1\n"


def save_checkpoint(folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; at every moment the new one or an old one is whole."""
    content = serialised(checkpoint)

    def write(temporary: Path) -> None:
        temporary.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)

    def keep_previous() -> None:
        if folder.checkpoint.exists():
            folder.checkpoint.replace(folder.previous_checkpoint)

    atomically(folder.checkpoint, write, before_replacing=keep_previous)


def load_checkpoint(folder: RunFolder) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest whole checkpoint of a run, onto the CPU, and say for each damaged one what is wrong."""
    damaged: list[str] = []
    for path in (folder.checkpoint, folder.previous_checkpoint):
        if not path.exists():
            continue
        try:
            return _read(path), damaged
        except ValueError as error:
            damaged.append(str(error))
    return None, damaged


def _read(path: Path) -> Checkpoint:
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise ValueError(f"{path}: not a checkpoint of this suite")
    checksum, content = content[len(MAGIC) :][:32], content[len(MAGIC) + 32 :]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError(f"{path}: damaged, its content does not match its SHA-256")
    checkpoint: Checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return checkpoint


def remove_checkpoints(folder: RunFolder) -> None:
    """Remove what a finished run no longer needs."""
    folder.checkpoint.unlink(missing_ok=True)
    folder.previous_checkpoint.unlink(missing_ok=True)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a state dict that ``torch.load(path, weights_only=True)`` reads."""
    write_bytes(path, serialised(weights))


def serialised(values: Any) -> bytes:
    """Return what ``torch.save`` writes; into memory first, so that a full disk is an ordinary ``OSError``."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()
