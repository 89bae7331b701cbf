"""Checkpoints of one run: everything that a resumed run needs to go on as if nothing had happened."""

import os
from pathlib import Path
from typing import Any

import torch

from plain_vs_residual.records import atomically

Checkpoint = dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint so that at every moment either the old or the new one is whole."""
    atomically(path, lambda temporary: torch.save(checkpoint, temporary))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, on the CPU, or None if there is none.

    Raises:
        ValueError: if the file cannot be read as a checkpoint.
    """
    if not path.exists():
        return None
    try:
        checkpoint: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{os.fspath(path)}: not a readable checkpoint ({first_line}); delete it to train this run anew"
        ) from error
    return checkpoint
