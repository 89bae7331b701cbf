"""Fused kernels and the second stream compute what torch computes: on a GPU, or in Triton's interpreter."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.executors import fast_path
from plain_vs_residual.networks import build, on_device
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training import execution, training_pass, two_streams
from plain_vs_residual.training.step import Trainer
from tests.test_fast_path import CallsAgain

GPU = torch.cuda.is_available()
pytest.importorskip("triton", reason="needs Triton, which run_tests.sh installs on Linux")

from plain_vs_residual.training import fused_kernels, fusion
from plain_vs_residual.training.fusion import Promise, fused, make_tickets

DEVICE = torch.device("cuda" if GPU else "cpu")
FUSED = Execution.FUSED_AND_GRAPH


@pytest.fixture(autouse=True)
def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round to bf16 as a GPU does: Triton's interpreter (3.7.1) cuts the bits off."""
    if GPU:
        return
    from triton.runtime import interpreter

    as_it_is = interpreter._convert_float

    def rounded(values: Any, source: Any, target: Any, mode: Any) -> Any:
        if (str(source), str(target)) != ("fp32", "bf16"):
            return as_it_is(values, source, target, mode)
        return torch.from_numpy(np.ascontiguousarray(values)).bfloat16().view(torch.int16).numpy().view(np.uint16)

    monkeypatch.setattr(interpreter, "_convert_float", rounded)


class Counted:
    """Counts how often the kernels are used."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *arguments: Any) -> Tensor:
        self.calls += 1
        return fused_kernels.normalised(*arguments)


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(fusion, "normalised", counted)
    return counted


def images(channels: int, size: int, seed: int, number: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(number, channels, size, size, generator=generator) + 0.5
    return drawn.to(DEVICE, dtype, memory_format=torch.channels_last)


def layer(channels: int) -> nn.BatchNorm2d:
    """Return a BN layer whose scale, shift and running statistics are no round numbers."""
    bn = nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for values in (bn.weight, bn.bias, bn.running_mean):
            assert values is not None
            values.copy_(torch.randn(channels, generator=generator))
    return bn.to(DEVICE)


def error(value: Tensor, exact: Tensor) -> float:
    return float((value.double() - exact).norm() / exact.norm())


# ---- the kernels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("channels", "size", "number"),
    # One program; several; two blocks of channels, by one program each and by several; few rows.
    [(16, 8, 4), (16, 24, 20), (128, 5, 3), (128, 9, 2), (1, 3, 2)],
)
def test_kernels_are_as_near_to_double_precision_as_torch(
    monkeypatch: pytest.MonkeyPatch, adds: bool, dtype: torch.dtype, channels: int, size: int, number: int
) -> None:
    monkeypatch.setattr(fused_kernels, "PROGRAMS", 3)  # so that a program computes several tiles
    outcomes = []
    for which in ("double", "torch", "kernels"):
        bn = layer(channels)
        x, shortcut, dy = (images(channels, size, seed, number, dtype) for seed in (1, 2, 3))
        if which == "double":
            bn, x, shortcut, dy = bn.double(), x.double(), shortcut.double(), dy.double()
        x, shortcut = x.requires_grad_(), shortcut.requires_grad_()
        if which == "kernels":
            y = fused_kernels.normalised(bn, x, shortcut if adds else None, make_tickets(bn)[bn])
        else:
            y = relu(bn(x) + shortcut if adds else bn(x))
        y.backward(dy)
        assert bn.running_mean is not None
        assert bn.running_var is not None
        found = [y.detach(), x.grad, bn.weight.grad, bn.bias.grad, bn.running_mean, bn.running_var]
        outcomes.append([*found, shortcut.grad] if adds else found)
    # One rounding of an element where torch rounds otherwise is allowed for, in few numbers.
    slack = {torch.float32: 2e-6, torch.bfloat16: 2e-3, torch.float16: 3e-4}[dtype]
    for exact, plain, ours in zip(*outcomes, strict=True):
        assert error(ours, exact) <= error(plain, exact) * 1.1 + slack * (channels == 1) + 3e-7


def test_statistics_of_large_means_do_not_cancel() -> None:
    bn, x = layer(16), images(16, 8, 1) + 1000
    fused_kernels.normalised(bn, x, None, make_tickets(bn)[bn])
    exact = x.double().var((0, 2, 3))
    assert bn.running_var is not None
    torch.testing.assert_close(bn.running_var.double(), 0.9 + 0.1 * exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("adds", [False, True])
def test_what_is_no_number_stays_none(adds: bool) -> None:
    """Else a run that diverges would go on as if nothing had happened."""
    bn, x, shortcut = layer(16), images(16, 8, 1), images(16, 8, 2)
    (shortcut if adds else x)[0, 3] = float("nan")
    y = fused_kernels.normalised(bn, x, shortcut if adds else None, make_tickets(bn)[bn])
    assert y[0, 3].isnan().all()
    assert not y[:, 4].isnan().any()


def test_kernels_leave_their_tickets_as_they_found_them() -> None:
    bn, x = layer(128), images(128, 8, 1).requires_grad_()
    tickets = make_tickets(bn)[bn]
    fused_kernels.normalised(bn, x, None, tickets).sum().backward()
    assert tickets.tolist() == [0, 0]


def test_kernels_compile_for_gpus_that_are_not_here() -> None:
    """In a process of its own, because here the interpreter has taken the compiler's place."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), "75", "80", "89", "90"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.stdout.count("registers") == 4 * 4, result.stderr
    assert "spills" not in result.stdout


