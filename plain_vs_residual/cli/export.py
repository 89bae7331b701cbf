"""The command that hands recorded runs to other programs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    source: Annotated[
        Path, typer.Argument(help="Folder of a run, of a setting or of results.", metavar="RUN_OR_RESULTS")
    ],
    to: Annotated[str, typer.Option(help="tidy (CSV tables), tensorboard, onnx, or safetensors.")],
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; <plots>/<setting>/<format> if left out.")
    ] = None,
) -> None:
    """Write recorded runs for other programs: tidy tables, TensorBoard, ONNX, weights with their record."""
    from plain_vs_residual.inspection.export import export as write

    for path in write(source, to, out):
        print(path)
