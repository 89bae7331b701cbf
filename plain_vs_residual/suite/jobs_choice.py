"""How many runs one GPU trains at once: the number with which the plan would end soonest, measured.

Thin networks leave most of a GPU idle, but processes take turns on it. Whether several at once gain anything
depends on the device, so one, two and four processes are tried, each on the deepest and the widest network.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import Model
from plain_vs_residual.suite.fast_path import TrialSteps, deepest_and_widest
from plain_vs_residual.suite.machine import all_devices, environment
from plain_vs_residual.suite.suite import Suite
from plain_vs_residual.suite.workers import Workers
from plain_vs_residual.training.execution import Recorded
from plain_vs_residual.training.loop import Monitor
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.schedule import num_iterations

NUMBERS = (1, 2, 4)
WINDOW_SECONDS = 4.0
WORTH_IT = 1.1  # by how much several at once must be quicker than one
PATIENCE_SECONDS = 120.0  # for the other processes to be ready


class JobsChoice(Model):
    """How many runs are trained at once on a device, and why."""

    device: str
    torch: str
    execution: str
    jobs: int
    relative_seconds: dict[int, float] = Field(description="Time of the plan by number of runs at once; 1 is one.")

    def line(self) -> str:
        """Say what was chosen, in one line."""
        shares = ", ".join(f"{share:.2f} with {num}" for num, share in self.relative_seconds.items())
        return f"{self.jobs} runs at once: relative time of the plan {shares}"


def jobs_for(suite: Suite, say: Callable[[str], None] = print) -> int:
    """Return how many runs to train at once: one per GPU, or on a single GPU as many as are worth it."""
    pending = [run for run in suite.plan() if not run.folder.finished]
    devices = all_devices(suite.device)
    if len(devices) > 1 or len(pending) < 2 * max(NUMBERS):
        return len(devices)
    path, here = suite.results / suite.setting.name / "jobs.json", environment(suite.device)
    try:
        known = JobsChoice.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        known = None  # it is measured anew
    if known and (known.device, known.torch, known.execution) == (here.device_name, here.torch, suite.execution):
        return known.jobs
    say(
        "note: how many runs at once are the quickest on this device is measured first; that takes a minute or two"
    )
    networks = deepest_and_widest(pending, suite.dataset)
    seconds = {num: _plan_seconds(suite, networks, num) for num in NUMBERS}
    choice = JobsChoice(
        device=here.device_name,
        torch=here.torch,
        execution=suite.execution,
        jobs=best(seconds),
        relative_seconds={num: round(taken / (seconds[1] or taken), 3) for num, taken in seconds.items() if taken},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, choice.model_dump(mode="json"))
    say(choice.line())
    return choice.jobs


def best(seconds: dict[int, float | None]) -> int:
    """Return the number with the shortest time, or one at a time where that is hardly longer.

    >>> best({1: 100.0, 2: 80.0, 4: None}), best({1: 100.0, 2: 95.0, 4: 130.0})
    (2, 1)
    """
    one = seconds[1]
    quickest = min((num for num, taken in seconds.items() if taken), key=lambda num: seconds[num] or 0, default=1)
    return quickest if one and one > WORTH_IT * (seconds[quickest] or one) else 1


def _plan_seconds(suite: Suite, networks: Sequence[Run], num: int) -> float | None:
    """Return how long one run of each network would take with ``num`` at once; None if they do not fit."""
    total = 0.0
    for run in networks:
        with tempfile.TemporaryDirectory() as folder:
            datasets = {run.setting.split: suite.dataset_of(run)}
            trial = replace(run, folder=RunFolder(Path(folder) / str(num)))
            try:
                with Workers(num, datasets, all_devices(suite.device), steps_for_a_while) as workers:
                    for future in [workers.submit(trial) for _ in range(num)]:
                        future.result()
            except (ValueError, RuntimeError, TimeoutError):
                return None
            steps_per_second = sum(float(path.read_text()) for path in Path(folder).glob("speed-*"))
        total += num_iterations(run.setting, len(suite.dataset_of(run).training)) / steps_per_second
    return total


def steps_for_a_while(run: Run, dataset: Dataset, monitor: Monitor, stops: Callable[[], bool]) -> None:
    """Take steps while the other processes do, and write down how many per second.

    The processes find each other in a folder; the name of the run's own says how many there are.
    """
    steps = TrialSteps(run, dataset, run.execution)
    iteration = Recorded.WARM_UP + 2
    steps.take(0, iteration)
    meeting, num = run.folder.path.parent, int(run.folder.name)
    (meeting / f"ready-{os.getpid()}").touch()
    began_at = time.perf_counter()
    while len(list(meeting.glob("ready-*"))) < num:
        if stops() or time.perf_counter() - began_at > PATIENCE_SECONDS:
            raise TimeoutError("the other processes are not ready")
        time.sleep(0.01)
    first, began_at = iteration, time.perf_counter()
    while (seconds := time.perf_counter() - began_at) < WINDOW_SECONDS:
        steps.take(iteration, iteration + 5)
        iteration += 5
    (meeting / f"speed-{os.getpid()}").write_text(str((iteration - first) / seconds))