# ---- promises ------------------------------------------------------------------------------------------------

SHORTCUT = images(16, 8, 2)
ONCE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "torch.relu": torch.relu,
    "method": lambda output: output.relu(),
    "sum": lambda output: relu(output + SHORTCUT),
    "sum, the other way": lambda output: relu(SHORTCUT + output),
    "and again": lambda output: relu(output) + output,
    "and the sum again": lambda output: (output + SHORTCUT) * relu(output + SHORTCUT),
}
NEVER: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda output: output,
    "scaled": lambda output: relu(output * 0.5),
    "subtracted from": lambda output: 2 - output,
    "a number added": lambda output: relu(output + 1),
    "another precision added": lambda output: relu(output + SHORTCUT.double()),
    "another order in memory": lambda output: relu(output + SHORTCUT.contiguous()),
    "one row added": lambda output: relu(output + SHORTCUT[:1]),
    "doubled": lambda output: relu(output + output),
    "two sums": lambda output: relu(output + SHORTCUT + SHORTCUT),
    "joined": lambda output: torch.cat([output, SHORTCUT]),
    "pooled": lambda output: avg_pool2d(output, 2),
    "part": lambda output: output[0],
    "mean": lambda output: output.mean(),
    "added by keyword": lambda output: relu(torch.add(output, SHORTCUT, alpha=2)),
}


@pytest.mark.parametrize("use", [*ONCE, *NEVER])
def test_whatever_is_done_with_the_output_of_bn_gets_what_torch_computes(use: str, uses: Counted) -> None:
    outcomes = []
    for promises in (False, True):
        bn, x = layer(16), images(16, 8, 1).requires_grad_()
        with fused(make_tickets(bn)) if promises else nullcontext():
            result = (ONCE | NEVER)[use](bn(x))
        result = result.kept() if isinstance(result, Promise) else result
        (result * result).sum().backward()
        outcomes.append((result.detach(), x.grad, bn.weight.grad, bn.running_mean, bn.running_var))
    for plain, ours in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=2e-4)
    assert uses.calls == (use in ONCE)


def test_a_layer_that_is_not_for_the_kernels_is_left_to_torch(uses: Counted) -> None:
    twelve, evaluated = layer(12), layer(16).eval()
    for bn, x in (
        (twelve, images(12, 8, 1)),
        (evaluated, images(16, 8, 1)),
        (layer(16), images(16, 8, 1).contiguous()),
    ):
        expected = relu(nn.BatchNorm2d.forward(bn, x.clone(memory_format=torch.preserve_format)))
        with fused(make_tickets(bn)):
            assert (relu(bn(x)) - expected).abs().max() < 1e-5
    assert uses.calls == 0
    assert "forward" not in vars(twelve)


# ---- whole steps ---------------------------------------------------------------------------------------------


class Stream:
    """Takes the place of a CUDA stream where there is none: everything is computed at once."""

    joined = 0

    def wait_stream(self, other: object) -> None:
        Stream.joined += 1


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    if not GPU:
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        monkeypatch.setattr(training_pass, "second_stream", lambda _: two_streams.SecondStream())


