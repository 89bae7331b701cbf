"""Ctrl-C and SIGTERM as a request to stop after the current iteration."""

import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Turns a first signal within its context into a request to stop; a second one interrupts."""

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
        """Say whether somebody asked to stop."""
        return self.made

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as Ctrl-C is handled."""
    raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """Ignore interrupts at the end of the process, where one could only print a traceback."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
