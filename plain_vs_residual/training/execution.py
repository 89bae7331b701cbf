"""A step as one recorded CUDA graph.

The networks of the CIFAR family are so thin that a GPU finishes their operations sooner than Python can
start them. A CUDA graph starts all operations of a step at once; the arithmetic is the same.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from plain_vs_residual.arithmetic import Execution

OnDevice = Callable[..., None]


def best_execution(device: torch.device) -> Execution:
    """Return a CUDA graph where there is one to be had, of fused kernels where Triton is."""
    if device.type != "cuda":
        return Execution.EAGER
    return Execution.FUSED_AND_GRAPH if has_triton() else Execution.GRAPH


def has_triton() -> bool:
    """Say whether Triton is installed, which comes with torch's builds for CUDA on Linux."""
    return find_spec("triton") is not None


def compiler() -> str | None:
    """Find the C++ compiler that ``torch.compile`` would call, which makes native steps as well."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)


def compiler_version() -> str | None:
    """Return the first line that the compiler says of its version."""
    found = compiler()
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0].strip() or None


class Recorder(Protocol):
    """Records what a function does on the device."""

    def warm_up(self, function: Callable[[], None]) -> None:
        """Call the function once, so that nothing is set up for the first time while recording."""
        ...

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """Return what does the same again on the same memory; recording itself changes no tensor."""
        ...


class CudaGraphRecorder:
    """Records a CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs)."""

    # torch can record one graph at a time in a process, also where several threads train.
    recording = threading.Lock()

    def __init__(self) -> None:
        self.side: torch.cuda.Stream | None = None

    def warm_up(self, function: Callable[[], None]) -> None:
        self.side = self.side or torch.cuda.Stream()
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            function()
        torch.cuda.current_stream().wait_stream(self.side)

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Other threads (the loader's pins memory) may go on calling CUDA meanwhile.
        with self.recording, torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
            function()
        return graph.replay


class Recorded:
    """Calls a function a few times as it is, records one call, and replays the recording from then on.

    Args:
        function: what an iteration does with its inputs. Whatever else it reads and writes must be tensors that
            stay in place.
        recorder: of the device.
    """

    WARM_UP = 3

    def __init__(self, function: OnDevice, recorder: Recorder) -> None:
        self.function = function
        self.recorder = recorder
        self.warmed_up = 0
        self.inputs: tuple[Tensor, ...] = ()
        self.replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> None:
        if self.warmed_up < self.WARM_UP:
            self.recorder.warm_up(lambda: self.function(*inputs))
            self.warmed_up += 1
            return
        if self.replay is None:
            self.inputs = tuple(given.clone() for given in inputs)
            self.replay = self.recorder.record(lambda: self.function(*self.inputs))
        for recorded, given in zip(self.inputs, inputs, strict=True):
            assert recorded.shape == given.shape, "a recorded step takes batches of one size"
            recorded.copy_(given, non_blocking=True)
        self.replay()


def executed(function: OnDevice, execution: Execution) -> OnDevice:
    """Return the function as it is, or recorded."""
    return Recorded(function, CudaGraphRecorder()) if execution.recorded else function
