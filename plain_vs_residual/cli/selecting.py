"""From the options of a command to a selection of runs; imports no torch unless a GPU may be here."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from plain_vs_residual.cli.checks import accept, given_fields, only_networks, possible
from plain_vs_residual.cli.options import chosen_experiments
from plain_vs_residual.data.identity import images_variant
from plain_vs_residual.plan import Selection
from plain_vs_residual.settings import default_setting, find_setting

Options = TypeVar("Options")
TRIAL = ("iterations", "evaluations")  # options that also win over what a study changes
# What is there where a GPU may be usable: drivers of NVIDIA and AMD, and of either under WSL.
DRIVERS = ("/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class SelectionOptions:
    """The options that say what is run, as they were given; None where one was left out."""

    names: list[str] | None
    setting: str | None
    data: Path | None
    seeds: int | None
    first_seed: int
    device: str | None
    split: str
    iterations: int | None
    evaluations: int | None
    network: list[str] | None
    run: list[str] | None

    def selection(self) -> Selection:
        """Make the selection that they mean.

        Raises:
            ValueError: if something does not exist or does not go together; says what is accepted.
        """
        accept("--first-seed", self.first_seed, 0, 2**31)
        given = given_fields(
            seeds=self.seeds, split=self.split, iterations=self.iterations, evaluations=self.evaluations
        )
        named = self.setting if self.setting is not None else default_setting(device_type(self.device))
        setting = find_setting(named).with_changes(given)
        experiments = possible(chosen_experiments(self.names), setting.name, named=bool(self.names))
        return Selection(
            experiments=tuple(experiments),
            setting=setting,
            seeds=range(self.first_seed, self.first_seed + setting.seeds),
            only_networks=only_networks(self.network or [], experiments, setting.name),
            only_runs=frozenset(self.run or ()),
            trial={name: value for name, value in given.items() if name in TRIAL},
            images_variant=images_variant(setting, self.data),
        )


def picked(kind: type[Options], options: Mapping[str, Any]) -> Options:
    """Make a group of options of all that a command was given, by their names."""
    return kind(**{one.name: options[one.name] for one in fields(kind)})  # type: ignore[arg-type]


def device_type(name: str | None) -> str:
    """Return on which type of device runs take place; asks torch, which takes seconds, only where a GPU may be."""
    if name is not None:
        return name.partition(":")[0]
    may_be_there = any(Path(driver).exists() for driver in DRIVERS) or shutil.which("nvidia-smi")
    if not may_be_there and "torch" not in sys.modules:
        return "cpu"
    from plain_vs_residual.executors.machine import choose_device

    return choose_device(None).type
