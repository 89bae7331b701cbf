"""Shared by the benchmarks: fair timing, the peak rates of the machine, and the files for the results."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.images import Images
from plain_vs_residual.executors.cores import num_cores
from plain_vs_residual.executors.description import environment
from plain_vs_residual.networks import Network, build
from plain_vs_residual.settings import Setting, find_setting

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).parent / "results")
CORES = num_cores()


def wait(device: torch.device) -> None:
    """Wait until the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_step(run: Callable[[int], None], steps: int, device: torch.device) -> float:
    """Measure the mean duration of a step over ``steps`` steps."""
    wait(device)
    started = time.perf_counter()
    run(steps)
    wait(device)
    return (time.perf_counter() - started) / steps


def interleaved(
    contestants: Mapping[str, Callable[[int], None]], rounds: int, device: torch.device, turn_seconds: float = 0.7
) -> dict[str, list[float]]:
    """Measure the seconds per step of each contestant in each round; every contestant has one turn per round.

    Turns are short, so that another program that occupies the processor for a while slows all contestants equally.
    If a step takes two seconds or more, there are at most three rounds.
    """
    steps = {}
    slowest = 0.0
    for name, run in contestants.items():
        run(4 if device.type == "cuda" else 1)  # set-up, compilation and recording happen in the first steps
        seconds = seconds_per_step(run, 1, device)
        steps[name], slowest = max(1, round(turn_seconds / seconds)), max(slowest, seconds)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds if slowest < 2 else min(rounds, 3)):
        for name, run in contestants.items():
            if steps[name] > 1:
                run(1)  # the caches hold another contestant's data, and a loader has worked ahead
            times[name].append(seconds_per_step(run, steps[name], device))
    return times


def ceilings(device: torch.device) -> dict[str, float]:
    """Measure the peak rates of matrix products in fp32 and bf16 (operations/s) and of a copy (bytes/s)."""
    size = 8192 if device.type == "cuda" else 2048
    found = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = _best(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
        found[precision] = 2 * size**3 / seconds
    source = torch.randn(64 * 2**20, device=device)
    target = torch.empty_like(source)
    found["bytes"] = 2 * source.nbytes / _best(lambda: target.copy_(source), device)
    return found


def _best(function: Callable[[], object], device: torch.device) -> float:
    def run(times: int) -> None:
        for _ in range(times):
            function()

    run(1)
    return min(seconds_per_step(run, 3, device) for _ in range(5))


def case(name: str) -> tuple[Architecture, Setting, Images]:
    """Return the architecture, setting and training images of a case; where those are not here, they are noise."""
    network, _, setting_name = name.partition("@")
    setting = find_setting(setting_name)
    if setting.name in ("digits", "fashion"):
        training = load_dataset(setting).training
        assert isinstance(training, Images)
        return Architecture.parse(network), setting, training
    generator = torch.Generator().manual_seed(0)
    shape = (5000, setting.image_size, setting.image_size, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Architecture.parse(network), setting, Images(pixels, torch.arange(5000) % 10)


def build_case(architecture: Architecture, setting: Setting, images: Images) -> Network:
    """Build the network of a case with the initial weights of seed 0."""
    return build(architecture, setting, channels=images.pixels.shape[-1], num_classes=10, seed=0)


def earlier(name: str, device: torch.device, rows: str) -> dict[str, Any]:
    """Return earlier results by case, if they come from the same device and the same version of PyTorch."""
    path = RESULTS / f"{name}-{device.type}.json"
    if not path.exists():
        return {}
    values, here = json.loads(path.read_text(encoding="utf-8")), environment(device)
    same = all(values["environment"][field] == getattr(here, field) for field in ("device_name", "torch"))
    return {entry["case"]: entry for entry in values[rows]} if same else {}


def write(name: str, command: str, device: torch.device, content: Mapping[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>-<device>.json`` and return its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}-{device.type}.json"
    values = {
        "command": command,
        "when": time.strftime("%Y-%m-%d"),
        "environment": environment(device).model_dump(),
    }
    path.write_text(json.dumps({**values, "cores": CORES, **content}, indent=1) + "\n", encoding="utf-8")
    return path
