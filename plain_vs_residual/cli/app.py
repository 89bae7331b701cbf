"""The commands; thin. torch is imported only where something is trained."""

import errno
import os
import sys
from typing import Annotated, Any

import typer

from plain_vs_residual.architecture import ACCEPTED
from plain_vs_residual.cli import networks
from plain_vs_residual.cli.benchmarks import benchmark
from plain_vs_residual.cli.checks import in_words
from plain_vs_residual.cli.commands import Commands
from plain_vs_residual.cli.export import export
from plain_vs_residual.cli.options import (
    Data,
    Device,
    Names,
    NewSeeds,
    PlotsFolder,
    Recorded,
    Results,
    ResultsFolder,
    Seeds,
    SettingName,
    chosen_experiments,
)
from plain_vs_residual.cli.training import runs, train
from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.launcher import command as launcher
from plain_vs_residual.records.files import RESULTS, plots_folder
from plain_vs_residual.report.publish import find_recorded_runs
from plain_vs_residual.settings import SETTINGS, find_setting

app = typer.Typer(
    cls=Commands,
    help="Plain and residual networks trained in pairs (He et al., 2015).",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# click's, which typer brings along under changing names.
UsageError: Any = typer.BadParameter.__base__


@app.command("list")
def list_() -> None:
    """Show experiments, settings and networks."""
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
    print(f"\nNetworks\n  {ACCEPTED};")
    print("  without an option, 18 and 34 layers and the CIFAR family mean A, deeper networks B")


app.command()(train)
app.command()(runs)


@app.command()
def plot(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, plots: PlotsFolder = None
) -> None:
    """Draw the figures from the records."""
    from plain_vs_residual.evidence.verdicts import judge
    from plain_vs_residual.report.figures import draw_all, draw_primary_claims

    experiments = chosen_experiments(names)
    for recorded in find_recorded_runs(results, _recorded(setting), experiments):
        folder = plots_folder(results, plots) / recorded.name
        verdicts = judge(recorded, chosen_experiments(None))
        for path in draw_all(recorded, experiments, folder, verdicts):
            print(path)
        for path in draw_primary_claims(recorded, verdicts, folder):
            print(path)


@app.command()
def report(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, plots: PlotsFolder = None
) -> None:
    """Draw the figures and write report.md and report.html."""
    from plain_vs_residual.report.page import write_report

    chosen = chosen_experiments(names)
    for recorded in find_recorded_runs(results, _recorded(setting), chosen):
        folder = plots_folder(results, plots) / recorded.name
        for path in write_report(recorded, chosen_experiments(None), folder, shown=chosen):
            print(f"report: {path}")


@app.command()
def handout(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, plots: PlotsFolder = None
) -> None:
    """Write sheets to predict on and sheets with what came out, as Markdown and PDF."""
    from plain_vs_residual.report.handout import write_handouts

    chosen = chosen_experiments(names)
    for recorded in find_recorded_runs(results, _recorded(setting), chosen):
        folder = plots_folder(results, plots) / recorded.name
        for path in write_handouts(recorded, chosen_experiments(None), folder, shown=chosen):
            print(f"handout: {path}")


@app.command()
def verify(
    names: Names = None,
    setting: Recorded = None,
    results: ResultsFolder = RESULTS,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Draw initial values, order, crops and flips again from each run's seed (needs torch).",
        ),
    ] = False,
) -> None:
    """Check every run by itself, by setting and study, and the members of every pair against each other."""
    from plain_vs_residual.cli.verifying import verify_all

    experiments = chosen_experiments(names)
    recorded = find_recorded_runs(results, _recorded(setting), experiments)
    if any([verify_all(one, experiments, recompute=recompute) for one in recorded]):  # noqa: C419 - prints all
        print(f"a run is trained anew by {launcher()} once its folder has been moved away")
        raise SystemExit(1)


@app.command()
def compare(before: Results, after: Results, plots: PlotsFolder = None) -> None:
    """Put two results side by side: what differs between them, curves, differences seed by seed, claims."""
    from plain_vs_residual.report.comparison import compare as write
    from plain_vs_residual.report.comparison import find_sides

    for old, new in find_sides(before, after):
        folder = (plots_folder(new.folder.parent, plots)) / f"{new.recorded.name}-comparison"
        for path in write(old, new, chosen_experiments(None), folder):
            print(f"comparison: {path}")


@app.command()
def power(
    names: Names = None, setting: Recorded = None, results: ResultsFolder = RESULTS, register: NewSeeds = None
) -> None:
    """Say how many new seeds would decide each undecided primary claim; register them on request."""
    from plain_vs_residual.cli.more_seeds import register_new_seeds, say_new_seeds
    from plain_vs_residual.evidence.verdicts import judge

    chosen = {experiment.name for experiment in chosen_experiments(names)}
    found = find_recorded_runs(results, _recorded(setting), chosen_experiments(names))
    if register is not None and len(found) > 1:
        raise ValueError(f"--register: name one with --setting, of {', '.join(one.name for one in found)}")
    for recorded in found:
        verdicts = judge(recorded, chosen_experiments(None))
        primary = [one for one in verdicts if one.claim.primary and one.experiment in chosen]
        say_new_seeds(recorded, primary)
        if register is not None:
            register_new_seeds(recorded, primary, register, results)


@app.command()
def doctor(
    setting: SettingName = None,
    data: Data = None,
    seeds: Seeds = None,
    device: Device = None,
    results: ResultsFolder = RESULTS,
) -> None:
    """Say whether this machine is ready for a setting, and what to do where it is not."""
    from plain_vs_residual.executors.doctor import examine, preferred_setting, show

    chosen = find_setting(setting or preferred_setting(device))
    print(f"setting {chosen.name}")
    if not show(examine(chosen, data, results, device, seeds or chosen.seeds), print):
        raise SystemExit(1)


OF_NETWORKS = (networks.describe, networks.evaluate, networks.responses, networks.measure, networks.inspect)
for command in (*OF_NETWORKS, export):
    app.command()(command)
app.command(context_settings={"allow_interspersed_args": False})(benchmark)


def main() -> None:
    """Run a command; users' mistakes are one line and exit code 2."""
    try:
        # What typer ends of its own accord comes back as an exit code: 0 after --help, 130 after Ctrl-C.
        if app(sys.argv[1:] or ["--help"], prog_name=launcher(), standalone_mode=False) == 130:
            raise KeyboardInterrupt
    except UsageError as error:
        _fail(error.format_message())
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("PLAIN_VS_RESIDUAL_TRACEBACK"):
            raise
        if isinstance(error, ImportError):
            _fail(f"{error}; {launcher('doctor')} says what is missing on this machine")
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        kept = "; what was finished or saved is kept: make room, and the same command goes on" if full else ""
        _fail(f"{in_words(error) if isinstance(error, OSError) else error}{kept}")
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped; what was saved is kept: the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _settings_of(experiment: Experiment) -> str:
    at_once = [name for name in experiment.networks if not experiment.waits_to_be_named(name)]
    named = [name for name in experiment.networks if experiment.waits_to_be_named(name)]
    return "; ".join(filter(None, (", ".join(at_once), f"when named: {', '.join(named)}" if named else "")))


def _recorded(setting: str | None) -> str | None:
    return find_setting(setting).name if setting else None
