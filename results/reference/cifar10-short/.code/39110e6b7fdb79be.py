"""The processes that train one run together: each takes its part of every batch, and sums go over all of them.

A run on one device is a group of one, which shares nothing and waits for nobody. In a larger group every process
draws the same batches, so that their number changes neither the order of the images nor how they are augmented.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True)
class Group:
    """This process's place among those that train one run together.

    Every method that takes tensors or flags must be called by all processes of the group at the same point.

    Attributes:
        rank: which of them this is; the first, 0, writes the records.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the records and says what is printed."""
        return self.rank == 0

    def share(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return this process's part of a batch: the ``rank``-th of ``size`` equal parts, in order.

        >>> Group(1, 2).share(torch.arange(6)).tolist()
        [3, 4, 5]
        """
        part = values.shape[dim] // self.size
        return values.narrow(dim, self.rank * part, part)

    def takes(self, number: int) -> bool:
        """Say whether a batch of an evaluation, counted from 0, is this process's: they are taken in turn."""
        return number % self.size == self.rank

    def taken(self, batches: Sequence[Value]) -> Sequence[Value]:
        """Return the batches of an evaluation that are this process's."""
        return batches[self.rank :: self.size]

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; int64 wraps around, as it does on one device."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def in_any(self, *flags: bool) -> tuple[bool, ...]:
        """Say for each flag whether it is set in any process; on the host, without waiting for a GPU."""
        if self.size == 1:
            return flags
        told = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return tuple(map(bool, told.tolist()))

    def as_first(self, value: Value) -> Value:
        """Return what the first process has: on a network file system it alone reads."""
        if self.size == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told)
        return told[0]

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


ALONE = Group()


def join(device_type: str, rank: int, size: int, meeting_place: str) -> Group:
    """Become one of ``size`` processes; leave with ``torch.distributed.destroy_process_group``.

    Args:
        device_type: where they compute: on GPUs sums go through NCCL, flags and everything on CPUs through gloo.
        rank: which of them.
        size: how many.
        meeting_place: where they find each other: ``file://`` and a path, or ``env://`` under torchrun.
    """
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting_place, rank=rank, world_size=size)
    return Group(rank, size)


class Launched(NamedTuple):
    """This process's place among those that torchrun started, here and on other machines."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1


def launched() -> Launched:
    """Return what torchrun says; that of a process which it did not start is 0 of 1."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launched()
    return Launched(*(int(os.environ[name]) for name in names))
