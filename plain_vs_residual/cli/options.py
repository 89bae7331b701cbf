"""Options that several commands take; those that are fields of a setting take their words from there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from plain_vs_residual.experiment import EXPERIMENTS, SEMINAR, Experiment, load_experiment, load_experiments
from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.settings import SETTINGS, Setting


def setting_option(field: str, remark: str = "If left out, the number of the setting.") -> Any:
    """Make the option of a setting's field.

    Its range is not checked here but by the setting that it changes.
    """
    declared = Setting.model_fields[field]
    return typer.Option(f"--{field.replace('_', '-')}", help=f"{declared.description} {remark}".strip())


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EXPERIMENT", help="By file name, or seminar for all that ask why; the paper's if left out."
    ),
]
SettingName = Annotated[
    str | None,
    typer.Option("--setting", help=f"{', '.join(SETTINGS)}; if left out, cifar10 with CUDA, fashion without."),
]
Recorded = Annotated[
    str | None, typer.Option("--setting", help="Only this setting; all recorded ones if left out.")
]
ResultsFolder = Annotated[Path, typer.Option("--results", help="Where records are.")]
Results = Annotated[
    Path, typer.Argument(help="A results folder, or the folder of one setting in it.", metavar="RESULTS")
]
PlotsFolder = Annotated[
    Path | None,
    typer.Option("--plots", help="Where figures and reports go; plots/ beside results/ if left out."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Other images: CIFAR-10's batches, or train/ and val/ (or test/), one folder per class."
    ),
]
Seeds = Annotated[int | None, setting_option("seeds")]
Iterations = Annotated[int | None, setting_option("iterations", "For a trial: sets its runs apart as a variant.")]
Evaluations = Annotated[int | None, setting_option("evaluations", "For a trial on a slow machine.")]
Split = Annotated[str, setting_option("split", remark="")]
FirstSeed = Annotated[int, typer.Option(help="The first of them.")]
NewSeeds = Annotated[
    int | None,
    typer.Option("--register", help="So many new seeds, which then decide by themselves what is undecided."),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="Only this network of the experiments; can be given again."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:N or mps.")]


Runs = Annotated[
    list[str] | None,
    typer.Option("--run", help="Only this run, by its name (runs lists them); can be given again."),
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        "--precision", help="bf16, fp32, tf32 or fp16; if left out, bf16 where the device has it, else fp32."
    ),
]
ExecutionName = Annotated[
    str | None,
    typer.Option(
        "--execution",
        help="eager, graph, fused+graph, compile, compile+graph or, on a CPU, native; if left out, a checked "
        "graph with CUDA, eager without.",
    ),
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only algorithms that give equal bytes on a GPU; slower.")
]
Jobs = Annotated[
    int | None, typer.Option(help="Runs at once; if left out, one per core (at most 4), or one per GPU.")
]
DevicesPerRun = Annotated[
    int, typer.Option(help="Devices that share each run's batches: where there are fewer runs than devices.")
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster", help="Address of a Ray cluster that trains the runs, or local to start one on this machine."
    ),
]
Rerun = Annotated[bool, typer.Option("--rerun", help="Set changed runs aside and train them anew.")]
Report = Annotated[bool, typer.Option(help="Keep the report up to date as runs end.")]


def chosen_experiments(names: list[str] | None, folder: Path = EXPERIMENTS) -> list[Experiment]:
    """Load the named experiments, or all; ``seminar`` names all that ask why.

    Raises:
        ValueError: if there is none of that name, or its file does not declare a right one.
    """
    for name in names or ():
        path = folder / f"{name}.py"
        if name != SEMINAR and path.is_file():
            load_experiment(path)
    known = load_experiments(folder)
    for name in names or ():
        if name not in (*known, SEMINAR):
            raise ValueError(
                f"unknown experiment '{name}'{did_you_mean(name, [*known, SEMINAR])}; "
                f"accepted are {', '.join(known)}, and {SEMINAR} for all that ask why"
            )
    chosen = set(names or known)
    if SEMINAR in chosen:
        chosen |= {name for name, experiment in known.items() if experiment.seminar}
    return [experiment for name, experiment in known.items() if name in chosen]
