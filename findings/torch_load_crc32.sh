#!/usr/bin/env bash
# torch 2.13.0: torch.load does not compare the checksums that torch.save writes.
#
# Expected: a file of torch.save is a zip archive with a CRC-32 for every tensor; a bit that a disk or a copy turned
# over is an error, as it is for zipfile and unzip.
# Seen: the other number comes back without a word, with weights_only=True or False. zipfile names the member.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder/weights.pt" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

import torch

path = Path(sys.argv[1])
torch.save({"weight": torch.arange(1000, dtype=torch.float32)}, path)
content = bytearray(path.read_bytes())
place = content.index(torch.tensor([500.0, 501.0]).numpy().tobytes())
content[place + 2] ^= 1  # one bit of the number 500
path.write_bytes(bytes(content))
for weights_only in (True, False):
    loaded = torch.load(path, weights_only=weights_only)["weight"]
    print(f"torch {torch.__version__}, weights_only={weights_only}: {loaded[500].item()} in place of 500")
    assert loaded[500] != 500, "the checksums are compared now"
    assert torch.equal(loaded[:500], torch.arange(500.0))
damaged = zipfile.ZipFile(path).testzip()
print("zipfile:", damaged)
assert damaged, "zipfile finds nothing"
PYTHON
