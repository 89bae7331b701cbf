"""What a person is told before the first run and in its first minutes: what is trained, and how long it takes."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from plain_vs_residual.executors.progress import minutes
from plain_vs_residual.launcher import command
from plain_vs_residual.plan import Selection
from plain_vs_residual.settings import SETTINGS

if TYPE_CHECKING:
    from plain_vs_residual.executors.common_arithmetic import ComputeOptions
    from plain_vs_residual.executors.placement import PlacedJobs
    from plain_vs_residual.ledger import Ledger

LONG_SECONDS = 600.0  # from which on shorter ways are named


def say_why_this_setting(selection: Selection, wanted: "ComputeOptions", *, say_why: bool) -> None:
    """Say why the setting was taken if nobody named it, and whether a GPU is here that torch does not use."""
    from plain_vs_residual.executors.gpus import remarks_on_unused
    from plain_vs_residual.executors.machine import choose_device

    device, setting = choose_device(wanted.device), selection.setting
    if say_why:
        reason = "CUDA is here" if device.type == "cuda" else "no CUDA device is used"
        print(f"setting {setting.name}, because {reason}: {setting.expected}; --setting chooses another")
    for remark in remarks_on_unused(device):
        print(f"note: {remark}")


def say_what_is_trained(selection: Selection, placed: "PlacedJobs", ledger: "Ledger") -> None:
    """Say what is trained on what, and what a reader must know of it."""
    from plain_vs_residual.executors.description import environment
    from plain_vs_residual.executors.gpus import remark_on_precision
    from plain_vs_residual.executors.machine import all_devices

    first, device = placed.jobs[0], all_devices(placed.device)[0]
    dataset, arithmetic = placed.dataset_of(first.run), first.arithmetic
    seeds = f"{len(selection.seeds)} {'seed' if len(selection.seeds) == 1 else 'seeds'}"
    print(
        f"{selection.setting.name} on {dataset.name}: {len(dataset.training):,} training and "
        f"{len(dataset.validation):,} validation images; {seeds}; "
        f"{environment(device).device_name} ({arithmetic.precision}, {arithmetic.execution}); "
        f"records in {ledger.results / selection.setting.name}"
    )
    if arithmetic.execution.compiled:
        print("note: torch.compile takes about a minute per network the first time; later runs use its cache")
    remark = remark_on_precision(device, arithmetic.precision)
    for caveat in filter(None, (remark, dataset.caveat, *dataset.remarks, selection.setting.caveat)):
        print(f"note: {caveat}")


class FirstMinutes:
    """Says, once and as soon as it can be told, how long everything will take, and which ways are shorter.

    Args:
        selection: what is trained.
        names: of experiments, as they were asked for.
        refresh: called as often as this is.
    """

    def __init__(self, selection: Selection, names: Sequence[str], refresh: Callable[[], None]) -> None:
        self.selection = selection
        self.names = names
        self.refresh = refresh
        self.said = False

    def __call__(self, seconds_left: float | None) -> None:
        """Hear how long everything that is left will take."""
        self.refresh()
        if self.said or not seconds_left:  # nothing is left after a single run
            return
        self.said = True
        print(f"  about {minutes(seconds_left)} until all of it is done, at the speed so far", flush=True)
        for line in self._shorter_ways(seconds_left) if seconds_left >= LONG_SECONDS else ():
            print(f"  shorter: {line}", flush=True)

    def _shorter_ways(self, seconds: float) -> Iterator[str]:
        setting, seeds = self.selection.setting, len(self.selection.seeds)
        if seeds > 1:
            line = command(*self.names, "--setting", setting.name, "--seeds", 1)
            yield f"{line} (about {minutes(seconds / seeds)})"
        for other in (SETTINGS[name] for name in setting.publication.shorter):
            time = other.expected
            if other.data == setting.data and other.iterations and setting.iterations:  # the same, but less of it
                if other.iterations >= setting.iterations:
                    continue
                time = f"about {minutes(seconds * other.iterations / setting.iterations)}"
            if any(other.name in experiment.networks for experiment in self.selection.experiments):
                yield f"{command(*self.names, '--setting', other.name)} ({time})"
