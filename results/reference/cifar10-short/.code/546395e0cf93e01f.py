"""A running hash of what a run consumed, taken where it is consumed."""

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from plain_vs_residual.data.stream import Draws
from plain_vs_residual.group import ALONE, Group
from plain_vs_residual.randomness import keyed_generator

PixelBatch = tuple[Tensor, Tensor]  # uint8 (N, H, W, C) and int64 labels (N)


class ConsumptionDigest:
    """Chains of hashes over everything that a run was given: draws, augmented pixels, evaluated images.

    The draws (``indices``, ``crops``, ``flips``, ...) are chained by SHA-256 on the CPU. The pixels, as
    they leave augmentation and before they become floating point, and their labels are chained by integer
    arithmetic on the device, without a transfer: two runs that were fed differently are told apart even
    where their draws agree. Integer arithmetic wraps alike on every device. The images of each evaluation are
    chained in the same way, and read once at its end.

    Several processes that share a batch get the digest of the one that does without: every sum is linear, so each
    process weighs its part by the places of the whole batch, and the processes' chains add up to its chain.

    Args:
        device: where the pixels are.
        group: the processes that share each training batch.
    """

    def __init__(self, device: torch.device, group: Group = ALONE) -> None:
        self.device = device
        self.chains: dict[str, str] = {}
        self.whole_batches = Checksum()
        self.pixels = PixelChain(device, Checksum(group), group)

    def add_draws(self, draws: Draws) -> None:
        """Add what was drawn for one batch, on the CPU."""
        for name, values in draws.items():
            self._extend(name, values.numpy().tobytes())

    def add_pixels(self, pixels: Tensor, labels: Tensor) -> None:
        """Add the uint8 pixels (N, H, W, C) and int64 labels (N) of one batch, on the device and in place."""
        self.pixels.add(pixels, labels)

    def evaluated(
        self, name: str, batches: Iterable[PixelBatch], num_batches: int, group: Group
    ) -> Iterator[PixelBatch]:
        """Hand on a process's batches of an evaluation, and add all of them under ``name`` once all were taken.

        Args:
            name: of the chain.
            batches: those that this process takes.
            num_batches: how many all processes take together.
            group: the processes that take them in turn.
        """
        chain, own = PixelChain(self.device, self.whole_batches, group), iter(batches)
        for number in range(num_batches):
            if group.takes(number):
                pixels, labels = next(own)
                chain.add(pixels, labels)
                yield pixels, labels
            else:
                chain.skip()
        if num_batches:
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
    """A hash of batches of bytes and labels, kept on the device; in a group, each process keeps a summand."""

    def __init__(self, device: torch.device, checksum: "Checksum", group: Group) -> None:
        self.value = torch.zeros((), dtype=torch.int64, device=device)
        self.checksum = checksum
        self.group = group

    def add(self, pixels: Tensor, labels: Tensor) -> None:
        """Add the uint8 pixels (N, H, W, C) and int64 labels (N) of one batch, in place."""
        self.skip()
        self.value.add_(self.checksum(pixels) + 31 * self.checksum(labels))

    def skip(self) -> None:
        """Leave a batch to another process of the group."""
        self.value.mul_(1_000_003)

    def state(self) -> str:
        """Return the hash as 16 hexadecimal digits; this is a transfer from the device."""
        total = self.value.clone()
        self.group.sum([total])
        return f"{int(total.item()) & (2**64 - 1):016x}"

    def restore(self, state: str) -> None:
        """Go on from an earlier :meth:`state`, whatever the number of processes then."""
        unsigned = int(state, 16)
        signed = unsigned - 2**64 if unsigned >= 2**63 else unsigned
        self.value.fill_(signed if self.group.is_first else 0)


class Checksum:
    """Sums integers, each times a weight of its own place, so that order counts: int64, a scalar.

    Args:
        group: the processes of which each sums its part of the whole.
    """

    def __init__(self, group: Group = ALONE) -> None:
        self.group = group
        self.weights: dict[int, Tensor] = {}

    def __call__(self, values: Tensor) -> Tensor:
        flat = values.reshape(-1).to(torch.int32)
        if flat.numel() not in self.weights:
            # Below 2**23, so that the product with a byte fits into 31 bits.
            whole = (flat.numel() * self.group.size,)
            drawn = torch.randint(
                1, 2**23, whole, dtype=torch.int32, generator=keyed_generator(0, "checksum weights")
            )
            self.weights[flat.numel()] = self.group.share(drawn).to(flat.device)
        return (flat * self.weights[flat.numel()]).sum(dtype=torch.int64)
