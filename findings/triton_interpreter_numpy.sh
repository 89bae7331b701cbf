#!/usr/bin/env bash
# Triton 3.6.0 and NumPy 2.4 and later: every kernel with a loop over range() ends in an InterpreterError.
#
# Expected: the Triton that belongs to torch 2.11 interprets its kernels with the NumPy that pip takes beside
# it.
# Seen: its interpreter turns arrays of one dimension and one element into Python numbers, which NumPy allowed
# until 2.3 with a DeprecationWarning and refuses since 2.4. Triton 3.7.1 works with both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip"
"$pip" install -q torch==2.13.0 triton==3.6.0 numpy==2.4.0
cat >"$folder/kernel.py" <<'PYTHON'
import sys

import numpy as np
import torch
import triton
import triton.language as tl


@triton.jit
def total(x, y, n, N: tl.constexpr):
    sum = 0.0
    for first in range(0, n, N):
        sum += tl.sum(tl.load(x + first + tl.arange(0, N)))
    tl.store(y, sum)


y = torch.zeros(1)
try:
    total[(1,)](torch.ones(8), y, 8, 4)
    outcome = f"sum {y.item():g}"
except Exception as error:
    outcome = f"{type(error).__name__}: {error}"
print(f"triton {triton.__version__}, NumPy {np.__version__}: {outcome}")
sys.exit(0 if (sys.argv[1] in outcome) else 1)
PYTHON
export TRITON_INTERPRET=1
"$folder/venv/bin/python" "$folder/kernel.py" "0-dimensional arrays"
"$pip" install -q numpy==2.3.5
"$folder/venv/bin/python" -W ignore "$folder/kernel.py" "sum 8"
"$pip" install -q triton==3.7.1 numpy==2.4.0
"$folder/venv/bin/python" "$folder/kernel.py" "sum 8"
