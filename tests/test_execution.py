"""Execution: a recorded step equals the eager one, although learning rate and inputs change after recording."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.training import execution, session
from plain_vs_residual.training.execution import CudaGraphRecorder, Recorded, best_execution, executed
from plain_vs_residual.training.precision import prepare_arithmetic, this_process
from plain_vs_residual.training.step import Trainer
from tests.conftest import network_of
from tests.test_training import CLOCKS, train_all

CPU = torch.device("cpu")


class TracingRecorder:
    """Replaces a CUDA graph on the CPU: it records the device operations of a call and replays only those."""

    def __init__(self, written: Callable[[], list[Tensor]]) -> None:
        self.written = written
        self.recorded = self.replayed = 0

    def warm_up(self, function: Callable[[], None]) -> None:
        function()

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        before = [tensor.clone() for tensor in self.written()]
        traced: Any = make_fx(lambda: (function(), torch.zeros(()))[1])()
        with torch.no_grad():
            for tensor, value in zip(self.written(), before, strict=True):
                tensor.copy_(value)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            with torch.no_grad():
                traced()

        return replay


def tensors_of(trainer: Trainer, feed: ResidentFeed) -> list[Tensor]:
    momentum = [state["momentum_buffer"] for state in trainer.optimizer.state.values()]
    totals = [trainer.totals.sums, trainer.totals.last_loss, feed.digest.pixels.value]
    return [*trainer.network.state_dict().values(), *momentum, *totals]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recorded_step_equals_the_eager_one(precision: Any, tiny_setting: Any, tiny_dataset: Any) -> None:
    ends = []
    for recorded in (False, True):
        network = network_of("residual18-B", channels=1, num_classes=3, stem="3x3", stem_width=4, seed=0).to(
            memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        trainer = Trainer(network, tiny_setting, precision)
        feed = ResidentFeed(tiny_dataset, tiny_setting, 0, CPU)
        recorder = TracingRecorder(lambda trainer=trainer, feed=feed: tensors_of(trainer, feed))

        def step(*inputs: Tensor, trainer: Trainer = trainer, feed: ResidentFeed = feed) -> None:
            trainer.step(*feed.batch(*inputs))

        take: Any = Recorded(step, recorder) if recorded else step
        for iteration, inputs in enumerate(feed.inputs(0, 9)):
            trainer.learning_rate.fill_(0.1 / (iteration + 1))
            if iteration == 6:
                trainer.totals.counts()  # reading must not disturb a recording
            take(*inputs)
        assert (recorder.recorded, recorder.replayed) == ((1, 6) if recorded else (0, 0))
        assert trainer.totals.read().error > 0
        ends.append([feed.digest.state()["pixels"], *tensors_of(trainer, feed)])
    assert ends[0][0] == ends[1][0]
    for eager, replayed in zip(ends[0][1:], ends[1][1:], strict=True):
        assert torch.equal(eager, replayed)


def test_a_recorded_step_takes_batches_of_one_size() -> None:
    recorder = TracingRecorder(list)
    step = Recorded(lambda _: None, recorder)
    for _ in range(4):
        step(torch.zeros(3))
    with pytest.raises(AssertionError, match="one size"):
        step(torch.zeros(2))


def test_a_graph_is_the_choice_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    for triton, expected in ((True, "fused+graph"), (False, "graph")):
        monkeypatch.setattr(execution, "has_triton", lambda found=triton: found)
        assert best_execution(CPU) == "eager"
        assert best_execution(cuda) == expected
    assert isinstance(executed(print, Execution.COMPILE_AND_GRAPH), Recorded)
    assert executed(print, Execution.COMPILE) is print


def test_a_run_through_a_recorder_leaves_the_records_of_an_eager_one(
    make_suite: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations, checkpoints and the trace of learning rates must also work around a replayed step."""
    (eager,) = train_all(make_suite("residual18-A", results=tmp_path / "eager"))
    trainers: list[Trainer] = []
    feeds: list[ResidentFeed] = []

    def kept(kind: Any, where: list[Any]) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            where.append(kind(*args, **kwargs))
            return where[-1]

        return make

    monkeypatch.setattr(session, "Trainer", kept(Trainer, trainers))
    monkeypatch.setattr(session, "make_feed", kept(ResidentFeed, feeds))
    recorder = TracingRecorder(lambda: tensors_of(trainers[-1], feeds[-1]))
    monkeypatch.setattr(execution, "CudaGraphRecorder", lambda: recorder)
    (graphed,) = train_all(make_suite("residual18-A", results=tmp_path / "graph", execution=Execution.GRAPH))
    assert recorder.replayed == 9
    first, second = (pd.read_csv(folder.metrics).drop(columns=CLOCKS) for folder in (eager, graphed))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert eager.responses.read_bytes() == graphed.responses.read_bytes()


