"""A running hash of what a run consumed, taken where it is consumed."""

import hashlib

import torch
from torch import Tensor

from plain_vs_residual.data.stream import Draws
from plain_vs_residual.randomness import keyed_generator


class ConsumptionDigest:
    """Chains of hashes over the draws and over the augmented pixels of every batch.

    The draws (``indices``, ``crops``, ``flips``, ...) are chained by SHA-256 on the CPU. The pixels, as
    they leave augmentation and before they become floating point, and their labels are chained by integer
    arithmetic on the device, without a transfer: two runs that were fed differently are told apart even
    where their draws agree. Integer arithmetic wraps alike on every device.
    """

    def __init__(self, device: torch.device) -> None:
        self.chains: dict[str, str] = {}
        self.pixels = torch.zeros((), dtype=torch.int64, device=device)
        self.weights: dict[int, Tensor] = {}

    def add_draws(self, draws: Draws) -> None:
        """Add what was drawn for one batch, on the CPU."""
        for name, values in draws.items():
            previous = self.chains.get(name, "").encode()
            self.chains[name] = hashlib.sha256(previous + values.numpy().tobytes()).hexdigest()[:16]

    def add_pixels(self, pixels: Tensor, labels: Tensor) -> None:
        """Add the uint8 pixels (N, H, W, C) and int64 labels (N) of one batch, on the device and in place."""
        checksum = self._checksum(pixels) + 31 * self._checksum(labels)
        self.pixels.mul_(1_000_003).add_(checksum)

    def state(self) -> dict[str, str]:
        """Return the hashes by name; this transfers one number from the device."""
        return {**self.chains, "pixels": f"{int(self.pixels.item()) & (2**64 - 1):016x}"}

    def restore(self, state: dict[str, str]) -> None:
        """Go on from an earlier :meth:`state`."""
        self.chains = {name: value for name, value in state.items() if name != "pixels"}
        unsigned = int(state["pixels"], 16)
        self.pixels.fill_(unsigned - 2**64 if unsigned >= 2**63 else unsigned)

    def _checksum(self, values: Tensor) -> Tensor:
        """Sum integers, each times a weight of its own place, so that order counts."""
        flat = values.reshape(-1).to(torch.int32)
        if flat.numel() not in self.weights:
            # Below 2**23, so that the product with a byte fits into 31 bits.
            drawn = torch.randint(
                1, 2**23, flat.shape, dtype=torch.int32, generator=keyed_generator(0, "checksum weights")
            )
            self.weights[flat.numel()] = drawn.to(flat.device)
        return (flat * self.weights[flat.numel()]).sum(dtype=torch.int64)
