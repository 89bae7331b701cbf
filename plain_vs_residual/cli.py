"""The commands; thin. torch is imported only where something is trained."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plain_vs_residual import cli_networks
from plain_vs_residual.experiment import FAMILY_HINT, Experiment, Network, load_experiments
from plain_vs_residual.interrupt import interrupt
from plain_vs_residual.publish import Refresher, editions, publish
from plain_vs_residual.records import RESULTS, plots_folder
from plain_vs_residual.settings import SETTINGS, Setting, default_setting, find_setting

if TYPE_CHECKING:
    import torch

    from plain_vs_residual.suite import Suite

app = typer.Typer(
    help="Plain and residual networks trained in pairs (He et al., 2015).",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# click's, which typer brings along under changing names.
UsageError: Any = typer.BadParameter.__base__

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


@app.command("list")
def list_() -> None:
    """Shows experiments, settings and networks."""
    print("Experiments (experiments/<name>.py)")
    for name, experiment in load_experiments().items():
        print(f"  {name:22} {experiment.title} ({experiment.paper}); {_settings_of(experiment)}")
    print("\nSettings")
    for setting in SETTINGS.values():
        length = f"{setting.iterations:,} iterations" if setting.iterations else f"{setting.epochs} epochs"
        seeds = f"{setting.seeds} seed{'s' if setting.seeds > 1 else ''}"
        print(
            f"  {setting.name:22} {setting.image_size} px, batch {setting.batch_size}, {length}, {seeds}; "
            f"{setting.expected}"
        )
    print(f"\nNetworks\n  {FAMILY_HINT};")
    print("  without an option, 18 and 34 layers and the CIFAR family mean A, deeper networks B")


@app.command()
def train(
    names: Names = None,
    setting: SettingName = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Other images: CIFAR-10's batches, or train/ and val/ (or test/), a folder a class."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; the setting's number if left out.")] = None,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="bf16, fp32, tf32 or fp16; if left out, bf16 where the device has it, else fp32."),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option(help="eager, graph, compile or compile+graph; if left out, graph with CUDA, eager without."),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only algorithms that give equal bytes on a GPU; slower.")
    ] = False,
    split: Annotated[
        str, typer.Option(help="test, or 45k/5k to hold out a tenth of the training images.")
    ] = "test",
    iterations: Annotated[
        int | None, typer.Option(help="Another budget, for a trial: sets its runs apart as a variant.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="How often errors are taken, for a trial on a slow machine.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="Only this network of the experiments; can be given again.")
    ] = None,
    results: ResultsFolder = RESULTS,
    plots: PlotsFolder = None,
    jobs: Annotated[
        int | None, typer.Option(help="Runs at once; if left out, one a core (at most 4) on a CPU, one on a GPU.")
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Set changed runs aside and train them anew.")] = False,
    report: Annotated[bool, typer.Option(help="Keep the report up to date after every run.")] = True,
) -> None:
    """Trains what is not finished yet and keeps the report up to date; everything by default."""
    for option, number, least, most in (
        ("--seeds", seeds, 1, 1000),
        ("--first-seed", first_seed, 0, 2**31),
        ("--iterations", iterations, 1, 10**9),
        ("--evaluations", evaluations, 1, 10**4),
        ("--jobs", jobs, 1, 256),
    ):
        if number is not None and not least <= number <= most:
            raise ValueError(f"{option} {number}: a whole number from {least} to {most} is needed")
    if split not in ("test", "45k/5k"):
        raise ValueError(f"--split {split}: accepted are test and 45k/5k")
    if setting:
        find_setting(setting)
    all_experiments = _experiments(names)
    for name in network or ():
        Network.parse(name)
    _writable(results)

    from plain_vs_residual.data.datasets import load_dataset
    from plain_vs_residual.machine import choose_device, choose_execution, choose_precision, share_cores
    from plain_vs_residual.progress import SuiteProgress
    from plain_vs_residual.suite import Suite
    from plain_vs_residual.training.loop import Stopped

    chosen_device = choose_device(device)
    chosen = _choose_setting(setting, chosen_device).with_changes({"split": split})
    for field, number in (("iterations", iterations), ("evaluations", evaluations)):
        if number:
            chosen = chosen.with_changes({field: number})
    experiments = [
        experiment
        for experiment in all_experiments
        if chosen.name in experiment.networks and (names or chosen.name not in experiment.on_request)
    ]
    if not experiments:
        able = sorted({name for experiment in all_experiments for name in experiment.networks})
        raise ValueError(
            f"{', '.join(names or [])}: not for setting {chosen.name}; accepted are {', '.join(able)}"
        )
    only = _only(network or [], experiments, chosen.name)
    chosen_precision = choose_precision(precision, chosen_device)
    chosen_execution = choose_execution(execution, chosen_device, chosen_precision)
    dataset = load_dataset(chosen, data)
    num_seeds = seeds or chosen.seeds
    jobs = share_cores(jobs, chosen_device)
    suite = Suite(
        experiments=tuple(experiments),
        setting=chosen,
        dataset=dataset,
        results=results,
        seeds=range(first_seed, first_seed + num_seeds),
        precision=chosen_precision,
        device=chosen_device,
        execution=chosen_execution,
        deterministic=deterministic,
        only=only,
    )
    refresh = Refresher(results, plots, chosen.name, suite.variant)
    monitor = SuiteProgress(lambda run: refresh(run.experiments) if report else None, bars=jobs == 1)
    _announce(suite)
    runs = suite.plan()
    signal.signal(signal.SIGTERM, interrupt)
    with suite.locked(runs):
        for aside in suite.check(runs, rerun=rerun):
            print(f"set aside: {aside}")
        if finished := sum(run.folder.finished for run in runs):
            print(f"{finished} of {len(runs)} runs are finished already")
        try:
            suite.train(runs, monitor, jobs)
        except Stopped as stop:
            print(f"stopped: {stop}; the same command goes on from there", file=sys.stderr)
            raise SystemExit(130) from None
    if report:
        for path in publish(results, plots, chosen.name):
            print(f"report: {path}")


@app.command()
def plot(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, plots: PlotsFolder = None
) -> None:
    """Draws the figures from the records."""
    from plain_vs_residual.figures import draw_all

    experiments = _experiments(names)
    for edition in editions(results, _recorded(setting), experiments):
        for path in draw_all(edition, experiments, plots_folder(results, plots) / edition.name):
            print(path)


@app.command()
def report(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, plots: PlotsFolder = None
) -> None:
    """Draws the figures and writes report.md and report.html."""
    from plain_vs_residual.report import write_report

    for edition in editions(results, _recorded(setting), _experiments(names)):
        folder = plots_folder(results, plots) / edition.name
        for path in write_report(edition, _experiments(None), folder, names=names):
            print(f"report: {path}")


@app.command()
def verify(names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS) -> None:
    """Compares the members of every pair: data, schedule, initial weights, precision, versions, code."""
    from plain_vs_residual.verify import summary_line
    from plain_vs_residual.verify import verify as check

    differing = 0
    experiments = _experiments(names)
    for edition in editions(results, _recorded(setting), experiments):
        for experiment in experiments:
            if edition.setting not in experiment.networks:
                continue
            checks = check(edition, experiment)
            print(f"{edition.name} {experiment.name}: {summary_line(checks)}")
            for pair in checks:
                if pair.differences:
                    differing += 1
                    print(f"  {pair.first} and {pair.second}: {'; '.join(pair.differences)}")
    if differing:
        raise SystemExit(1)


@app.command()
def doctor(
    setting: SettingName = None,
    data: Annotated[Path | None, typer.Option(help="Other images, as for train.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; the setting's number if left out.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps.")] = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Says whether this machine is ready for a setting, and what to do where it is not."""
    from plain_vs_residual.doctor import examine, preferred_setting, show

    chosen = find_setting(setting or preferred_setting(device))
    print(f"setting {chosen.name}")
    if not show(examine(chosen, data, results, device, seeds or chosen.seeds), print):
        raise SystemExit(1)


