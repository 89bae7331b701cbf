"""``python -m plain_vs_residual``."""

from plain_vs_residual.suite.interrupt import ignore_interrupts

try:
    from plain_vs_residual.cli.app import main

    main()
except KeyboardInterrupt:
    raise SystemExit(130) from None
finally:
    ignore_interrupts()
