"""Writes files that are whole at every moment: the old one stays until the new one is durable."""

import errno
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What file systems answer that have no sync, above all for folders, or where a folder may only be written.
CANNOT_SYNC = {
    *(errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTTY, errno.EBADF),
    *(errno.EACCES, errno.EPERM, errno.EISDIR),
}
_said: set[str] = set()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that names no file name this one: a full disk is met after the file was opened."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def atomically(
    path: Path, write: Callable[[Path], object], *, before_replacing: Callable[[], None] = lambda: None
) -> None:
    """Let ``write`` fill a temporary file, make it durable and move it to ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            write(temporary)
            _make_durable(temporary)
            before_replacing()
            temporary.replace(path)
            _make_durable(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """Have a file, or the names in a folder, reach the disk; where that cannot be had, say so once and go on."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
        _say_once(path.parent if path.is_file() else path, error.strerror or str(error))


def _say_once(folder: Path, reason: str) -> None:
    # The processes that a suite starts leave it to that one, which has tried the folder before.
    if reason not in _said and multiprocessing.parent_process() is None:
        message = "its file system cannot sync, so that a power cut could lose the last record"
        print(f"note: {folder}: {message} ({reason}); going on", file=sys.stderr)
    _said.add(reason)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
