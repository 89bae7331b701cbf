"""A running hash of what a run consumed, taken where it is consumed."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from plain_vs_residual.data.stream import Draws
from plain_vs_residual.randomness import keyed_generator

PixelBatch = tuple[Tensor, Tensor]  # uint8 (N, H, W, C) and int64 labels (N)


class ConsumptionDigest:
    """Chains of hashes over everything that a run was given: draws, augmented pixels, evaluated images.

    The draws (``indices``, ``crops``, ``flips``, ...) are chained by SHA-256 on the CPU. The pixels, as
    they leave augmentation and before they become floating point, and their labels are chained by integer
    arithmetic on the device, without a transfer: two runs that were fed differently are told apart even
    where their draws agree. Integer arithmetic wraps alike on every device. The images of each evaluation are
    chained in the same way, and read once at its end.
    """

    def __init__(self, device: torch.device) -> None:
        self.chains: dict[str, str] = {}
        self.checksum = Checksum()
        self.pixels = PixelChain(device, self.checksum)

    def add_draws(self, draws: Draws) -> None:
        """Add what was drawn for one batch, on the CPU."""
        for name, values in draws.items():
            self._extend(name, values.numpy().tobytes())

    def add_pixels(self, pixels: Tensor, labels: Tensor) -> None:
        """Add the uint8 pixels (N, H, W, C) and int64 labels (N) of one batch, on the device and in place."""
        self.pixels.add(pixels, labels)

    def evaluated(self, name: str, batches: Iterable[PixelBatch]) -> Iterator[PixelBatch]:
        """Hand on the batches of an evaluation, and add them under ``name`` once all were taken."""
        chain: PixelChain | None = None
        for pixels, labels in batches:
            chain = chain or PixelChain(pixels.device, self.checksum)
            chain.add(pixels, labels)
            yield pixels, labels
        if chain:
            self._extend(name, chain.state().encode())

    def _extend(self, name: str, content: bytes) -> None:
        previous = self.chains.get(name, "").encode()
        self.chains[name] = hashlib.sha256(previous + content).hexdigest()[:16]

    def state(self) -> dict[str, str]:
        """Return the hashes by name; this transfers one number from the device."""
        return {**self.chains, "pixels": self.pixels.state()}

    def restore(self, state: dict[str, str]) -> None:
        """Go on from an earlier :meth:`state`."""
        self.chains = {name: value for name, value in state.items() if name != "pixels"}
        self.pixels.restore(state["pixels"])


class PixelChain:
    """A hash of batches of bytes and labels, kept on the device."""

    def __init__(self, device: torch.device, checksum: "Checksum") -> None:
        self.value = torch.zeros((), dtype=torch.int64, device=device)
        self.checksum = checksum

    def add(self, pixels: Tensor, labels: Tensor) -> None:
        """Add the uint8 pixels (N, H, W, C) and int64 labels (N) of one batch, in place."""
        self.value.mul_(1_000_003).add_(self.checksum(pixels) + 31 * self.checksum(labels))

    def state(self) -> str:
        """Return the hash as 16 hexadecimal digits; this is a transfer from the device."""
        return f"{int(self.value.item()) & (2**64 - 1):016x}"

    def restore(self, state: str) -> None:
        """Go on from an earlier :meth:`state`."""
        unsigned = int(state, 16)
        self.value.fill_(unsigned - 2**64 if unsigned >= 2**63 else unsigned)


class Checksum:
    """Sums integers, each times a weight of its own place, so that order counts: int64, a scalar."""

    def __init__(self) -> None:
        self.weights: dict[int, Tensor] = {}

    def __call__(self, values: Tensor) -> Tensor:
        flat = values.reshape(-1).to(torch.int32)
        if flat.numel() not in self.weights:
            # Below 2**23, so that the product with a byte fits into 31 bits.
            drawn = torch.randint(
                1, 2**23, flat.shape, dtype=torch.int32, generator=keyed_generator(0, "checksum weights")
            )
            self.weights[flat.numel()] = drawn.to(flat.device)
        return (flat * self.weights[flat.numel()]).sum(dtype=torch.int64)
