"""A suite that is killed, or finds the disk full, while it writes a named file for the n-th time.

python -m benchmarks.faults_child NAME COUNT STAGE [what `plain_vs_residual train` takes]
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain_vs_residual import records
from plain_vs_residual.cli import main


def dies() -> None:
    """As from outside, without any clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Breaks:
    """Takes the place of :func:`plain_vs_residual.records.atomically`."""

    def __init__(self, name: str, count: int, stage: str) -> None:
        self.name = name
        self.left = count
        self.stage = stage
        self.whole = records.atomically

    def __call__(self, path: Path, write: Callable[[Path], object], **options: Any) -> None:
        self.left -= path.name == self.name
        if path.name != self.name or self.left:
            self.whole(path, write, **options)
            return
        if self.stage == "full disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        options.setdefault("before_replacing", lambda: None)

        def write_and_die(temporary: Path) -> None:
            write(temporary)
            if self.stage == "half written":
                os.truncate(temporary, temporary.stat().st_size // 2)
            dies()

        def move_and_die() -> None:
            options["before_replacing"]()
            dies()

        if self.stage in ("half written", "written"):
            self.whole(path, write_and_die)
        elif self.stage == "moved the old one":
            self.whole(path, write, before_replacing=move_and_die)
        self.whole(path, write, **options)
        dies()


if __name__ == "__main__":
    breaks = Breaks(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    checkpoint = importlib.import_module("plain_vs_residual.training.checkpoint")
    for module in (records, checkpoint):
        vars(module)["atomically"] = breaks
    if breaks.stage == "little GPU memory":
        importlib.import_module("torch").cuda.set_per_process_memory_fraction(1e-3)
    sys.argv[1:] = ["train", *sys.argv[4:]]
    main()
