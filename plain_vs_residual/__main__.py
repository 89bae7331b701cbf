"""``python -m plain_vs_residual``."""

import sys

from plain_vs_residual.executors.signals import ignore_interrupts

try:
    from plain_vs_residual.cli.app import main
except ImportError as missing:
    print(f"error: {missing}; bash run_all.sh sets up a Python that has everything", file=sys.stderr)
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

try:
    main()
except KeyboardInterrupt:
    raise SystemExit(130) from None
finally:
    ignore_interrupts()
