#!/usr/bin/env bash
# safetensors 0.8.0: the same weights with the same metadata, saved again in the same process, are another file.
#
# Expected: a format without dates and without compression gives the same bytes for the same content, so that a
# published hash can be computed again from the weights. Without metadata it does.
# Seen: the metadata's entries stand in the header in an order that is drawn anew for each file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import hashlib
import json

import numpy as np
import safetensors
from safetensors.numpy import save

weights = {"fc.weight": np.zeros((10, 64), np.float32)}
metadata = {name: "a value" for name in ("network", "setting", "seed", "iterations", "error", "data")}


def files(**given):
    return {save(weights, **given) for _ in range(20)}


plain, told = files(), files(metadata=metadata)
headers = [json.loads(one[8 : 8 + int.from_bytes(one[:8], "little")]) for one in told]
print(f"safetensors {safetensors.__version__}: 20 saves are {len(plain)} file without metadata, {len(told)} with it")
assert all(header == headers[0] for header in headers), "they differ in more than the order"
assert len({hashlib.sha256(one).digest() for one in told}) > 1, "the order of metadata is the same in each file now"
assert len(plain) == 1
PYTHON
