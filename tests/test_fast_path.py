"""Fast paths: compared with the eager step before anything is trained, timed, and one for all runs of a plan."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors import common_arithmetic, fast_path, machine
from plain_vs_residual.executors.common_arithmetic import ComputeOptions
from plain_vs_residual.executors.fast_path import EagerSteps, TrialSteps, deepest_and_widest
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.run import Job
from plain_vs_residual.training import execution
from plain_vs_residual.training.place import Place
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


def check_of(suite: Any) -> EagerSteps:
    job = suite.plan()[0]
    return EagerSteps(job, suite.place, suite.dataset_of(job))


@pytest.fixture
def chosen_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Execution]:
    """Return a function that says in which execution the suite would train, as if the device had them all."""
    monkeypatch.setattr(machine, "refusal", lambda *_: "")
    monkeypatch.setattr(common_arithmetic, "refusal", lambda *_: "")

    def chosen(
        suite: Any, wanted: str | None, say: Callable[[str], None] = print, *, rerun: bool = False
    ) -> Execution:
        runs = suite.selection.plan()
        computing = ComputeOptions(device="cpu", precision="fp32", execution=wanted, rerun=rerun)
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


def test_a_distance_is_in_units_of_the_step_and_over_the_tensors_that_are_named() -> None:
    before = {"a": torch.zeros(2), "b": torch.zeros(1), "c": torch.zeros(1)}
    eager = {"a": torch.tensor([2.0, 4.0]), "b": torch.tensor([4.0]), "c": torch.tensor([100.0])}
    other = {"a": torch.tensor([4.0, 0.0]), "b": torch.tensor([0.0]), "c": torch.tensor([0.0])}
    # The step is of length sqrt(4 + 16 + 16) = 6, and the two are sqrt(4 + 16 + 16) = 6, or for b alone 4, apart.
    assert fast_path._distance(before, eager, other, ["a", "b"]) == pytest.approx(1.0)
    assert fast_path._distance(before, eager, other, ["a"]) == pytest.approx(1.0)
    halfway = {"a": torch.tensor([2.0, 1.0]), "b": torch.tensor([4.0])}
    assert fast_path._distance(before, eager, halfway, ["a", "b"]) == pytest.approx(0.5)
    assert fast_path._distance(before, before, before, ["a", "b"]) == 0.0
    assert fast_path._distance(before, before, other, ["a"]) == float("inf")


def test_values_that_are_no_numbers_are_caught(
    make_suite: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(CallsAgain)
    check = check_of(make_suite("residual18-A"))
    monkeypatch.setattr(fast_path, "_distance", lambda *_: float("nan"))
    assert "nan times" in check.fault(Execution.GRAPH)
    distances = iter([0.0] * 5 + [float("nan")] + [0.0] * 100)  # one of many is enough
    monkeypatch.setattr(fast_path, "_distance", lambda *_: next(distances))
    assert "nan times" in check.fault(Execution.GRAPH)


# What is accepted, as a multiple of how far the same step in another precision is from the eager one.
ACCEPTED: dict[Precision, tuple[float, Precision]] = {
    "fp32": (0.5, "bf16"),
    "tf32": (0.5, "bf16"),
    "bf16": (1.5, "fp32"),
    "fp16": (1.5, "fp32"),
}
NAMES = ("conv1.weight", "0.momentum_buffer", "bn1.running_mean", "bn1.running_var")


class MadeUpSteps:
    """Takes the place of trial steps: one number per tensor, which grows by one in each iteration.

    In another precision, everything is a tenth farther. A fast step is ``times`` a tenth farther in ``names``.
    """

    times = 0.0
    names: tuple[str, ...] = NAMES

    def __init__(self, job: Job, place: Place, dataset: Dataset, execution: Execution) -> None:
        self.precision, self.execution = job.arithmetic.precision, execution

    def states(self, starts: Any = None) -> Iterator[dict[str, torch.Tensor]]:
        another = starts is not None and self.execution is Execution.EAGER
        if another:
            precisions.append(self.precision)
        off = {
            name: 0.1 if another else 0.1 * self.times * (starts is not None and name in self.names)
            for name in NAMES
        }
        for iteration in range(4):
            values = {name: torch.full((2,), iteration + off[name] * (iteration > 0)) for name in NAMES}
            yield values | {"bn1.num_batches_tracked": torch.tensor(iteration)}


precisions: list[str] = []  # in which eager steps were taken beside those of the run


def fault_of(suite: Any, monkeypatch: pytest.MonkeyPatch, times: float, names: tuple[str, ...] = NAMES) -> str:
    precisions.clear()
    monkeypatch.setattr(fast_path, "TrialSteps", MadeUpSteps)
    monkeypatch.setattr(MadeUpSteps, "times", times)
    monkeypatch.setattr(MadeUpSteps, "names", names)
    return check_of(suite).fault(Execution.GRAPH)


@pytest.mark.parametrize("precision", ACCEPTED)
def test_a_fast_step_may_be_as_far_from_the_eager_one_as_was_measured_and_no_farther(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    accepted, other = ACCEPTED[precision]
    suite = make_suite("residual18-A", precision=precision)
    assert fault_of(suite, monkeypatch, 0.98 * accepted) == ""
    assert precisions == [other]
    too_far = fault_of(suite, monkeypatch, 1.2 * accepted)
    assert f"its step is {1.2 * accepted:.1f} times as far from the eager one" in too_far
    assert f"{accepted:g} times is accepted" in too_far


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_tensor_that_a_step_changes_is_compared(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The two kinds, what is trained and BN statistics, have two tensors each, hence the root of two."""
    suite = make_suite("residual18-A", precision="bf16")
    assert fault_of(suite, monkeypatch, 1.4 * 2**0.5, (name,)) == ""
    assert f"{1.6:.1f} times as far" in fault_of(suite, monkeypatch, 1.6 * 2**0.5, (name,))


