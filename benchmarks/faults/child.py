"""A suite that dies, or finds the disk full, when it writes a named file for the n-th time, or runs out of memory.

Its arguments: NAME COUNT STAGE [what `train` takes]
"""

import errno
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from plain_vs_residual.cli.app import main
from plain_vs_residual.records import atomic


def dies() -> None:
    """Kill this process with SIGKILL, which leaves no chance to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Breaks:
    """Replaces :func:`plain_vs_residual.records.atomic.atomically` and injects a fault into the chosen write."""

    def __init__(self, name: str, count: int, stage: str) -> None:
        self.name = name
        self.left = count
        self.stage = stage
        self.whole = atomic.atomically

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
        elif self.stage == "moved aside":
            self.whole(path, write, before_replacing=move_and_die)
        self.whole(path, write, **options)
        dies()


def leave_little_memory() -> None:
    """Limit memory from the third step on, so that hardly any is left on the GPU or in the address space."""
    torch = importlib.import_module("torch")
    trainer = importlib.import_module("plain_vs_residual.training.step").Trainer
    step, steps = trainer.step, count(1)

    def short_of_memory(self: Any, *batch: Any) -> None:
        if next(steps) == 3:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction(1e-6)
            else:
                pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
        step(self, *batch)

    trainer.step = short_of_memory


if __name__ == "__main__":
    breaks = Breaks(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    checkpoint = importlib.import_module("plain_vs_residual.training.checkpoint")
    for module in (atomic, checkpoint):
        vars(module)["atomically"] = breaks
    if breaks.stage == "little memory":
        leave_little_memory()
    sys.argv[1:] = ["train", *sys.argv[4:]]
    main()
