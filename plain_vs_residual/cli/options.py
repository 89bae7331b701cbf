"""Options that several commands take, and what they mean."""

from pathlib import Path
from typing import Annotated

import typer

from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.settings import SETTINGS

Names = Annotated[
    list[str] | None, typer.Argument(help="Experiments, by file name; all of the setting's if left out.")
]
SettingName = Annotated[
    str | None,
    typer.Option("--setting", help=f"{', '.join(SETTINGS)}; if left out, cifar10 with CUDA, digits without."),
]
Recorded = Annotated[
    str | None, typer.Option("--setting", help="Only this setting; all recorded ones if left out.")
]
ResultsFolder = Annotated[Path, typer.Option("--results", help="Where records are.")]
PlotsFolder = Annotated[
    Path | None,
    typer.Option("--plots", help="Where figures and reports go; plots/ beside results/ if left out."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Other images: CIFAR-10's batches, or train/ and val/ (or test/), a folder a class."
    ),
]
Seeds = Annotated[int | None, typer.Option("--seeds", help="How many; the setting's number if left out.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:N or mps.")]


def chosen_experiments(names: list[str] | None) -> list[Experiment]:
    """The named experiments, or all.

    Raises:
        ValueError: if there is none of that name.
    """
    known = load_experiments()
    for name in names or ():
        if name not in known:
            raise ValueError(f"unknown experiment '{name}'; accepted are {', '.join(known)}")
    return [experiment for name, experiment in known.items() if not names or name in names]
