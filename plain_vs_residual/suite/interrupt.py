"""Ctrl-C and SIGTERM as a request to stop after the iteration at hand. Imports no torch."""

import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Within the context the first signal is a request, which is to be asked for; a second one interrupts."""

    def __init__(self) -> None:
        self.made = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.made

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that makes SIGTERM what Ctrl-C is."""
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """For the end of the process, when an interrupt could only print a traceback."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
