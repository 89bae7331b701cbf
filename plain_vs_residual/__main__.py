"""``python -m plain_vs_residual``, which is how run_all.sh starts every command."""

import sys

from plain_vs_residual.executors.signals import ignore_interrupts
from plain_vs_residual.launcher import command

try:
    from plain_vs_residual.cli.app import main
except ImportError as missing:
    line = command(*sys.argv[1:])
    print(f"error: {missing} in {sys.executable}; with a Python that has everything: {line}", file=sys.stderr)
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

try:
    main()
except KeyboardInterrupt:
    raise SystemExit(130) from None
finally:
    ignore_interrupts()
