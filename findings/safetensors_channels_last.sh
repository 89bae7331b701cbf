#!/usr/bin/env bash
# safetensors 0.8.0: a network in channels_last, as GPUs like it, cannot be saved, and after contiguous() its
# order in memory is lost.
#
# Expected: save_file keeps any state_dict that torch.save keeps.
# Seen: convolutions' weights in channels_last are refused as non-contiguous; torch.save takes them and brings
# the order in memory back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 safetensors==0.8.0 packaging==25.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PYTHON'
import safetensors
import torch
from safetensors.torch import load_file, save_file

state = torch.nn.Conv2d(16, 32, 3).to(memory_format=torch.channels_last).state_dict()
torch.save(state, "weights.pt")
kept = torch.load("weights.pt", weights_only=True)["weight"]
try:
    save_file(state, "weights.safetensors")
    said = ""
except ValueError as error:
    said = str(error)
print(f"safetensors {safetensors.__version__}: {said[:90]}")
save_file({name: value.contiguous() for name, value in state.items()}, "weights.safetensors")
loaded = load_file("weights.safetensors")["weight"]
assert "non contiguous" in said, "weights in channels_last are saved now"
assert kept.is_contiguous(memory_format=torch.channels_last)
assert torch.equal(loaded, kept) and not loaded.is_contiguous(memory_format=torch.channels_last)
PYTHON
