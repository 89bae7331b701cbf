"""Random generators keyed by what they are for: equal on every device, in every process and after a resume.

Of a seed, torch's CPU generator keeps the lowest 32 bits (2.11 to 2.13): of some 77,000 keys, two are as likely as
not to share a stream. tests/test_randomness.py says which keys of the planned suites do.
"""

import hashlib

import torch


def keyed_generator(seed: int, *purpose: object) -> torch.Generator:
    """Make a CPU generator that depends on nothing but ``seed`` and ``purpose`` (SHA-256 over them)."""
    return torch.Generator().manual_seed(seed_of(seed, *purpose))


def seed_of(seed: int, *purpose: object) -> int:
    """Return the 63 bits that a key stands for, of which torch keeps the lowest 32."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
