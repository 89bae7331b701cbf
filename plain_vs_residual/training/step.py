"""One step of SGD and one evaluation, in a chosen precision, without waiting for the device."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Precision = Literal["bf16", "fp32", "fp16"]
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


@dataclass
class Totals:
    """Sums on the device over the images seen; reading them is the only transfer."""

    loss: Tensor
    errors: Tensor
    top5_errors: Tensor
    num: int = 0
    last: Tensor | None = None

    @classmethod
    def zero(cls, device: torch.device) -> "Totals":
        """Empty sums; losses in double precision, so that the order of adding hardly counts."""
        accumulate = torch.float32 if device.type == "mps" else torch.float64
        return cls(
            torch.zeros((), dtype=accumulate, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, *, top5: bool = False) -> None:
        """Adds a batch by its logits (N, num_classes), labels (N) and mean loss."""
        self.last = loss.detach()
        self.loss += self.last * len(labels)
        self.errors += (logits.argmax(dim=1) != labels).sum()
        if top5:
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            self.top5_errors += (best != labels[:, None]).all(dim=1).sum()
        self.num += len(labels)

    def last_loss(self) -> float:
        """Mean loss of the last batch (nats)."""
        return math.nan if self.last is None else float(self.last.item())

    def read(self) -> tuple[float, float, float]:
        """Mean loss (nats), error and top-5 error (percent)."""
        num = max(self.num, 1)
        return (
            self.loss.item() / num,
            100 * self.errors.item() / num,
            100 * self.top5_errors.item() / num,
        )


class Trainer:
    """A network with its optimizer: SGD with momentum and weight decay on every parameter, BN included."""

    def __init__(self, network: nn.Module, *, momentum: float, weight_decay: float, precision: Precision) -> None:
        self.network = network
        self.device = next(network.parameters()).device
        self.precision = precision
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay
        )
        # fp16 has too few exponent bits for small gradients; the other precisions need no scaling.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) in fp32, computed in the trainer's precision."""
        with autocast(self.device, self.precision):
            logits: Tensor = self.network(images)
        return logits.float()

    def step(self, images: Tensor, labels: Tensor, learning_rate: float, totals: Totals) -> float:
        """One iteration; adds its loss and errors to ``totals`` and returns the rate that was applied."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        logits = self.forward(images)
        loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        totals.add(logits.detach(), labels, loss)
        return float(self.optimizer.param_groups[0]["lr"])

    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float, float]:
        """Mean loss (nats), error and top-5 error (percent) in evaluation mode."""
        totals = Totals.zero(self.device)
        self.network.eval()
        with torch.inference_mode():
            for images, labels in batches:
                logits = self.forward(images)
                totals.add(logits, labels, cross_entropy(logits, labels), top5=True)
        self.network.train()
        return totals.read()

    def confusion(self, batches: Iterable[tuple[Tensor, Tensor]], num_classes: int) -> list[list[int]]:
        """Number of images by label (row) and prediction (column), in evaluation mode."""
        counts = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=self.device)
        self.network.eval()
        with torch.inference_mode():
            for images, labels in batches:
                pairs = labels * num_classes + self.forward(images).argmax(dim=1)
                counts += torch.bincount(pairs, minlength=num_classes * num_classes)
        self.network.train()
        table: list[list[int]] = counts.reshape(num_classes, num_classes).tolist()
        return table
