#!/usr/bin/env bash
# torch 2.13.0: making an optimizer imports the compiler, and so does asking for the usual choice of algorithms,
# although nothing is compiled.
#
# Expected: torch.optim.SGD needs nothing beyond what `import torch` has imported; torch._dynamo, SymPy and their
# hundreds of modules are for those who call torch.compile.
# Seen: the constructor registers its parameters through a wrapper that keeps torch.compile out, and the wrapper
# imports torch._dynamo to do so: more than 800 modules, 70 to 145 MB and one to three seconds more in each process
# that trains. torch.use_deterministic_algorithms(False), which is how a process begins anyway, imports as much, to
# tell the compiler too; torch.set_deterministic_debug_mode("default") does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import resource
import sys

import torch


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


parameters = [torch.nn.Parameter(torch.zeros(3))]
modules, before = len(sys.modules), memory()
compiler = {"torch._dynamo", "sympy"}
assert not compiler & sys.modules.keys()
torch.optim.SGD(parameters, lr=0.1)
more = len(sys.modules) - modules
print(f"torch {torch.__version__}: torch.optim.SGD imported {more} modules, {memory() - before:.0f} MB")
assert compiler < sys.modules.keys(), "an optimizer does without the compiler now"
assert more > 500
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

compiler = {"torch._inductor", "sympy"}
torch.set_deterministic_debug_mode("default")
assert not compiler & sys.modules.keys()
modules = len(sys.modules)
torch.use_deterministic_algorithms(False)
print(f"torch.use_deterministic_algorithms(False) imported {len(sys.modules) - modules} modules")
assert compiler < sys.modules.keys(), "algorithms are chosen without the compiler now"
PYTHON
