"""Scale of activations and gradients in the first iterations: where a run that diverges goes wrong."""

from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from plain_vs_residual.records.rows import FirstIterationRow
from plain_vs_residual.watching import watched

WATCHED = {"conv1": "conv1", "bn1": "bn1", "fc": "logits"}  # column by layer


class FirstIterations:
    """Watches a network: its input, conv1's output before and after BN, logits, gradients and weights."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.seen: dict[str, float] = {}

    def watching(self) -> AbstractContextManager[None]:
        """Note what the layers compute in an iteration that is taken inside this context."""
        return watched(self.network, {layer: partial(self._note, column) for layer, column in WATCHED.items()})

    def _note(self, column: str, x: Tensor, output: Tensor) -> None:
        if column == "conv1":
            self.seen["input"] = _rms(x)
        self.seen[column] = _rms(output)

    def row(self, iteration: int, loss: float) -> FirstIterationRow:
        """Measure an iteration, whose gradients must still be in place."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        total = torch.stack([g.float().square().sum() for g in gradients]).sum().sqrt().item()
        conv1 = self.network.get_submodule("conv1").weight
        assert isinstance(conv1, Tensor)
        assert conv1.grad is not None
        return FirstIterationRow(
            iteration=iteration,
            loss=loss,
            **self.seen,
            conv1_gradient=_rms(conv1.grad),
            conv1_weight=_rms(conv1),
            gradient_norm=total,
        )


def _rms(values: Tensor) -> float:
    return float(values.detach().float().square().mean().sqrt().item())
