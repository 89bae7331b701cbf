#!/usr/bin/env bash
# pandas 3.0.0: read_csv does not give back the floats that to_csv wrote.
#
# Expected: to_csv writes the shortest text that means the number, read_csv reads that number.
# Seen: by default some numbers come back one step of double precision away (float_precision="round_trip" or the
# engine "python" return them). Tables that are compared by equality after a round through a file differ without
# anybody having touched them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.0.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import pandas as pd

written = pd.DataFrame({"loss": np.random.default_rng(0).uniform(0, 5, 10_000)})
written.to_csv("losses.csv", index=False)
by_default, exact = pd.read_csv("losses.csv"), pd.read_csv("losses.csv", float_precision="round_trip")
changed = int((by_default["loss"] != written["loss"]).sum())
kept = int((exact["loss"] == written["loss"]).sum())
print(f"pandas {pd.__version__}: {changed} of 10,000 numbers changed; {kept} kept with round_trip")
assert changed > 0, "read_csv is exact by default now"
assert exact.equals(written)
PYTHON
