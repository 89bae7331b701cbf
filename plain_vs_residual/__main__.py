"""``python -m plain_vs_residual``."""

from plain_vs_residual.cli import main
from plain_vs_residual.interrupt import ignore_interrupts

try:
    main()
finally:
    ignore_interrupts()
