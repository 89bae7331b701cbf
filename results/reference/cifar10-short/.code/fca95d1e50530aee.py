"""What a feed is: it brings the batches of a run to the device, whatever the images come from."""

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor

from plain_vs_residual.data.digest import ConsumptionDigest
from plain_vs_residual.group import ALONE, Group

Part = Literal["training", "validation", "test"]
Batch = tuple[Tensor, Tensor]
Inputs = tuple[Tensor, ...]


class Feed(Protocol):
    """What the training loop asks for.

    ``batch(*inputs)`` of the inputs of an iteration runs on the device alone and in place, so that it can be
    recorded together with the step that follows it. In a group, N is a process's part of the batch.

    Attributes:
        num_training: images in the training set.
        digest: hash of what was handed out so far.
        waited_seconds: how long training waited for images to be decoded.
    """

    num_training: int
    digest: ConsumptionDigest
    waited_seconds: float

    def inputs(self, start: int, stop: int) -> Iterator[Inputs]:
        """Yield for each of those iterations the tensors on the device that :meth:`batch` makes a batch of."""
        ...

    def batch(self, *inputs: Tensor) -> Batch:
        """Make a batch: images float (N, C, H, W) in channels-last order and labels int64 (N)."""
        ...

    def evaluation_batches(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        """Yield a single centred view of all images of a part, or of ``limit`` evenly spaced ones, in order.

        The digest notes what was yielded. In a group, each process gets its batches of a whole part, and every
        process all of ``limit`` images.
        """
        ...


def evaluation_name(part: Part, limit: int | None) -> str:
    """Name the digest's chain of an evaluation.

    >>> evaluation_name("validation", None), evaluation_name("training", 1000)
    ('evaluated_validation', 'measured_training')
    """
    return f"measured_{part}" if limit else f"evaluated_{part}"


def evaluating_group(group: Group, limit: int | None) -> Group:
    """Return the processes that share an evaluation: few images are worth no sharing."""
    return ALONE if limit else group


def evenly_spaced(num: int, limit: int | None) -> Tensor:
    """Return the indices of ``limit`` among ``num`` images, or of all: evenly spaced, because folders are sorted.

    >>> evenly_spaced(10, 4).tolist()
    [0, 2, 5, 7]
    """
    wanted = min(limit or num, num)
    return torch.arange(wanted) * num // wanted
