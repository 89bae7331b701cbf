"""Real numbers, computed on the CPU, in tensors that say they are on ``cuda:0``.

Every operation passes through :func:`performed`, which takes the CPU tensors out of their labels, computes, and
puts labels on what comes out. It raises an error where devices mix, as a real device would, and notes every moment
at which the host would wait for the device.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended_cuda import recording
from tests.pretended_cuda.watching import (
    COPIES,
    FUSED_SGD,
    WAITS,
    callers,
    changed_in_place,
    is_cuda,
    mapped,
    name_of,
    tensors_in,
    unequal_strides,
)

DEVICE = torch.device("cuda", 0)
CPU = torch.device("cpu")

# What made the host wait, and in which functions of the package: how often.
waits: Counter[tuple[str, tuple[str, ...]]] = Counter()


class Labelled(torch.Tensor):
    """A CPU tensor, ``inner``, that says it is on the device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Labelled":
        labelled: Labelled = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        labelled.inner = inner
        return labelled

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return performed(function, args, kwargs or {})

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Labelled({self.inner})"

    def tolist(self) -> Any:
        """Read all numbers; torch's own would look for them in the memory of a device."""
        wait("tolist")
        return self.inner.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        with torch.no_grad():
            copied = self.detach().clone()
        if isinstance(self, nn.Parameter):
            copied = nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied


class Labelling(TorchDispatchMode):
    """Sends operations that make tensors the same way."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return performed(function, args, kwargs or {})


def wait(what: str) -> None:
    """Note that the host waits for the device."""
    if recording.current:
        raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
    waits[what, tuple(callers())] += 1


def bare(values: Any) -> Any:
    """Take every tensor out of its label; whatever was to be made on the device is made on the CPU."""

    def one(value: Any) -> Any:
        if isinstance(value, Labelled):
            return value.inner
        return CPU if isinstance(value, torch.device) and is_cuda(value) else value

    return mapped(one, values)


def performed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Perform an operation as the device would.

    Raises:
        RuntimeError: if a tensor on the device meets one on the CPU, other than a scalar, outside of a copy; if
            the memory orders of weight, gradient and momentum differ; or if a recorded step waits.
    """
    name = name_of(function)
    given = tensors_in(args, kwargs)
    on = [tensor for tensor in given if isinstance(tensor, Labelled)]
    off = [tensor for tensor in given if not isinstance(tensor, Labelled)]
    if name in ("pin_memory", "_pin_memory"):
        locked = args[0].clone()
        locked.page_locked = True  # copies from there do not make the host wait if told not to
        return locked
    if name in COPIES:
        _note_transfer(name, args, kwargs)
    elif on and off:
        _check_mixed(function, args, kwargs, off)
    if on and name in WAITS:
        wait(name)
    if name == FUSED_SGD and (unequal := unequal_strides(*args[:3])):
        raise RuntimeError(f"{len(unequal)} of {len(args[0])} parameters, such as: {unequal[0]}")
    to = kwargs.get("device")
    on_the_device = is_cuda(to) if to is not None else bool(on)
    result = recording.computed(function, bare(args), bare(kwargs), recorded=on_the_device)
    if name == "copy_":
        return args[0]
    if not on_the_device:
        return result
    # What is changed in place keeps its label, and with it its place in autograd's graph.
    labels = {id(tensor.inner): tensor for tensor in on}
    return mapped(lambda value: labels[id(value)] if id(value) in labels else _label(value), result)


def _check_mixed(function: Any, args: Any, kwargs: Any, off: list[Tensor]) -> None:
    """Allow what a real device does: scalars on the CPU are read there and then, and indices are copied."""
    changed = changed_in_place(function, args, kwargs)
    if all(tensor.dim() == 0 for tensor in off) and not any(tensor is one for tensor in off for one in changed):
        return
    if name_of(function) not in ("index", "index_put_", "_index_put_impl_"):
        place = " > ".join(callers())
        raise RuntimeError(f"{name_of(function)}: expected all tensors to be on the same device: {place}")
    wait("indices on the CPU")


def _label(value: Any) -> Any:
    return Labelled(value) if isinstance(value, Tensor) and not isinstance(value, Labelled) else value


def _note_transfer(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    source = args[1] if name == "copy_" else args[0]
    target = args[0].device if name == "copy_" else kwargs.get("device") or source.device
    if is_cuda(source.device) == is_cuda(target):
        return
    asynchronous = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
    if is_cuda(source.device):
        wait("to the host")
    elif not asynchronous:
        wait("to the device")
    elif not getattr(source, "page_locked", False):
        wait("to the device, from memory that is not page-locked")
