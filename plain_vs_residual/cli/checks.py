"""What is checked of the options of a command before anything expensive is done for them.

Each function raises a ValueError that says what was given, what is accepted and what to do.
"""

import os
import re
from pathlib import Path

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import check_names
from plain_vs_residual.data.listing import is_address
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.near_misses import did_you_mean
from plain_vs_residual.records.atomic import write_bytes
from plain_vs_residual.settings import DIGITS


def accept(option: str, number: int | None, least: int, most: int) -> None:
    """Refuse a number out of range."""
    if number is not None and not least <= number <= most:
        raise ValueError(f"{option} {number}: a whole number from {least} to {most} is needed")


def check_computing(
    device: str | None, precision: str | None, execution: str | None, jobs: int | None, devices_per_run: int
) -> None:
    """Refuse names and numbers that no machine accepts, before torch is asked what this one has."""
    accept("--jobs", jobs, 1, 256)
    accept("--devices-per-run", devices_per_run, 1, 4096)
    if device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"--device {device}: accepted are cpu, cuda, cuda:N and mps")
    check_names(precision, execution)


def given_fields(**fields: object) -> dict[str, object]:
    """Return the options that are fields of a setting and were given; refuse a value that it cannot have."""
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        try:
            DIGITS.with_changes({name: value})
        except ValueError as error:
            raise ValueError(f"--{name} {value}: {str(error).rpartition(': ')[2]}") from None
    return given


def possible(experiments: list[Experiment], setting: str, *, named: bool) -> list[Experiment]:
    """Choose the experiments that the setting has networks for, without those that want to be named."""
    found = [
        one for one in experiments if setting in one.networks and (named or not one.waits_to_be_named(setting))
    ]
    if not found:
        names = ", ".join(experiment.name for experiment in experiments)
        able = sorted({name for experiment in experiments for name in experiment.networks})
        raise ValueError(f"{names}: not for setting {setting}; accepted are {', '.join(able)}")
    return found


def only_networks(names: list[str], experiments: list[Experiment], setting: str) -> frozenset[str]:
    """Return the chosen networks by their full names; refuse one that no chosen experiment compares."""
    compared = {name for experiment in experiments for name in experiment.networks[setting]}
    only = {Architecture.parse(name).name for name in names}
    for name in sorted(only - compared):
        raise ValueError(
            f"--network {name}: none of the chosen experiments compares it in setting {setting}"
            f"{did_you_mean(name, compared)}; they compare {', '.join(sorted(compared))}; "
            "a file in experiments/ can name others"
        )
    return frozenset(only)


def check_folders(results: Path, plots: Path | None) -> None:
    """Refuse to put records where figures are, figures where records are, and a setting into another one's folder.

    Raises:
        ValueError: says what is there, and which folder to name.
    """
    own = "name a folder of its own, such as my_change/results"
    for option, folder in (("--results", results), ("--plots", plots)):
        if folder is not None and is_address(folder):
            raise ValueError(f"{option} {folder}: an address, not a folder of this machine; name a folder")
    if plots is not None and (plots.resolve() == results.resolve() or any(plots.glob("*/*/run.json"))):
        raise ValueError(f"--plots {plots}: records are there, not figures; leave it out, or name another folder")
    places = (results.resolve().name, results.resolve().parent.name)
    if "plots" in places or any(results.glob("report.html")) or any(results.glob("*/report.html")):
        raise ValueError(f"--results {results}: figures and reports go there, not records; leave it out, or {own}")
    if (results / "run.json").exists() or any(results.glob("*/run.json")):
        kind, above = ("run", 2) if (results / "run.json").exists() else ("setting", 1)
        folder = results.resolve().parents[above - 1]
        raise ValueError(f"--results {results}: the folder of one {kind}; name the one of all settings, {folder}")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        write_bytes(probe, b"")  # which also says where a file system cannot sync
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--results {folder}: cannot be written ({error.strerror}); name another folder"
        ) from error


def in_words(error: OSError) -> str:
    """Say what the system refused, and for which file, also where its error names none."""
    if error.filename is not None or not error.strerror:
        return str(error)
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    # What pathlib reads or writes is its innermost frame's own path.
    path = trace.tb_frame.f_locals.get("self") if trace else None
    where = str(path) if isinstance(path, Path) else "standard output, or a file that the system did not name"
    return f"[Errno {error.errno}] {error.strerror}: {where}"
