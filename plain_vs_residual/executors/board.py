"""Where processes note how far their runs are, and the suite that started them looks from time to time.

A file for each run in a folder that all of them see: whoever writes waits for nobody, and a process that is killed
while it writes leaves nothing that another would wait for.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plain_vs_residual.training.loop import Monitor


@dataclass(frozen=True)
class Board:
    """The folder of the notes."""

    folder: Path

    def note(self, name: str, iteration: int, num_iterations: int) -> None:
        """Write how far a run is; where that cannot be written, nobody hears of it."""
        with suppress(OSError):
            self._path(name).write_text(f"{iteration} {num_iterations}\n", encoding="utf-8")

    def tell(self, name: str, monitor: Monitor) -> None:
        """Tell a monitor how far a run is, if that was noted."""
        with suppress(OSError):
            note = self._path(name).read_text(encoding="utf-8")
            if note.endswith("\n"):  # else it is being written
                iteration, num_iterations = map(int, note.split())
                monitor.advanced(iteration, num_iterations)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.note"


class Noting:
    """The monitor of a run in a process of its own: notes how far it is, twice in a second at most."""

    SECONDS = 0.5

    def __init__(self, board: Board, name: str) -> None:
        self.board = board
        self.name = name
        self.last = 0.0

    def advanced(self, iteration: int, num_iterations: int) -> None:
        """Note the iteration, unless the last one was noted just before."""
        if time.monotonic() - self.last >= self.SECONDS:
            self.last = time.monotonic()
            self.board.note(self.name, iteration, num_iterations)

    def evaluated(self, row: object, num_iterations: int) -> None:
        """Note nothing: an evaluation is in the run's records."""
