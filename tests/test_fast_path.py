"""Fast paths: compared with the eager step before anything is trained, timed, and one for all runs of a plan."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plain_vs_residual.recipe import Execution
from plain_vs_residual.suite import execution_choice, fast_path, jobs_choice
from plain_vs_residual.suite.execution_choice import StepTime, allowed, choose_for, measure
from plain_vs_residual.suite.fast_path import Check, TrialSteps, deepest_and_widest
from plain_vs_residual.training import execution
from tests.test_training import train_all

CUDA = torch.device("cuda")


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
    run = suite.plan()[0]
    return Check(run, suite.dataset_of(run))


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
    make_suite: Any, recorder: Any, kind: Any, words: str
) -> None:
    recorder(kind)
    said: list[str] = []
    suite = choose_for(make_suite("plain18", "residual18-A"), Execution.GRAPH, said.append)
    assert {run.execution for run in suite.plan()} == {Execution.EAGER}
    assert len(said) == 1
    assert "\n" not in said[0]
    assert words in said[0]
    assert "all runs are trained eagerly" in said[0]


def test_what_was_asked_for_is_used_where_it_computes_the_same(make_suite: Any, recorder: Any) -> None:
    recorder(CallsAgain)
    said: list[str] = []
    suite = choose_for(make_suite("plain18"), Execution.GRAPH, said.append)
    assert suite.execution is Execution.GRAPH
    assert said == []


def test_auto_is_eager_on_a_cpu_and_stays_what_recorded_runs_used(make_suite: Any, recorder: Any) -> None:
    recorder(CallsAgain)
    assert choose_for(make_suite("plain18"), None, print).execution is Execution.EAGER
    train_all(make_suite("plain18", execution=Execution.GRAPH))
    assert choose_for(make_suite("plain18", "residual18-A"), None, print).execution is Execution.GRAPH


def test_on_cuda_the_quickest_is_measured_once_per_results_folder(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SimpleNamespace(device_name="some GPU", torch="2.11")
    monkeypatch.setattr(execution_choice, "environment", lambda _: here)
    measured: list[str] = []

    def times(run: Any, dataset: Any, tried: Execution) -> StepTime:
        measured.append(tried)
        ms = {"eager": 9.0, "graph": 5.0, "compile": 8.0, "compile+graph": 4.0}[tried]
        seconds = 30.0 if tried.compiled else 1.0
        return StepTime(
            network=run.name, execution=tried, setup_seconds=seconds, ms_per_step=ms, iterations=20_000
        )

    monkeypatch.setattr(execution_choice, "_time", times)
    monkeypatch.setattr(
        execution_choice, "Check", lambda run, _: SimpleNamespace(run=run, dataset=None, fault=fault)
    )
    monkeypatch.setattr(execution_choice, "allowed", lambda *_: list(Execution))
    faults: dict[str, str] = {}

    def fault(tried: Execution) -> str:
        return faults.get(tried, "")

    suite = replace(make_suite("plain18"), device=CUDA)
    # 20,000 iterations: 100 s + 1 s recorded, 80 s + 30 s compiled and recorded.
    assert choose_for(suite, None, print).execution is Execution.GRAPH
    assert set(measured) == set(Execution)
    measured.clear()
    assert choose_for(suite, None, print).execution is Execution.GRAPH
    assert measured == []
    here.torch = "2.12"
    faults["graph"] = "plain18: differs"
    said: list[str] = []
    assert choose_for(suite, None, said.append).execution is Execution.COMPILE_AND_GRAPH
    assert "graph left out: plain18: differs" in said[-1]


def test_the_time_for_trials_is_limited(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_choice, "BUDGET_SECONDS", -1.0)
    suite = make_suite("plain18")
    choice = measure(suite, suite.plan(), list(Execution))
    assert choice.execution is Execution.EAGER
    assert set(choice.left_out) == {"graph", "compile", "compile+graph"}
    assert choice.times[0].ms_per_step > 0
    assert choice.times[0].iterations == 12


def test_what_a_device_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_choice, "compiler", lambda: "g++")
    assert allowed(torch.device("cpu"), "bf16") == ["eager", "compile"]
    assert allowed(CUDA, "bf16") == ["eager", "graph", "compile", "compile+graph"]
    assert allowed(CUDA, "fp16") == ["eager", "compile"]
    monkeypatch.setattr(execution_choice, "compiler", lambda: None)
    assert allowed(CUDA, "bf16") == ["eager", "graph"]


def test_the_deepest_and_the_widest_stand_for_the_plan(make_suite: Any) -> None:
    suite = make_suite("plain18", "residual34-A", "cifar-plain20", "cifar-residual56-A")
    suite = replace(suite, setting=suite.setting.with_changes({"stem_width": 32}))
    names = [run.architecture.name for run in deepest_and_widest(suite.plan(), suite.dataset)]
    assert names == ["cifar-residual56-A", "residual34-A"]


def test_runs_at_once_are_measured_in_processes(
    make_suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_choice, "NUMBERS", (1, 2))
    monkeypatch.setattr(jobs_choice, "WINDOW_SECONDS", 0.3)
    said: list[str] = []
    suite = make_suite("plain18", seeds=4)
    jobs = jobs_choice.jobs_for(suite, said.append)
    assert f"{jobs} runs at once" in said[-1]
    recorded = (suite.results / suite.setting.name / "jobs.json").read_text()
    assert '"relative_seconds"' in recorded
    assert jobs_choice.jobs_for(suite, said.append) == jobs
    assert len(said) == 2  # measured once
    assert jobs_choice.jobs_for(make_suite("plain18"), said.append) == 1  # a single run needs no measurement
