#!/usr/bin/env bash
# torch 2.13.0: two seeds that differ by a multiple of 2**32 give one stream on a CPU.
#
# Expected: torch.Generator takes seeds of 64 bits (initial_seed() returns all of them), so that seeds that are
# 64-bit hashes of names are as good as distinct.
# Seen: the CPU's generator (Mersenne Twister) keeps the lowest 32 bits. Of some 77,000 hashes two share a
# stream with even odds, and initial_seed() does not show it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import torch

one, other = (torch.Generator().manual_seed(seed) for seed in (7, 7 + 5 * 2**32))
print(f"torch {torch.__version__}: seeds {one.initial_seed()} and {other.initial_seed()}")
first, second = torch.rand(1000, generator=one), torch.rand(1000, generator=other)
print("first numbers:", first[:3].tolist(), second[:3].tolist())
assert one.initial_seed() != other.initial_seed()
assert torch.equal(first, second), "the higher 32 bits of a seed count now"
PYTHON
