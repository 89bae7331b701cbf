"""Bugs put into the package on purpose, each in a context: what watches for them must notice every one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from plain_vs_residual.data import augmentation, feeds
from plain_vs_residual.training import evaluation, step
from plain_vs_residual.training.evaluation import Totals
from plain_vs_residual.training.step import Trainer


def tensor_on_the_cpu() -> AbstractContextManager[Any]:
    """Forget the device of a tensor that augmentation makes."""

    def arange(*args: Any, device: Any = None) -> Tensor:
        return torch.arange(*args)

    return patch.object(augmentation, "torch", SimpleNamespace(arange=arange, where=torch.where))


def indices_on_the_cpu() -> AbstractContextManager[Any]:
    """Gather images by indices that are on the CPU: a real device allows that, and waits for them."""
    gather = feeds.crop_and_flip

    def gathers(padded: Tensor, mean: Tensor, indices: Tensor, *others: Any) -> Any:
        return gather(padded, mean, indices.cpu(), *others)

    return patch.object(feeds, "crop_and_flip", gathers)


def item_in_the_step() -> AbstractContextManager[Any]:
    """Read the loss in every step."""
    return patch.object(Trainer, "_update_scale", lambda trainer: trainer.totals.last_loss.item())


def item_in_an_evaluation() -> AbstractContextManager[Any]:
    """Read the loss of every batch of an evaluation."""
    measure = evaluation.cross_entropy

    def measured(logits: Tensor, labels: Tensor) -> Tensor:
        loss = measure(logits, labels)
        loss.item()
        return loss

    return patch.object(evaluation, "cross_entropy", measured)


def totals_on_the_cpu() -> AbstractContextManager[Any]:
    """Keep the totals of training on the CPU."""
    return patch.object(step, "Totals", lambda _, **shared: Totals(torch.device("cpu"), **shared))


@contextmanager
def gradient_of_another_stride() -> Iterator[None]:
    """Let the gradient of a convolution lie in memory in another order than its weight."""
    construct = Trainer.__init__

    def constructs(trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        construct(trainer, *args, **kwargs)
        weight = next(p for p in trainer.network.parameters() if p.shape[2:] == (3, 3) and p.shape[1] > 1)
        weight.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", p.grad.contiguous()))

    with patch.object(Trainer, "__init__", constructs):
        yield


@contextmanager
def counter_in_python() -> Iterator[None]:
    """Make the step depend on a number that Python counts: a recorded step repeats it as it was."""
    take, taken = Trainer.step, 0

    def takes(trainer: Trainer, images: Tensor, labels: Tensor) -> None:
        nonlocal taken
        taken += 1
        take(trainer, images * (1 + taken / 10), labels)

    with patch.object(Trainer, "step", takes):
        yield


BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    bug.__name__: bug
    for bug in (
        tensor_on_the_cpu,
        indices_on_the_cpu,
        item_in_the_step,
        item_in_an_evaluation,
        totals_on_the_cpu,
        gradient_of_another_stride,
        counter_in_python,
    )
}
