"""One arithmetic for all runs of a plan: precision, and how operations reach the device.

Nothing here is timed: what is fastest is a matter for ``benchmarks/``, and what is recorded must not hang on a
stopwatch. On CUDA the default is a graph of fused kernels, compared with eager steps before it is used.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.executors.executor import DatasetOf
from plain_vs_residual.executors.fast_path import EagerSteps, deepest_and_widest
from plain_vs_residual.executors.machine import all_devices, choose_execution, choose_precision, refusal
from plain_vs_residual.executors.memory import within_memory
from plain_vs_residual.executors.ranks import check_shares
from plain_vs_residual.executors.sharing import Sharing
from plain_vs_residual.ledger import Ledger
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.store import read_run
from plain_vs_residual.run import Job, Run
from plain_vs_residual.training.native_step import misfit
from plain_vs_residual.training.place import Place


@dataclass(frozen=True)
class ComputeOptions:
    """How and where somebody wants runs to be computed; what is None is chosen to suit the machine.

    Attributes:
        device: ``cpu``, ``cuda`` (all GPUs), ``cuda:N`` or ``mps``.
        precision: in which networks compute.
        execution: how operations reach the device.
        deterministic: whether only algorithms that give equal bytes may be used.
        jobs: how many runs at once.
        devices_per_run: how many devices share each batch of a run.
        cluster: address of a Ray cluster that trains the runs instead of this machine.
        rerun: whether recorded runs may be trained anew, so that finished ones count as pending.
        data: where the images are, if not where the setting has them; for the cluster, which reads them anew.
    """

    device: str | None = None
    precision: str | None = None
    execution: str | None = None
    deterministic: bool = False
    jobs: int | None = None
    devices_per_run: int = 1
    cluster: str | None = None
    rerun: bool = False
    data: Path | None = None


def choose_arithmetic(
    runs: Sequence[Run],
    ledger: Ledger,
    dataset_of: DatasetOf,
    device: torch.device,
    wanted: ComputeOptions,
    sharing: Sharing,
    say: Callable[[str], None],
) -> list[Job]:
    """Make jobs with one arithmetic, so that the members of every pair compute alike.

    Its execution is what was asked for; else what recorded runs used, if this machine has it; else the default. If
    that turns out to compute something else than eager steps, all runs are eager. Runs that note their first
    iterations are neither compiled nor native, and if one run does not fit native steps, none is. Runs with
    another optimizer than SGD are eager whatever the others are: no claim compares them with those.

    Args:
        runs: all that are planned.
        ledger: where they are recorded.
        dataset_of: gives the images of a run.
        device: of this machine; ``cuda`` stands for all its GPUs.
        wanted: what was asked for.
        sharing: how many threads and devices a run has.
        say: prints a line if a fast execution is not used because it computes something else.

    Raises:
        ValueError: if something is asked for that this machine does not have, or that does not go together.
    """
    precision = choose_precision(wanted.precision, device)
    execution = _wanted_execution(runs, wanted.execution, sharing.devices)
    if execution is None:
        recorded = _recorded(map(ledger.folder, runs))
        execution = recorded if recorded and not refusal(recorded, device) else None
    arithmetic = Arithmetic(
        precision=precision,
        execution=choose_execution(execution, device),
        deterministic=wanted.deterministic,
        devices=sharing.devices,
        threads=sharing.threads,
    )
    jobs = ledger.jobs(runs, arithmetic)
    others = {run.setting.optimizer for run in runs if run.setting.eager_alone}
    if others and arithmetic.execution is not Execution.EAGER:
        names = " and ".join(sorted(others))
        say(f"note: --execution {arithmetic.execution} is made for sgd; runs with {names} are trained eagerly")
    pending = [job for job in jobs if wanted.rerun or not job.folder.finished]
    place = Place(all_devices(device)[0])
    if reason := _misfit(jobs) or _fault_of(pending, place, dataset_of, arithmetic.execution):
        wish = f"--execution {arithmetic.execution}"
        say(f"note: {wish} cannot be used here ({reason}); all runs are trained eagerly")
        return ledger.jobs(runs, arithmetic.model_copy(update={"execution": Execution.EAGER}))
    return jobs


def _wanted_execution(runs: Sequence[Run], wanted: str | None, num_devices: int) -> str | None:
    """Return the execution that was asked for; several devices per run compute eagerly if none was."""
    if num_devices == 1:
        return wanted
    for run in runs:
        check_shares(run, num_devices)
    if wanted and (Execution(wanted).recorded or wanted == Execution.NATIVE):
        what = "a graph has" if Execution(wanted).recorded else "native steps have"
        raise ValueError(
            f"--execution {wanted}: {what} not been tried with several devices per run; leave the option out"
        )
    return wanted or Execution.EAGER


def _recorded(folders: Iterable[RunFolder]) -> Execution | None:
    """Return the execution that recorded runs used, if it is one for all of them."""
    found = set()
    for folder in folders:
        try:
            recorded = read_run(folder) if folder.run.exists() else None
        except ValueError:
            continue  # a damaged record is named when the runs are checked
        # What cannot be computed fast says nothing of how the others were.
        if recorded and not (recorded.configuration.probe_iterations or recorded.configuration.eager_alone):
            found.add(recorded.arithmetic.execution)
    return found.pop() if len(found) == 1 else None


def _misfit(jobs: Sequence[Job]) -> str:
    """Name the first run that native steps were asked for and are not made for, and say why; empty if all fit."""
    for job in jobs:
        if job.arithmetic.execution is Execution.NATIVE:
            reason = misfit(job.run.architecture, job.run.setting, job.arithmetic.precision)
            if reason:
                return f"{job.run.architecture.name}: {reason}"
    return ""


def _fault_of(jobs: Sequence[Job], place: Place, dataset_of: DatasetOf, execution: Execution) -> str:
    """Say what a fast execution computes otherwise on the deepest and the widest network; empty if nothing."""
    if execution is Execution.EAGER:
        return ""
    jobs = [job for job in jobs if job.arithmetic.execution is not Execution.EAGER]  # which may not fit
    fault = ""
    for job in deepest_and_widest(jobs, dataset_of):  # the second is tried only if the first passed
        with within_memory(job.run, place.device):
            fault = fault or EagerSteps(job, place, dataset_of(job.run)).fault(execution)
        if place.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()  # the processes that train need this memory
    return fault
