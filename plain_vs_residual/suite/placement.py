"""Where the runs of a suite are trained: how many at once, on how many devices each, and how these compute."""

from dataclasses import replace

from plain_vs_residual.group import launched
from plain_vs_residual.recipe import Execution
from plain_vs_residual.suite.execution_choice import choose_for
from plain_vs_residual.suite.jobs_choice import jobs_for
from plain_vs_residual.suite.machine import all_devices, share_cores
from plain_vs_residual.suite.ranks import ByDevices, check_shares
from plain_vs_residual.suite.suite import Suite


def place(suite: Suite, wanted: Execution | None, jobs: int | None, devices_per_run: int) -> tuple[Suite, int]:
    """Return the suite with execution and devices chosen, and how many runs to train at once.

    Args:
        suite: what is to be trained.
        wanted: the execution that was asked for; None for the quickest.
        jobs: how many runs at once were asked for; None for as many as suit the machine.
        devices_per_run: how many devices share each batch; under torchrun as many as there are processes.

    Raises:
        ValueError: if the devices cannot share the batch, or are not here.
    """
    num_devices = max(launched().size, devices_per_run)
    if num_devices > 1:
        suite = _shared(suite, wanted, num_devices)
        if launched().size > 1:
            return suite, 1
        jobs = jobs or max(1, len(all_devices(suite.device)) // num_devices)
    else:
        suite = choose_for(suite, wanted)
        if jobs is None and suite.device.type == "cuda":
            jobs = jobs_for(suite)
    return suite, share_cores(jobs, suite.device)


def _shared(suite: Suite, wanted: Execution | None, num_devices: int) -> Suite:
    for run in suite.plan():
        check_shares(run, num_devices)
    here = len(all_devices(suite.device))
    if suite.device.type == "cuda" and launched().size == 1 and num_devices > here:
        raise ValueError(
            f"--devices-per-run {num_devices}: this machine offers {here}; start the command by torchrun to join "
            "several machines (docs/scale.md)"
        )
    if wanted and wanted.recorded:
        raise ValueError(
            f"--execution {wanted}: a graph has not been tried with several devices per run; leave the option out"
        )
    suite = choose_for(suite, wanted or Execution.EAGER)
    return replace(suite, devices_per_run=num_devices, work=ByDevices(num_devices))