def states(name: str, precision: Precision, execution: Execution, **changes: Any) -> list[dict[str, Tensor]]:
    """Take two steps; return the states before, between and after."""
    recipe = DIGITS.with_changes({"batch_size": 8, "stem_width": 4, "image_size": 8, **changes})
    network = on_device(build(Architecture.parse(name), recipe, channels=1, num_classes=10, seed=0), DEVICE)
    trainer, found = Trainer(network, recipe, precision, execution=execution), []
    trainer.learning_rate.fill_(0.02)
    for step in range(3):
        found.append({key: value.detach().double().clone() for key, value in network.state_dict().items()})
        if step < 2:
            trainer.step(images(1, 8, step, 8), torch.arange(8, device=DEVICE))
    return found


def apart(one: dict[str, Tensor], other: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """Return how far two states are apart, in units of the way from the start to the first."""
    keys = [key for key in one if not key.endswith("num_batches_tracked")]
    difference, way = (sum(float((one[key] - two[key]).square().sum()) for key in keys) for two in (other, start))
    return float((difference / way) ** 0.5)


@pytest.mark.parametrize(
    ("network", "changes", "kernels"),
    [
        ("cifar-residual8-A", {}, 7),
        ("cifar-plain8", {}, 7),
        ("cifar-residual8-B", {}, 7),  # of a sum of two BN layers, one is computed by itself
        ("cifar-residual8-A", {"norm_batch": 4}, 14),
    ],
)
def test_steps_by_kernels_are_those_of_torch_but_for_rounding(
    network: str, changes: dict[str, Any], kernels: int, uses: Counted, streams: None
) -> None:
    eager, fast = (states(network, "fp32", one, **changes) for one in (Execution.EAGER, FUSED))
    assert uses.calls == 2 * kernels
    rounded = states(network, "bf16", Execution.EAGER, **changes)
    assert apart(eager[1], fast[1], eager[0]) < 0.02 * apart(eager[1], rounded[1], eager[0])
    assert fast[2]["bn1.num_batches_tracked"] == 2
    in_bf16 = states(network, "bf16", FUSED, **changes)
    assert apart(eager[1], in_bf16[1], eager[0]) < 1.5 * apart(eager[1], rounded[1], eager[0])


@pytest.mark.parametrize("network", ["cifar-residual8-A", "residual18-C", "plain50"])
def test_gradients_of_weights_on_a_second_stream_are_the_same_bits(network: str, streams: None) -> None:
    Stream.joined = 0
    eager, beside = (states(network, "bf16", one) for one in (Execution.EAGER, Execution.GRAPH))
    for plain, ours in zip(eager, beside, strict=True):
        assert all(torch.equal(ours[key], value) for key, value in plain.items())
    assert GPU or Stream.joined > 0


def test_streams_join_before_gradients_are_read(monkeypatch: pytest.MonkeyPatch, streams: None) -> None:
    """The last thing that waits before weights' gradients are converted is the first stream, for the second."""
    order: list[str] = []
    begin_with, join = two_streams.SecondStream.begin_with, two_streams.SecondStream.join
    monkeypatch.setattr(
        two_streams.SecondStream,
        "begin_with",
        lambda self, *read: (order.append("begun"), begin_with(self, *read))[1],
    )
    monkeypatch.setattr(
        two_streams.SecondStream, "join", lambda self: (order.append(f"joined {len(self.read)}"), join(self))[1]
    )
    states("cifar-plain8", "bf16", Execution.GRAPH)
    assert order == (["begun"] * 7 + ["joined 14"]) * 2


@pytest.mark.skipif(GPU, reason="the suite of tests computes on the CPU")
def test_the_check_of_fast_paths_sees_a_kernel_that_forgets_the_shortcut(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "CudaGraphRecorder", CallsAgain)
    monkeypatch.setattr(fast_path, "CHECKED", 1)
    suite = make_suite("cifar-residual8-A")
    (job,) = suite.plan()
    check = fast_path.EagerSteps(job, suite.place, suite.dataset_of(job))
    assert check.fault(FUSED) == ""
    monkeypatch.setattr(
        fusion, "normalised", lambda bn, x, _, tickets: fused_kernels.normalised(bn, x, None, tickets)
    )
    assert "times as far from the eager one as rounding takes it" in check.fault(FUSED)
