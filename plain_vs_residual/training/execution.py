"""How the operations of a step reach the device: one by one, compiled, or as one recorded CUDA graph.

The networks of the CIFAR family are so thin that a GPU finishes their operations sooner than Python can
start them. A CUDA graph starts all operations of a step at once; the arithmetic is the same.
"""

import os
from collections.abc import Callable
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from plain_vs_residual.training.step import Precision

Execution = Literal["eager", "graph", "compile", "compile+graph"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
Step = Callable[..., None]


def best_execution(device: torch.device, precision: Precision) -> Execution:
    """A CUDA graph where there is one to be had; loss scaling (fp16) decides on the host and stays eager."""
    return "graph" if device.type == "cuda" and precision != "fp16" else "eager"


class Recorder(Protocol):
    """Records what a function does on the device."""

    def warm_up(self, function: Callable[[], None]) -> None:
        """Calls the function once, so that nothing is set up for the first time while recording."""
        ...

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """What does the same again on the same memory; recording itself changes no tensor."""
        ...


class CudaGraphRecorder:
    """Records a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs)."""

    def warm_up(self, function: Callable[[], None]) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            function()
        torch.cuda.current_stream().wait_stream(side)

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Other threads (the loader's pins memory) may go on calling CUDA meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            function()
        return graph.replay


class RecordedStep:
    """Takes the first steps one operation after the other, records one, and replays the recording from then on.

    Args:
        step: what an iteration does with its inputs. Whatever else it reads and writes must be tensors that
            stay in place.
        recorder: of the device.
    """

    WARM_UP = 3

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self.step = step
        self.recorder = recorder
        self.warmed_up = 0
        self.inputs: tuple[Tensor, ...] = ()
        self.replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> None:
        if self.warmed_up < self.WARM_UP:
            self.recorder.warm_up(lambda: self.step(*inputs))
            self.warmed_up += 1
            return
        if self.replay is None:
            self.inputs = tuple(given.clone() for given in inputs)
            self.replay = self.recorder.record(lambda: self.step(*self.inputs))
        for recorded, given in zip(self.inputs, inputs, strict=True):
            assert recorded.shape == given.shape, "a recorded step takes batches of one size"
            recorded.copy_(given, non_blocking=True)
        self.replay()


def executed(step: Step, execution: Execution) -> Step:
    """The step as it is, or recorded."""
    return RecordedStep(step, CudaGraphRecorder()) if execution.endswith("graph") else step


def prepare_arithmetic(device: torch.device, precision: Precision, *, deterministic: bool) -> None:
    """Sets what torch keeps for the whole process: TF32, the choice of algorithms, determinism."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA first multiplies matrices
    torch.use_deterministic_algorithms(deterministic)
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)
        # torch rounds fp32 convolutions to TF32 unless told otherwise.
        fp32 = "tf32" if precision == "tf32" else "ieee"
        torch.backends.cudnn.conv.fp32_precision = fp32  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = fp32
        torch.backends.cudnn.benchmark = not deterministic
