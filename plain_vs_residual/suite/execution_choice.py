"""Which execution a suite uses: as asked, as its recorded runs did, or the quickest on this device.

The choice is one for all runs of the plan, so that the members of every pair compute alike. The quickest is
measured on the deepest and on the widest network of the plan: setting up and all iterations, as a run would need
them. It is kept in ``results/<setting>/execution.json``, and measured again for another device, version or
precision.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import Field, ValidationError

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.recipe import Execution, Precision
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.models import Model
from plain_vs_residual.records.store import read_run
from plain_vs_residual.suite.fast_path import Check, TrialSteps, deepest_and_widest
from plain_vs_residual.suite.machine import compiler, environment
from plain_vs_residual.suite.suite import Suite
from plain_vs_residual.training.execution import Recorded
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.schedule import num_iterations

TIMED = 20
SET_UP = Recorded.WARM_UP + 2  # the iteration that records, and one that replays
BUDGET_SECONDS = 100.0  # no further execution is begun after that, so that all of it stays under two minutes


class StepTime(Model):
    """How long one network takes in one execution."""

    network: str
    execution: Execution
    setup_seconds: float = Field(description="Until the first step at full speed: compiling, recording.")
    ms_per_step: float
    iterations: int = Field(description="Of the run.")

    @property
    def run_seconds(self) -> float:
        """Seconds that a run would take, without its evaluations."""
        return self.setup_seconds + self.iterations * self.ms_per_step / 1000


class Choice(Model):
    """The execution that was chosen on a device, and why."""

    device: str
    torch: str
    precision: Precision
    deterministic: bool
    execution: Execution
    times: list[StepTime]
    left_out: dict[str, str] = Field(description="Executions that were not timed to the end, with the reason.")

    def line(self) -> str:
        """Say what was chosen, in one line."""
        times = [
            f"{one.network} {one.ms_per_step:.2f} ms per step"
            + (f" and {one.setup_seconds:.0f} s to set up" if one.execution.compiled else "")
            + f" ({one.execution})"
            for one in self.times
        ]
        left_out = [f"{name} left out: {reason}" for name, reason in self.left_out.items()]
        return f"execution {self.execution} is the quickest here: {'; '.join([*times, *left_out])}"


def choose_for(suite: Suite, wanted: Execution | None, say: Callable[[str], None] = print) -> Suite:
    """Return the suite with the execution that all its runs will use.

    Args:
        suite: what is to be trained.
        wanted: the execution that was asked for; None for the one that recorded runs of the plan have used, else
            the quickest.
        say: prints a line.
    """
    runs = suite.plan()
    pending = [run for run in runs if not run.folder.finished]
    recorded = _recorded_execution(runs)
    if wanted is None and recorded is None and pending and suite.device.type == "cuda":
        return replace(suite, execution=_quickest(suite, pending, say))
    execution = wanted or recorded or Execution.EAGER
    if execution is not Execution.EAGER and pending:
        for run in deepest_and_widest(pending, suite.dataset):
            if fault := Check(run, suite.dataset_of(run)).fault(execution):
                say(f"note: --execution {execution} cannot be used here ({fault}); all runs are trained eagerly")
                return replace(suite, execution=Execution.EAGER)
    return replace(suite, execution=execution)


def _recorded_execution(runs: Iterable[Run]) -> Execution | None:
    """Return the execution that the recorded runs of a plan used, if it is one for all of them."""
    found = set()
    for run in runs:
        try:
            if run.folder.run.exists() and not run.setting.probe_iterations:
                found.add(read_run(run.folder).configuration.execution)
        except ValueError:
            continue  # a damaged record is named when the runs are checked
    return found.pop() if len(found) == 1 else None


def _quickest(suite: Suite, runs: Sequence[Run], say: Callable[[str], None]) -> Execution:
    """Return the quickest execution of the device, from its file or measured now."""
    path = suite.results / suite.setting.name / "execution.json"
    known = _read(path)
    for choice in known:
        if _key(choice) == _key_of(suite):
            return choice.execution
    say("note: which execution is the quickest on this device is measured first; that takes up to two minutes")
    choice = measure(suite, deepest_and_widest(runs, suite.dataset), allowed(suite.device, suite.precision))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"choices": [one.model_dump(mode="json") for one in (*known, choice)]})
    say(choice.line())
    return choice.execution


def _key(choice: Choice) -> tuple[str, str, str, bool]:
    return choice.device, choice.torch, choice.precision, choice.deterministic


def _key_of(suite: Suite) -> tuple[str, str, str, bool]:
    here = environment(suite.device)
    return here.device_name, here.torch, suite.precision, suite.deterministic


class _File(Model):
    choices: list[Choice]


def _read(path: Path) -> list[Choice]:
    try:
        return _File.model_validate_json(path.read_text(encoding="utf-8")).choices
    except (OSError, ValidationError):
        return []  # it is measured anew


def allowed(device: torch.device, precision: Precision) -> list[Execution]:
    """List the executions that a device and a precision allow, the eager one first."""
    return [
        one
        for one in Execution
        if not (one.recorded and (device.type != "cuda" or precision == "fp16"))
        and not (one.compiled and not compiler())
    ]


def measure(suite: Suite, networks: Sequence[Run], executions: Sequence[Execution]) -> Choice:
    """Check and time every execution, and choose the one in which the runs would end soonest."""
    began_at = time.perf_counter()
    checks = [Check(run, suite.dataset_of(run)) for run in networks]  # also makes the device ready
    times: dict[Execution, list[StepTime]] = {}
    left_out: dict[str, str] = {}
    for execution in executions:
        if execution is not Execution.EAGER:
            if time.perf_counter() - began_at > BUDGET_SECONDS:
                left_out[execution.value] = "the time for trials was over"
                continue
            if fault := next(filter(None, (check.fault(execution) for check in checks)), ""):
                left_out[execution.value] = fault
                continue
        times[execution] = [_time(check.run, check.dataset, execution) for check in checks]
    here = environment(suite.device)
    return Choice(
        device=here.device_name,
        torch=here.torch,
        precision=suite.precision,
        deterministic=suite.deterministic,
        execution=min(times, key=lambda execution: sum(one.run_seconds for one in times[execution])),
        times=[one for ones in times.values() for one in ones],
        left_out=left_out,
    )


def _time(run: Run, dataset: Dataset, execution: Execution) -> StepTime:
    began_at = time.perf_counter()
    steps = TrialSteps(run, dataset, execution)
    steps.take(0, SET_UP)
    ready_at = time.perf_counter()
    steps.take(SET_UP, SET_UP + TIMED)
    seconds = time.perf_counter() - ready_at
    return StepTime(
        network=run.architecture.name,
        execution=execution,
        setup_seconds=round(ready_at - began_at, 3),
        ms_per_step=round(1000 * seconds / TIMED, 3),
        iterations=num_iterations(run.setting, len(dataset.training)),
    )
