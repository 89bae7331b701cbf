"""Errors of a network: summed on the device, read once."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.records.models import Confusion
from plain_vs_residual.training.precision import autocast


class Counts(NamedTuple):
    """Sums over images: loss (nats), errors, top-5 errors, and how many images there were."""

    loss: float = 0.0
    errors: float = 0.0
    top5_errors: float = 0.0
    images: float = 0.0

    def since(self, earlier: "Counts") -> "Counts":
        """Return what was added since an earlier reading of the same sums."""
        return Counts(*(now - before for now, before in zip(self, earlier, strict=True)))

    @property
    def mean_loss(self) -> float:
        """Loss per image (nats)."""
        return self.loss / max(self.images, 1)

    @property
    def error(self) -> float:
        """Errors in percent."""
        return 100 * self.errors / max(self.images, 1)


@dataclass(frozen=True)
class Errors:
    """What was counted over some images.

    Attributes:
        loss: mean (nats).
        error: percent.
        top5_error: percent.
        confusion: number of images by class (row) and prediction (column), where it was asked for.
    """

    loss: float
    error: float
    top5_error: float
    confusion: Confusion


class Totals:
    """Sums over the images seen, kept on the device; reading them is the only transfer.

    Args:
        device: where they are kept.
        num_classes: if predictions are to be counted class by class.
        group: the processes whose images are counted together; each keeps the sums over its own.

    Attributes:
        sums: loss, errors, top-5 errors and number of images, (4,); in double precision where the device has
            it, so that the order of adding hardly counts.
        last_loss: mean loss of the images that were added last (nats), a scalar.
        predictions: number of images by class and prediction, (num_classes, num_classes).
    """

    def __init__(self, device: torch.device, num_classes: int = 0, group: Group = ALONE) -> None:
        self.group = group
        self.sums = torch.zeros(4, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.last_loss = torch.full((), math.nan, device=device)
        self.predictions = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, *, top5: bool = False) -> None:
        """Add a batch by its logits (N, num_classes), labels (N) and mean loss."""
        predicted = logits.argmax(dim=1)
        self.last_loss.copy_(loss)
        self.sums[0] += loss * len(labels)
        self.sums[1] += (predicted != labels).sum()
        if top5:
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            self.sums[2] += (best != labels[:, None]).all(dim=1).sum()
        self.sums[3] += len(labels)
        if self.predictions.numel():
            self.predictions.index_put_((labels, predicted), torch.ones_like(labels), accumulate=True)

    def counts(self) -> Counts:
        """Read the sums over all processes."""
        return Counts(*self.state().tolist())

    def read(self) -> Errors:
        """Read what was counted as mean loss and errors in percent."""
        counts, predictions = self.counts(), self.predictions.clone()
        self.group.sum([predictions])
        top5_error = 100 * counts.top5_errors / max(counts.images, 1)
        return Errors(counts.mean_loss, counts.error, top5_error, predictions.tolist())

    def state(self) -> Tensor:
        """Return the sums over all processes, as a checkpoint keeps them, (4,)."""
        total = self.sums.clone()
        self.group.sum([total])
        return total

    def restore(self, state: Tensor) -> None:
        """Go on from an earlier :meth:`state`, whatever the number of processes then."""
        self.sums.copy_(state if self.group.is_first else torch.zeros_like(state))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation, without gradients, for as long as the context lasts."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    precision: Precision,
    num_classes: int = 0,
    group: Group = ALONE,
    views: int = 1,
) -> Errors:
    """Take the errors of a network in evaluation mode.

    Args:
        network: on its device; its mode is as before afterwards.
        batches: images float (views * N, C, H, W), the views of an image in a row, and labels int64 (N).
        precision: in which it computes.
        num_classes: if predictions are to be counted class by class.
        group: the processes that take the batches in turn; the errors are those of all.
        views: of each image, over which the softmax is averaged, as Krizhevsky et al. (2012) do; ten for the
            paper's Tables 2 and 3.
    """
    device = next(network.parameters()).device
    totals = Totals(device, num_classes, group)
    with evaluating(network):
        for images, labels in batches:
            with autocast(device, precision):
                logits = network(images).float()
            if views > 1:
                logits = logits.softmax(dim=1).unflatten(0, (-1, views)).mean(dim=1).log()
            totals.add(logits, labels, cross_entropy(logits, labels), top5=True)
    return totals.read()
