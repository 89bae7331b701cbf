"""One iteration: rate, batch, passes and update; waits for the device only where it is probed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.data.batches import Feed, Inputs
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.measures.first_iterations import FirstIterations
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records.rows import FirstIterationRow
from plain_vs_residual.training.evaluation import Totals
from plain_vs_residual.training.execution import OnDevice, executed
from plain_vs_residual.training.optimizers import SGD, MuonAndSGD
from plain_vs_residual.training.precision import autocast
from plain_vs_residual.training.training_pass import make_pass


def make_optimizer(parameters: Iterable[nn.Parameter], recipe: Recipe, learning_rate: Tensor) -> Optimizer:
    """Return the recipe's optimizer: SGD with momentum and weight decay on every parameter (He et al., Sec. 3.4).

    Args:
        parameters: on their device.
        recipe: gives its name, momentum and weight decay.
        learning_rate: a scalar on that device, which is set anew before each step: the ``lr`` of all parameters.
    """
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimizer == "muon":
        return MuonAndSGD(parameters, learning_rate, recipe.momentum, recipe.weight_decay)
    return SGD(
        parameters, lr=learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )


def _refuse_other_rates(optimizer: Optimizer, learning_rate: Tensor) -> None:
    """Refuse an optimizer that would not apply the rates that are recorded: those of the schedule.

    Raises:
        ValueError: if it has a rate of its own.
    """
    for group in optimizer.param_groups:
        if group["lr"] is not learning_rate:
            raise ValueError(
                f"{type(optimizer).__name__} has a learning rate of its own, {float(group['lr']):g}, but the "
                "record states the schedule's; give it lr=learning_rate in make_optimizer, and fused=True"
            )


class Trainer:
    """A network with its optimizer (:func:`make_optimizer`).

    A step reads and writes tensors that stay in place, the learning rate among them, and never waits for the
    device: it can be recorded and replayed (:mod:`plain_vs_residual.training.execution`).

    Args:
        network: on its device.
        recipe: gives the optimizer its numbers, and says whether gradients are clipped.
        precision: in which the network computes; weights, optimizer and BN statistics stay fp32.
        execution: how training passes are computed; evaluation is always eager.
        group: the processes that share each batch.

    Attributes:
        learning_rate: of the next step, a scalar on the device.
        totals: loss and errors of all batches so far.
        skipped_steps: how many steps were left out because fp16 overflowed, a scalar on the device.

    Raises:
        ValueError: if the optimizer is none that such an execution is made for.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        precision: Precision,
        *,
        execution: Execution = Execution.EAGER,
        group: Group = ALONE,
    ) -> None:
        if recipe.optimizer != "sgd" and execution is not Execution.EAGER:
            raise ValueError(f"execution {execution} is made for sgd, not for {recipe.optimizer}; use eager")
        self.network = network
        self.group = group
        self.num_ghost_batches = recipe.num_ghost_batches
        self.normalisations = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.training_pass: Callable[[Tensor], Tensor] = make_pass(network, precision, execution)
        self.device = next(network.parameters()).device
        self.precision = precision
        self.clip_norm = recipe.clip_norm
        self.totals = Totals(self.device, group=group)
        self.learning_rate = torch.zeros((), device=self.device)
        self.optimizer = make_optimizer(network.parameters(), recipe, self.learning_rate)
        _refuse_other_rates(self.optimizer, self.learning_rate)
        # fp16 has too few exponent bits for small gradients; the other precisions need no scaling.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.skipped_steps = torch.zeros((), dtype=torch.int64, device=self.device)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Take a step at ``learning_rate`` and add its loss and errors to ``totals``.

        The gradient is that of the mean loss of the whole batch. Its parts, over each of which BN normalises, have
        a forward and a backward pass of their own, here or in the other processes of the group.
        """
        self.optimizer.zero_grad(set_to_none=True)
        own = self.num_ghost_batches // self.group.size
        first, *others = zip(images.tensor_split(own), labels.tensor_split(own), strict=True)
        self._pass(*first)
        if others:
            with _without_running_statistics(self.normalisations):
                for part in others:
                    self._pass(*part)
        self._sum_gradients()
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)  # left out if fp16 overflowed
        self._update_scale()

    def _pass(self, images: Tensor, labels: Tensor) -> None:
        """Add the gradient of some of a batch's images to that of the others, and count their errors."""
        with autocast(self.device, self.precision):
            logits = self.training_pass(images).float()
        loss = cross_entropy(logits, labels)
        share = loss if self.num_ghost_batches == 1 else loss / self.num_ghost_batches
        # The scaler passes everything through unless the precision is fp16.
        self.scaler.scale(share).backward()
        self.totals.add(logits.detach(), labels, loss.detach())

    def _sum_gradients(self) -> None:
        """Add up the gradients of all processes, in one message."""
        if self.group.size == 1:
            return
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        self.group.sum([joined])
        for gradient, summed in zip(gradients, joined.split([one.numel() for one in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def _update_scale(self) -> None:
        """Let the scaler choose its next scale; it becomes smaller where the step was skipped."""
        if not self.scaler.is_enabled():
            return
        one = torch.ones((), device=self.device)
        before = self.scaler.scale(one)  # the scale itself, still on the device; get_scale() would wait for it
        self.scaler.update()
        self.skipped_steps += self.scaler.scale(one) < before

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "totals": self.totals.state(),
            "skipped_steps": self.skipped_steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate  # loading put a copy in its place
        self.scaler.load_state_dict(state["scaler"])
        self.totals.restore(state["totals"])
        self.skipped_steps.copy_(state["skipped_steps"])


@contextmanager
def _without_running_statistics(normalisations: Sequence[nn.BatchNorm2d]) -> Iterator[None]:
    """Let BN layers normalise as in training, but leave their running statistics as they are."""
    for module in normalisations:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in normalisations:
            module.track_running_stats = True


class Stepper:
    """Takes the iterations of a run, each given its inputs, and keeps the trace of what was done.

    Args:
        trainer: takes the step.
        feed: makes the batch.
        rate_of: learning rate of each iteration.
        execution: how the operations reach the device.
        probe_iterations: of how many first iterations the scale of activations and gradients is noted.

    Attributes:
        learning_rates: trace of the applied rates: first iteration and rate of each.
        probed: what was noted of the first iterations.
    """

    def __init__(
        self,
        trainer: Trainer,
        feed: Feed,
        rate_of: Callable[[int], float],
        execution: Execution,
        probe_iterations: int,
    ) -> None:
        self.trainer = trainer
        self.rate_of = rate_of
        self._step: OnDevice = lambda *inputs: trainer.step(*feed.batch(*inputs))
        self._execute = executed(self._step, execution)
        self.learning_rates: list[tuple[int, float]] = []
        self.probed: list[FirstIterationRow] = []
        self.probe_iterations = probe_iterations
        self.first_iterations = FirstIterations(trainer.network)

    @property
    def learning_rate(self) -> float:
        """The rate that was applied last."""
        return self.learning_rates[-1][1]

    def take(self, iteration: int, inputs: Inputs) -> None:
        """Set the learning rate, make the batch, take the step, and probe it where that was asked for."""
        rate = self.rate_of(iteration)
        self.trainer.learning_rate.fill_(rate)
        if not self.learning_rates or self.learning_rate != rate:
            self.learning_rates.append((iteration, rate))
        if iteration >= self.probe_iterations:
            self._execute(*inputs)
            return
        with self.first_iterations.watching():
            self._step(*inputs)  # what is probed is read on the host, which no graph can do
        self.probed.append(self.first_iterations.row(iteration, self.trainer.totals.last_loss.item()))
