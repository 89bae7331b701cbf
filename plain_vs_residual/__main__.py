"""``python -m plain_vs_residual``."""

from plain_vs_residual.cli import main

main()
