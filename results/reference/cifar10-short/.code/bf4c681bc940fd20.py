"""Random generators keyed by what they are for: equal on every device, in every process and after a resume."""

import hashlib

import torch


def keyed_generator(seed: int, *purpose: object) -> torch.Generator:
    """Make a CPU generator that depends on nothing but ``seed`` and ``purpose`` (SHA-256 over them)."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
