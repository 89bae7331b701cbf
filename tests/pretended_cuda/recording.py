"""A pretended CUDA graph: keeps the operations of a step, and does the same again on the same memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tests.pretended_cuda.watching import changed_in_place, tensors_in


class PretendedGraph:
    """Takes the place of ``torch.cuda.CUDAGraph``.

    Like a real one it knows memory and operations, and nothing of Python: what Python decided while recording
    stays as it was then.
    """

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.changed: list[tuple[Tensor, Tensor]] = []

    def replay(self) -> None:
        """Do the recorded operations again."""
        with torch.no_grad():
            for function, args, kwargs, outputs in self.operations:
                again = tensors_in(function(*args, **kwargs))
                for output, value in zip(outputs, again, strict=True):
                    if output.data_ptr() != value.data_ptr():  # a view, or changed in place
                        output.copy_(value)


current: PretendedGraph | None = None


@contextmanager
def recording_into(graph: PretendedGraph, **_: Any) -> Iterator[None]:
    """Record the operations of this context, and leave every tensor as it was: recording computes nothing."""
    global current  # noqa: PLW0603 -- torch, too, has one recording at a time
    current = graph
    try:
        yield
    finally:
        current = None
        with torch.no_grad():
            for tensor, before in reversed(graph.changed):
                tensor.copy_(before)


def computed(function: Any, args: Any, kwargs: Any, *, recorded: bool) -> Any:
    """Compute an operation on CPU tensors; while a graph is recorded, add it if it is one of the device."""
    if current is None or not recorded:
        return function(*args, **kwargs)
    current.changed += [(tensor, tensor.clone()) for tensor in changed_in_place(function, args, kwargs)]
    result = function(*args, **kwargs)
    current.operations.append((function, args, kwargs, tensors_in(result)))
    return result
