"""Writes files that are whole at every moment: the old one stays until the new one is durable."""

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def atomically(
    path: Path, write: Callable[[Path], object], *, before_replacing: Callable[[], None] = lambda: None
) -> None:
    """Let ``write`` fill a temporary file, make it durable and move it to ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _make_durable(temporary)
        before_replacing()
        temporary.replace(path)
        _make_durable(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot do it for folders
            raise
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
