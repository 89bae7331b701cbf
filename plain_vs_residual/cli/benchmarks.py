"""The command that runs a benchmark; thin."""

import os
import sys
from typing import Annotated

import typer

from plain_vs_residual.launcher import INSTALLED

BENCHMARKS = ("throughput", "jobs", "equivalence", "decoding", "projection", "faults", "coverage")


def benchmark(
    name: Annotated[str, typer.Argument(help=f"{', '.join(BENCHMARKS)}.")],
    options: Annotated[list[str] | None, typer.Argument(help="What it takes; NAME --help shows that.")] = None,
) -> None:
    """Measure speed, or try by breaking things whether anything is lost (benchmarks/README.md)."""
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark '{name}'; accepted are {', '.join(BENCHMARKS)}")
    if INSTALLED:
        raise ValueError("benchmarks are no part of an installed package; run them in a clone of the repository")
    sys.stdout.flush()
    # In place of this process, as its main module: benchmarks start processes of their own.
    os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.{name}", *(options or ())])
