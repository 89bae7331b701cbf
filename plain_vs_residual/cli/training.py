"""The command that trains: from options to a suite, and what is said on the way."""

import io
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.checks import accept, check_writable, given_fields, only_networks, possible
from plain_vs_residual.cli.options import (
    Data,
    Device,
    Evaluations,
    FirstSeed,
    Iterations,
    Names,
    Networks,
    PlotsFolder,
    ResultsFolder,
    Seeds,
    SettingName,
    Split,
    chosen_experiments,
)
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.files import RESULTS, plots_folder
from plain_vs_residual.report.publish import Refresher, headlines, publish
from plain_vs_residual.settings import Setting, default_setting, find_setting
from plain_vs_residual.suite.interrupt import interrupt

TRIAL = ("iterations", "evaluations")  # options that count for more than setting and studies

if TYPE_CHECKING:
    import torch

    from plain_vs_residual.suite.suite import Suite, SuiteMonitor


def train(
    names: Names = None,
    setting: SettingName = None,
    data: Data = None,
    seeds: Seeds = None,
    first_seed: FirstSeed = 0,
    device: Device = None,
    precision: Annotated[
        str | None,
        typer.Option(help="bf16, fp32, tf32 or fp16; if left out, bf16 where the device has it, else fp32."),
    ] = None,
    execution: Annotated[
        str,
        typer.Option(
            help="auto, eager, graph, compile or compile+graph; auto measures with CUDA, and is eager without."
        ),
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only algorithms that give equal bytes on a GPU; slower.")
    ] = False,
    split: Split = "test",
    iterations: Iterations = None,
    evaluations: Evaluations = None,
    network: Networks = None,
    run: Annotated[
        list[str] | None, typer.Option(help="Only this run, by its name (runs lists them); can be given again.")
    ] = None,
    results: ResultsFolder = RESULTS,
    plots: PlotsFolder = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs at once; if left out, one per core (at most 4), one per GPU, measured on a single GPU."
        ),
    ] = None,
    devices_per_run: Annotated[
        int, typer.Option(help="Devices that share each run's batches: where there are fewer runs than devices.")
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster that trains the runs, or local to start one on this machine."),
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Set changed runs aside and train them anew.")] = False,
    report: Annotated[bool, typer.Option(help="Keep the report up to date as runs end.")] = True,
) -> None:
    """Train what is not finished yet and keep the report up to date; everything by default."""
    accept("--first-seed", first_seed, 0, 2**31)
    accept("--jobs", jobs, 1, 256)
    accept("--devices-per-run", devices_per_run, 1, 4096)
    given = given_fields(seeds=seeds, split=split, iterations=iterations, evaluations=evaluations)
    if setting:
        find_setting(setting)  # before torch is imported, which takes seconds
    experiments = chosen_experiments(names)
    for name in network or ():
        Architecture.parse(name)
    check_writable(results)

    from plain_vs_residual.data.datasets import load_dataset
    from plain_vs_residual.group import launched
    from plain_vs_residual.suite.machine import choose_device, choose_execution, choose_precision
    from plain_vs_residual.suite.placement import on_cluster, place
    from plain_vs_residual.suite.progress import SuiteProgress
    from plain_vs_residual.suite.suite import Suite

    if launched().rank > 0:
        sys.stdout = io.StringIO()  # the first process speaks for all
    chosen_device = choose_device(device)
    chosen = _choose_setting(setting, chosen_device).with_changes(given)
    experiments = possible(experiments, chosen.name, named=bool(names))
    chosen_precision = choose_precision(precision, chosen_device)
    wanted = None if execution == "auto" else choose_execution(execution, chosen_device, chosen_precision)
    only = only_networks(network or [], experiments, chosen.name)
    suite = Suite(
        experiments=tuple(experiments),
        setting=chosen,
        dataset=load_dataset(chosen, data),
        results=results.resolve() if cluster else results,  # a cluster's processes start elsewhere
        seeds=range(first_seed, first_seed + chosen.seeds),
        precision=chosen_precision,
        device=chosen_device,
        deterministic=deterministic,
        only=only,
        named=frozenset(run or ()),
        trial={name: value for name, value in given.items() if name in TRIAL},
    )
    suite, at_once = place(suite, wanted, jobs, devices_per_run)
    if cluster:
        if device is None and chosen_device.type == "cpu":
            raise ValueError(
                f"--cluster {cluster}: this machine has no GPU to choose a setting and a precision for; "
                "say --device cpu for runs on CPUs, or --device cuda from a machine that has one"
            )
        suite = replace(suite, cluster=on_cluster(suite, cluster, data, jobs))
    seeds_runs = {seed: [run.folder for run in suite.plan() if run.seed == seed] for seed in suite.seeds}
    name = "-".join(filter(None, (chosen.name, suite.variant)))
    refresher = Refresher(results, plots, chosen.name, name, seeds_runs) if report else None
    monitor = SuiteProgress(refresher, bars=at_once == 1)
    _announce(suite)
    if not _train(suite, monitor, at_once, rerun=rerun):
        return
    if report:
        for path in publish(results, plots, chosen.name):
            print(f"report: {path}")
        for line in headlines(results, chosen.name, name):
            print(line)
        for path in _compared(results / chosen.name, plots):
            print(f"comparison with {RESULTS}: {path}")


