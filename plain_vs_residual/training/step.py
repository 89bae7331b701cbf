"""One step of SGD and one evaluation, in a chosen precision, without waiting for the device."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Precision = Literal["bf16", "fp32", "tf32", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def best_precision(device: torch.device) -> Precision:
    """bf16 where the device computes in it, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, probe, bool)() for probe in probes) else "fp32"
    return "fp32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network computes in ``precision``; weights and BN statistics stay fp32."""
    dtype = AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


class Totals:
    """Sums over the images seen, kept on the device; reading them is the only transfer.

    Attributes:
        sums: loss, errors, top-5 errors and number of images, (4,); in double precision where the device has
            it, so that the order of adding hardly counts.
        last_loss: mean loss of the last batch (nats), a scalar.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(4, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.last_loss = torch.full((), math.nan, device=device)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, *, top5: bool = False) -> None:
        """Adds a batch by its logits (N, num_classes), labels (N) and mean loss."""
        self.last_loss.copy_(loss)
        self.sums[0] += loss * len(labels)
        self.sums[1] += (logits.argmax(dim=1) != labels).sum()
        if top5:
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            self.sums[2] += (best != labels[:, None]).all(dim=1).sum()
        self.sums[3] += len(labels)

    def clear(self) -> None:
        """Begins anew, in the same memory."""
        self.sums.zero_()

    def read(self) -> tuple[float, float, float]:
        """Mean loss (nats), error and top-5 error (percent)."""
        loss, errors, top5_errors, num = self.sums.tolist()
        num = max(num, 1)
        return loss / num, 100 * errors / num, 100 * top5_errors / num


class Trainer:
    """A network with its optimizer: SGD with momentum and weight decay on every parameter, BN included.

    A step reads and writes tensors that stay in place, the learning rate among them, and never waits for the
    device: it can be recorded and replayed (:mod:`plain_vs_residual.training.execution`).

    Args:
        network: on its device.
        momentum: of SGD, no Nesterov.
        weight_decay: on every parameter.
        precision: in which the network computes; weights, optimizer and BN statistics stay fp32.
        compiled: whether training passes go through ``torch.compile``; evaluation never does.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        precision: Precision,
        compiled: bool = False,
    ) -> None:
        self.network = network
        self.training_pass: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network
        self.device = next(network.parameters()).device
        self.precision = precision
        self.totals = Totals(self.device)
        self.learning_rate = torch.zeros((), device=self.device)
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=self.learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True
        )
        # fp16 has too few exponent bits for small gradients; the other precisions need no scaling.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) in fp32, computed in the trainer's precision."""
        return self._logits(self.network, images)

    def _logits(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            return network(images).float()

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One iteration at ``learning_rate``; adds its loss and errors to ``totals``."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self._logits(self.training_pass, images)
        loss = cross_entropy(logits, labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.totals.add(logits.detach(), labels, loss.detach())

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "totals": self.totals.sums,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from an earlier :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate  # loading put a copy in its place
        self.scaler.load_state_dict(state["scaler"])
        self.totals.sums.copy_(state["totals"])

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        self.network.eval()
        with torch.inference_mode():
            yield
        self.network.train()

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float, float]:
        """Mean loss (nats), error and top-5 error (percent) in evaluation mode."""
        totals = Totals(self.device)
        with self._evaluating():
            for images, labels in batches:
                logits = self.forward(images)
                totals.add(logits, labels, cross_entropy(logits, labels), top5=True)
        return totals.read()

    def confusion(self, batches: Iterable[tuple[Tensor, Tensor]], num_classes: int) -> list[list[int]]:
        """Number of images by label (row) and prediction (column), in evaluation mode."""
        counts = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=self.device)
        with self._evaluating():
            for images, labels in batches:
                pairs = labels * num_classes + self.forward(images).argmax(dim=1)
                counts += torch.bincount(pairs, minlength=num_classes * num_classes)
        table: list[list[int]] = counts.reshape(num_classes, num_classes).tolist()
        return table
