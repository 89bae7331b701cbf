"""From the options of a command to a selection of runs; imports no torch unless a GPU may be here."""

import shutil
import sys
from pathlib import Path

from plain_vs_residual.cli.checks import accept, given_fields, only_networks, possible
from plain_vs_residual.cli.options import chosen_experiments
from plain_vs_residual.data.identity import images_variant
from plain_vs_residual.plan import Selection
from plain_vs_residual.settings import Setting, default_setting, find_setting

TRIAL = ("iterations", "evaluations")  # options that count for more than setting and studies
# What is there where a GPU may be usable: drivers of NVIDIA and AMD, and of either under WSL.
DRIVERS = ("/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")


def select(
    names: list[str] | None,
    setting: Setting,
    data: Path | None,
    first_seed: int,
    networks: list[str] | None,
    runs: list[str] | None,
    **fields: object,
) -> Selection:
    """Make the selection that the options of a command mean.

    Args:
        names: experiments; None for those that the setting trains by default.
        setting: as it is.
        data: other images.
        first_seed: of as many as the setting has.
        networks: of the experiments; None for all.
        runs: by their names; None for all.
        fields: of the setting, that options change; None where an option was not given.

    Raises:
        ValueError: if something does not exist or does not go together; says what is accepted.
    """
    accept("--first-seed", first_seed, 0, 2**31)
    given = given_fields(**fields)
    setting = setting.with_changes(given)
    experiments = possible(chosen_experiments(names), setting.name, named=bool(names))
    return Selection(
        experiments=tuple(experiments),
        setting=setting,
        seeds=range(first_seed, first_seed + setting.seeds),
        networks=only_networks(networks or [], experiments, setting.name),
        runs=frozenset(runs or ()),
        trial={name: value for name, value in given.items() if name in TRIAL},
        images=images_variant(setting, data),
    )


def chosen_setting(name: str | None, device: str | None) -> Setting:
    """Return the setting of that name, or the one that suits the machine.

    Raises:
        ValueError: if there is none of that name.
    """
    return find_setting(name or default_setting(device_type(device)))


def device_type(name: str | None) -> str:
    """Return on which type of device runs take place; asks torch, which takes seconds, only where a GPU may be."""
    if name is not None:
        return name.partition(":")[0]
    may_be_there = any(Path(driver).exists() for driver in DRIVERS) or shutil.which("nvidia-smi")
    if not may_be_there and "torch" not in sys.modules:
        return "cpu"
    from plain_vs_residual.executors.machine import choose_device

    return choose_device(None).type