def test_one_thread_records_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch records one graph at a time in a process; two threads that both trained would stop each other."""
    recording, most = 0, 0

    @contextmanager
    def graph(*_: Any, **__: Any) -> Iterator[None]:
        nonlocal recording, most
        recording += 1
        most = max(most, recording)
        time.sleep(0.02)
        yield
        recording -= 1

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    recorders = [CudaGraphRecorder() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda recorder: recorder.record(lambda: None), recorders))
    assert most == 1


def test_deterministic_arithmetic_fills_no_memory_that_is_about_to_be_written() -> None:
    try:
        prepare_arithmetic(CPU, this_process("fp32", deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    finally:
        prepare_arithmetic(CPU, this_process("fp32"))


def test_what_is_computed_outside_of_a_run_says_how_this_process_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert this_process("bf16") == Arithmetic(precision="bf16", threads=3)
    assert this_process("fp32", deterministic=True) == Arithmetic(precision="fp32", deterministic=True, threads=3)


@pytest.mark.parametrize(("threads", "devices", "own"), [(4, 1, 4), (4, 2, 2), (5, 3, 1), (1, 2, 1)])
def test_the_processes_of_a_run_share_its_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, devices: int, own: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    prepare_arithmetic(torch.device("cpu"), Arithmetic(precision="fp32", threads=threads, devices=devices))
    assert taken == [own]


def test_every_field_of_an_arithmetic_is_compared_but_for_those_left_out() -> None:
    one = Arithmetic(precision="fp32", threads=1)
    others: dict[str, Any] = {"precision": "bf16", "execution": Execution.GRAPH, "deterministic": True}
    others |= {"devices": 2, "threads": 4}
    assert others.keys() == Arithmetic.model_fields.keys()
    for name, value in others.items():
        other = one.model_copy(update={name: value})
        assert one.differences(other) == {name: (getattr(one, name), value)}
        assert one.differences(other, frozenset({name})) == {}


@pytest.mark.parametrize(("precision", "rounding"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
@pytest.mark.parametrize("deterministic", [False, True])
def test_on_cuda_tf32_is_used_where_it_was_asked_for_alone(
    precision: Any, rounding: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of torch's settings, which a build for CPUs has as well."""
    set_to = {"conv": SimpleNamespace(fp32_precision=""), "matmul": SimpleNamespace(fp32_precision="")}
    monkeypatch.setattr(torch.backends.cudnn, "conv", set_to["conv"])
    monkeypatch.setattr(torch.backends.cuda, "matmul", set_to["matmul"])
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", deterministic)  # the other way round
    try:
        arithmetic = this_process(precision, deterministic=deterministic)
        prepare_arithmetic(torch.device("cuda"), arithmetic)
        assert [one.fp32_precision for one in set_to.values()] == [rounding, rounding]
        assert torch.backends.cudnn.benchmark is not deterministic
    finally:
        prepare_arithmetic(CPU, this_process("fp32"))
