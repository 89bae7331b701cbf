#!/usr/bin/env bash
# Triton 3.7.1, interpreter: .to(tl.bfloat16) cuts bits off instead of rounding; a GPU rounds to nearest, even.
#
# Expected: TRITON_INTERPRET=1 shows on a CPU what a kernel computes on a GPU.
# Seen: the conversion from fp32 to bf16 drops the lower 16 bits, so that every second value is one step of bf16
# too near to 0. A test of a bf16 kernel against torch in the interpreter fails for a right kernel, or needs a
# tolerance that hides a wrong one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 triton==3.7.1 numpy==2.3.5
cat >"$folder/kernel.py" <<'PYTHON'
import torch
import triton
import triton.language as tl


@triton.jit
def convert(x, y, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y + at, tl.load(x + at).to(tl.bfloat16))


x = torch.tensor([1.0, 1.006, 1.0039, -1.006], dtype=torch.float32)
y = torch.empty(4, dtype=torch.bfloat16)
convert[(1,)](x, y, 4)
rounded, cut = x.bfloat16(), (x.view(torch.int32) & -65536).view(torch.float32).bfloat16()
print(f"triton {triton.__version__}: {x.tolist()} become {y.tolist()}; rounded they are {rounded.tolist()}")
assert torch.equal(y, cut), "the interpreter no longer cuts bits off"
assert not torch.equal(y, rounded)
PYTHON
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/kernel.py"