def _compared(folder: Path, plots: Path | None) -> list[Path]:
    """Put results that are elsewhere beside those of the default folder, where it has some of the same runs."""
    from plain_vs_residual.report.comparison import compare, find_sides

    default = RESULTS / folder.name
    if folder.resolve() == default.resolve() or not any(default.glob("*/final.json")):
        return []
    pages = []
    for before, after in find_sides(default, folder):
        if before.by_identity.keys() & after.by_identity.keys():
            where = plots_folder(folder.parent, plots) / f"{after.recorded.name}-comparison"
            pages += compare(before, after, list(load_experiments().values()), where)
    return pages


def _train(suite: "Suite", monitor: "SuiteMonitor", jobs: int, *, rerun: bool) -> bool:
    """Check, lock, train and measure the runs of a suite; false in a process that another one leads."""
    from plain_vs_residual.group import launched
    from plain_vs_residual.records.kept_code import keep_code
    from plain_vs_residual.suite.torchrun import under_torchrun
    from plain_vs_residual.training.session import Stopped

    runs = suite.plan()
    signal.signal(signal.SIGTERM, interrupt)
    with suite.locked(runs if launched().rank == 0 else []):
        try:
            with under_torchrun(suite.device, suite.dataset_of, suite.work) as work:
                if work is None:
                    return False
                for aside in suite.check(runs, rerun=rerun):
                    print(f"set aside: {aside}")
                if finished := sum(run.folder.finished for run in runs):
                    print(f"{finished} of {len(runs)} runs are finished already")
                keep_code(suite.results / suite.setting.name)
                replace(suite, work=work).train(runs, monitor, jobs)
            suite.measure(runs, print, jobs)
            return True
        except Stopped as stop:
            print(f"stopped: {stop}; the same command goes on from there", file=sys.stderr)
            raise SystemExit(130) from None


def _choose_setting(name: str | None, device: "torch.device") -> Setting:
    from plain_vs_residual.suite.machine import unused_gpu

    if name is None:
        name = default_setting(device.type)
        reason = "CUDA is here" if device.type == "cuda" else "no CUDA device is used"
        print(f"setting {name}, because {reason}: {find_setting(name).expected}; --setting chooses another")
    if device.type != "cuda" and (remark := unused_gpu()):
        print(f"note: {remark.reason}; {remark.remedy}")
    return find_setting(name)


def _announce(suite: "Suite") -> None:
    from plain_vs_residual.suite.machine import environment

    device, dataset = environment(suite.device), suite.split(suite.setting.split)
    seeds = f"{len(suite.seeds)} {'seed' if len(suite.seeds) == 1 else 'seeds'}"
    print(
        f"{suite.setting.name} on {suite.dataset.name}: {len(dataset.training):,} training and "
        f"{len(dataset.validation):,} validation images; {seeds}; "
        f"{device.device_name} ({suite.precision}, {suite.execution}); "
        f"records in {suite.results / suite.setting.name}"
    )
    if suite.execution.compiled:
        print("note: torch.compile takes about a minute per network the first time; later runs use its cache")
    for caveat in filter(None, (suite.dataset.caveat, suite.setting.caveat)):
        print(f"note: {caveat}")
