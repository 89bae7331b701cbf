"""Compile the fused kernels for GPUs that are not here, by compute capability: registers, and what spills."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.driver import driver

sys.path.insert(0, str(Path(__file__).parents[1]))
IMAGES = ("x", "y", "dy", "dx", "behind", "shortcut")
CONSTANTS = {
    "_statistics": {"P": 256},
    "_normalise": {"ADDS": True},
    "_gradient_sums": {"P": 256},
    "_gradient": {},
}


def kind(argument: str, constants: dict[str, Any]) -> str:
    """Return an argument's type, as Triton writes it."""
    if argument in constants:
        return "constexpr"
    if argument in ("eps", "momentum"):
        return "fp32"
    if argument == "rows":
        return "i32"
    return "*i32" if argument == "tickets" else "*bf16" if argument in IMAGES else "*fp32"


def compiled(name: str, capability: int, channels: int) -> str:
    """Compile a kernel; say how many registers it takes, and what of them spills to memory."""
    from plain_vs_residual.training import fused_kernels

    kernel, block = getattr(fused_kernels, name), min(channels, 64)
    constants = {"C": channels, "R": fused_kernels.TILE // block, "B": block, **CONSTANTS[name]}
    kinds = {argument: kind(argument, constants) for argument in kernel.arg_names}
    aligned = {
        (number,): [["tt.divisibility", 16]]
        for number, argument in enumerate(kernel.arg_names)
        if kinds[argument].startswith("*") or argument == "rows"
    }
    given = {(kernel.arg_names.index(argument),): value for argument, value in constants.items()}
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(ASTSource(kernel, kinds, given, aligned), target=target, options={"num_warps": 8})
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [str(tools / "cuobjdump"), "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert match, usage
    return f"{name} sm_{capability}, {channels} channels: {match[1]} registers" + f", spills {match[2]}" * (
        match[2] != "0"
    )


if __name__ == "__main__":
    here = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        utils=SimpleNamespace(
            get_device_properties=lambda _: {"max_shared_mem": 232448, "multiprocessor_count": 132}
        ),
    )
    driver.set_active(here)
    for capability in map(int, sys.argv[1:]):
        for name in CONSTANTS:
            print(compiled(name, capability, 64))
