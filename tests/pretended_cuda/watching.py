"""What both ways of running CUDA code look for: mixed devices, waits of the host, unequal strides."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PACKAGE = str(Path(__file__).parent.parent.parent / "plain_vs_residual")

# Operations whose result decides what the host does next, so that it waits for everything queued before them.
WAITS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "bincount", "_unique2", "masked_select"}
COPIES = {"_to_copy", "copy_"}
FUSED_SGD = "_fused_sgd_"


def name_of(function: Any) -> str:
    """Return an operation's name without its overload."""
    return str(function.overloadpacket.__name__)


def tensors_in(*values: Any) -> list[Tensor]:
    """Return all tensors in nested lists, tuples and dictionaries; torch's own function for that takes longer."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(*value)
        elif isinstance(value, dict):
            found += tensors_in(*value.values())
    return found


def mapped(change: Callable[[Any], Any], values: Any) -> Any:
    """Change every value in nested lists, tuples and dictionaries."""
    if isinstance(values, list | tuple):
        return type(values)([mapped(change, value) for value in values])
    if isinstance(values, dict):
        return {name: mapped(change, value) for name, value in values.items()}
    return change(values)


def is_cuda(device: Any) -> bool:
    """Say whether a device, or its name, is a CUDA device."""
    return device is not None and torch.device(device).type == "cuda"


def callers() -> list[str]:
    """Return the functions of the package that are being executed, outermost first."""
    return list(reversed(list(_callers())))


def _callers() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        # Comprehensions and lambdas have no name that would help a reader.
        if code.co_filename.startswith(PACKAGE) and "<" not in code.co_qualname.rsplit(".", 1)[-1]:
            yield code.co_qualname
        frame = frame.f_back  # type: ignore[assignment]


def changed_in_place(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors that an operation changes."""
    if name_of(function) == "native_batch_norm":
        return tensors_in(args[3:5])  # the running statistics, about which its schema is silent
    changed = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += tensors_in(args[place] if place < len(args) else kwargs.get(argument.name))
    return changed


def unequal_strides(parameters: list[Tensor], gradients: list[Tensor], momenta: list[Tensor]) -> list[str]:
    """Say for which parameters weight, gradient and momentum lie in memory in different orders.

    A fused optimizer walks through the memory of all three at once.
    """
    return [
        f"weight {tuple(weight.shape)} has strides {weight.stride()}, its gradient {gradient.stride()}, "
        f"its momentum {momentum.stride()}"
        for weight, gradient, momentum in zip(parameters, gradients, momenta, strict=True)
        if not weight.stride() == gradient.stride() == momentum.stride()
    ]
