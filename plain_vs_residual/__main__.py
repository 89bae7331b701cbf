"""``python -m plain_vs_residual``, by which run_all.sh starts every command, and the installed program."""

import os
import sys

from plain_vs_residual.executors.signals import ignore_interrupts
from plain_vs_residual.launcher import command


def start() -> None:
    """Run a command; end without a traceback where it cannot even be imported, or is interrupted meanwhile."""
    # Figures go to files. A notebook's kernel names a backend for its commands that need not be installed here.
    os.environ["MPLBACKEND"] = "Agg"
    try:
        try:
            from plain_vs_residual.cli.app import main
        except ImportError as missing:
            line = command(*sys.argv[1:])
            print(
                f"error: {missing} in {sys.executable}; with a Python that has everything: {line}", file=sys.stderr
            )
            raise SystemExit(2) from None
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        ignore_interrupts()


if __name__ == "__main__":
    start()