def test_trial_steps_hand_out_weights_statistics_and_momentum_of_seven_iterations(make_suite: Any) -> None:
    job = make_suite("residual18-A").plan()[0]
    suite = make_suite("residual18-A")
    steps = TrialSteps(job, suite.place, suite.dataset, Execution.EAGER)
    states = list(steps.states())
    assert len(states) == 1 + 3 + 4  # the first; three warm up, one is recorded, three are replayed
    network = steps.trainer.network
    momenta = [name for name in states[-1] if name.endswith("momentum_buffer")]
    assert len(momenta) == len(list(network.parameters()))
    assert set(network.state_dict()) == set(states[-1]) - set(momenta)
    for name in ("conv1.weight", "bn1.running_mean", "bn1.running_var", momenta[0]):
        for before, after in pairwise(states[1:]):
            assert not torch.equal(before[name], after[name]), name
    assert [steps.stepper.rate_of(iteration) for iteration in range(3)] == [0.02, 0.01, 0.02]


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


def test_finished_runs_that_may_be_trained_anew_are_checked_too(
    make_suite: Any, recorder: Any, chosen_for: Any
) -> None:
    """Else --rerun after a change of a fast path would train with what was never compared."""
    recorder(CallsAgain)
    suite = make_suite("plain18", execution=Execution.GRAPH)
    train_all(suite)
    recorder(DoesNothing)
    assert chosen_for(suite, "graph") is Execution.GRAPH  # nothing is to be trained
    assert chosen_for(suite, "graph", rerun=True) is Execution.EAGER


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
    monkeypatch.setattr(machine, "instructions", lambda: ("-mavx2",))
    monkeypatch.setattr(machine, "has_triton", lambda: True)
    assert allowed("cpu") == ["eager", "compile", "native"]
    assert allowed("cuda") == ["eager", "graph", "fused+graph", "compile", "compile+graph"]
    monkeypatch.setattr(machine, "compiler", lambda: None)
    monkeypatch.setattr(machine, "has_triton", lambda: False)
    assert allowed("cuda") == ["eager", "graph"]
    assert allowed("cpu") == ["eager"]


def test_the_deepest_and_the_widest_stand_for_the_plan(make_suite: Any) -> None:
    suite = make_suite("plain18", "residual34-A", "cifar-plain20", "cifar-residual56-A")
    suite = replace(suite, setting=suite.setting.with_changes({"stem_width": 32}))
    names = [job.run.architecture.name for job in deepest_and_widest(suite.plan(), suite.split)]
    assert names == ["cifar-residual56-A", "residual34-A"]
    assert deepest_and_widest([], suite.split) == []
