"""Fast paths: compared with the eager step before anything is trained, timed, and one for all runs of a plan."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from plain_vs_residual.arithmetic import Execution
from plain_vs_residual.executors import common_arithmetic, fast_path, machine
from plain_vs_residual.executors.common_arithmetic import ComputeOptions
from plain_vs_residual.executors.fast_path import Check, TrialSteps, deepest_and_widest
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.training import execution
from tests.test_training import train_all


class CallsAgain:
    """Takes the place of a recorder: it calls the step again, as a graph does its operations again."""

    def warm_up(self, function: Callable[[], None]) -> None:
        function()

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        return function


class DoesNothing(CallsAgain):
    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class CannotRecord(CallsAgain):
    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda kind: monkeypatch.setattr(execution, "CudaGraphRecorder", kind)


def check_of(suite: Any) -> Check:
    job = suite.plan()[0]
    return Check(job, suite.place, suite.dataset_of(job))


@pytest.fixture
def chosen_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Execution]:
    """Return a function that says in which execution the suite would train, as if the device had them all."""
    monkeypatch.setattr(machine, "refusal", lambda *_: "")
    monkeypatch.setattr(common_arithmetic, "refusal", lambda *_: "")

    def chosen(suite: Any, wanted: str | None, say: Callable[[str], None] = print) -> Execution:
        runs = suite.selection.plan()
        computing = ComputeOptions(device="cpu", precision="fp32", execution=wanted)
        executions = {
            job.arithmetic.execution
            for job in choose_placement(runs, suite.ledger, suite.dataset, computing, say).jobs
        }
        assert len(executions) == 1
        return executions.pop()

    return chosen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_that_computes_the_same_passes(make_suite: Any, recorder: Any, precision: str) -> None:
    recorder(CallsAgain)
    assert check_of(make_suite("residual18-A", precision=precision)).fault(Execution.GRAPH) == ""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_that_is_not_replayed_is_caught(make_suite: Any, recorder: Any, precision: str) -> None:
    recorder(DoesNothing)
    fault = check_of(make_suite("residual18-A", precision=precision)).fault(Execution.GRAPH)
    assert "times as far from the eager one as rounding takes it" in fault


def test_a_graph_that_keeps_its_first_images_is_caught(
    make_suite: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(CallsAgain)
    check = check_of(make_suite("residual18-A"))
    first: dict[int, Any] = {}
    as_it_is = execution.Recorded.__call__

    def stale(self: Any, *inputs: Any) -> None:
        as_it_is(self, *first.setdefault(id(self), inputs))

    monkeypatch.setattr(execution.Recorded, "__call__", stale)
    assert "times as far" in check.fault(Execution.GRAPH)


def test_a_graph_that_keeps_its_first_learning_rate_is_caught(
    make_suite: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(CallsAgain)
    check = check_of(make_suite("residual18-A"))
    monkeypatch.setattr(
        TrialSteps,
        "take",
        lambda self, begin, end, take=TrialSteps.take: (
            setattr(self.stepper, "rate_of", lambda _: self.run.setting.learning_rate),
            take(self, begin, end),
        ),
    )
    assert "times as far" in check.fault(Execution.GRAPH)


def test_values_that_are_no_numbers_are_caught(
    make_suite: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(CallsAgain)
    check = check_of(make_suite("residual18-A"))
    monkeypatch.setattr(fast_path, "_distance", lambda *_: float("nan"))
    assert "nan times" in check.fault(Execution.GRAPH)


@pytest.mark.parametrize(
    ("kind", "words"), [(CannotRecord, "not permitted when stream is capturing"), (DoesNothing, "times as far")]
)
def test_a_fault_is_said_in_one_line_and_all_runs_are_eager(
    make_suite: Any, recorder: Any, chosen_for: Any, kind: Any, words: str
) -> None:
    recorder(kind)
    said: list[str] = []
    assert chosen_for(make_suite("plain18", "residual18-A"), "graph", said.append) is Execution.EAGER
    assert len(said) == 1
    assert "\n" not in said[0]
    assert words in said[0]
    assert "all runs are trained eagerly" in said[0]


def test_what_was_asked_for_is_used_where_it_computes_the_same(
    make_suite: Any, recorder: Any, chosen_for: Any
) -> None:
    recorder(CallsAgain)
    said: list[str] = []
    assert chosen_for(make_suite("plain18"), "graph", said.append) is Execution.GRAPH
    assert said == []


def test_the_default_is_eager_on_a_cpu_and_stays_what_recorded_runs_used(
    make_suite: Any, recorder: Any, chosen_for: Any
) -> None:
    recorder(CallsAgain)
    assert chosen_for(make_suite("plain18"), None) is Execution.EAGER
    train_all(make_suite("plain18", execution=Execution.GRAPH))
    assert chosen_for(make_suite("plain18", "residual18-A"), None) is Execution.GRAPH
    assert chosen_for(make_suite("plain18", "residual18-A"), "eager") is Execution.EAGER


def test_what_recorded_runs_used_gives_way_where_the_device_does_not_have_it(
    make_suite: Any, recorder: Any
) -> None:
    recorder(CallsAgain)
    suite = make_suite("plain18", "residual18-A")
    train_all(make_suite("plain18", execution=Execution.GRAPH))
    placed = choose_placement(
        suite.selection.plan(), suite.ledger, suite.dataset, ComputeOptions(device="cpu", precision="fp32")
    )
    assert {job.arithmetic.execution for job in placed.jobs} == {Execution.EAGER}


def test_on_cuda_the_default_is_a_graph_and_no_stopwatch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for triton, expected in ((False, Execution.GRAPH), (True, Execution.FUSED_AND_GRAPH)):
        monkeypatch.setattr(machine, "has_triton", lambda found=triton: found)
        monkeypatch.setattr(execution, "has_triton", lambda found=triton: found)
        assert machine.choose_execution(None, torch.device("cuda")) is expected
        assert machine.choose_execution(None, torch.device("cpu")) is Execution.EAGER


def test_what_a_device_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    def allowed(device: str) -> list[str]:
        return [one for one in Execution if not machine.refusal(one, torch.device(device))]

    monkeypatch.setattr(machine, "compiler", lambda: "g++")
    monkeypatch.setattr(machine, "has_triton", lambda: True)
    assert allowed("cpu") == ["eager", "compile"]
    assert allowed("cuda") == ["eager", "graph", "fused+graph", "compile", "compile+graph"]
    monkeypatch.setattr(machine, "compiler", lambda: None)
    monkeypatch.setattr(machine, "has_triton", lambda: False)
    assert allowed("cuda") == ["eager", "graph"]


def test_the_deepest_and_the_widest_stand_for_the_plan(make_suite: Any) -> None:
    suite = make_suite("plain18", "residual34-A", "cifar-plain20", "cifar-residual56-A")
    suite = replace(suite, setting=suite.setting.with_changes({"stem_width": 32}))
    names = [job.run.architecture.name for job in deepest_and_widest(suite.plan(), suite.split)]
    assert names == ["cifar-residual56-A", "residual34-A"]
    assert deepest_and_widest([], suite.split) == []
