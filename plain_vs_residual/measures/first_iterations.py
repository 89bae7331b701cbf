"""Scale of activations and gradients in the first iterations: where a run that diverges goes wrong."""

import torch
from torch import Tensor, nn

from plain_vs_residual.records.models import FirstIterationRow


class FirstIterations:
    """Watches a network: its input, conv1's output before and after BN, logits, gradients and weights."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.seen: dict[str, float] = {}
        self.hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda _module, inputs, output, name=name: self._note(name, inputs[0], output)
            )
            for name in ("conv1", "bn1", "fc")
        ]

    def _note(self, name: str, inputs: Tensor, output: Tensor) -> None:
        if name == "conv1":
            self.seen["input"] = _rms(inputs)
        self.seen[{"fc": "logits"}.get(name, name)] = _rms(output)

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

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()


def _rms(values: Tensor) -> float:
    return float(values.detach().float().square().mean().sqrt().item())