for command in (cli_networks.describe, cli_networks.evaluate, cli_networks.responses, cli_networks.inspect):
    app.command()(command)


def main() -> None:
    """Runs a command; users' mistakes are one line and exit code 2."""
    try:
        # What typer ends of its own accord comes back as an exit code: 0 after --help, 130 after Ctrl-C.
        if app(sys.argv[1:] or ["--help"], standalone_mode=False) == 130:
            raise KeyboardInterrupt
    except UsageError as error:
        _fail(error.format_message())
    except (ValueError, OSError) as error:
        if os.environ.get("PLAIN_VS_RESIDUAL_TRACEBACK"):
            raise
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        kept = "; what was finished or saved is kept: make room, and the same command goes on" if full else ""
        _fail(f"{error}{kept}")
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped; the same command goes on from the last evaluation", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _settings_of(experiment: Experiment) -> str:
    marks = {name: " (when named)" if name in experiment.on_request else "" for name in experiment.networks}
    return ", ".join(f"{name}{mark}" for name, mark in marks.items())


def _experiments(names: list[str] | None) -> list[Experiment]:
    known = load_experiments()
    for name in names or ():
        if name not in known:
            raise ValueError(f"unknown experiment '{name}'; accepted are {', '.join(known)}")
    return [experiment for name, experiment in known.items() if not names or name in names]


def _only(names: list[str], experiments: list[Experiment], setting: str) -> frozenset[str]:
    compared = {name for experiment in experiments for name in experiment.networks[setting]}
    only = {Network.parse(name).name for name in names}
    for name in sorted(only - compared):
        raise ValueError(
            f"--network {name}: none of the chosen experiments compares it in setting {setting}; "
            f"they compare {', '.join(sorted(compared))}; a file in experiments/ can name others"
        )
    return frozenset(only)


def _recorded(setting: str | None) -> str | None:
    return find_setting(setting).name if setting else None


def _choose_setting(name: str | None, device: "torch.device") -> Setting:
    from plain_vs_residual.machine import unused_gpu

    if name is None:
        name = default_setting(device.type)
        reason = "CUDA is here" if device.type == "cuda" else "no CUDA device is used"
        print(f"setting {name}, because {reason}: {find_setting(name).expected}; --setting chooses another")
    if device.type != "cuda" and (remark := unused_gpu()):
        print(f"note: {remark}")
    return find_setting(name)


def _announce(suite: "Suite") -> None:
    from plain_vs_residual.data.datasets import split
    from plain_vs_residual.machine import environment

    device = environment(suite.device)
    dataset = split(suite.dataset, suite.setting.split)
    seeds = f"{len(suite.seeds)} {'seed' if len(suite.seeds) == 1 else 'seeds'}"
    print(
        f"{suite.setting.name} on {suite.dataset.name}: {len(dataset.training):,} training and "
        f"{len(dataset.validation):,} validation images; {seeds}; "
        f"{device['device_name']} ({suite.precision}, {suite.execution}); "
        f"records in {suite.results / suite.setting.name}"
    )
    if suite.execution.startswith("compile"):
        print("note: torch.compile takes about a minute a network the first time; later runs use its cache")
    for caveat in filter(None, (suite.dataset.caveat, suite.setting.caveat)):
        print(f"note: {caveat}")


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--results {folder}: cannot be written ({error.strerror}); name another folder"
        ) from error
