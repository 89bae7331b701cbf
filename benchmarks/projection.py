"""How long the paper's Tables 2 and 3 take on 1, 8 and 64 GPUs: computed, from rates that are cited or measured.

    bash run_all.sh benchmark projection

Nothing here was timed on ImageNet. Rates of GPUs are cited (RATES); the rate of the loader is that of
``bash run_all.sh benchmark decoding`` on the machine that its file names.
"""

import json

from benchmarks.measuring import RESULTS
from plain_vs_residual.settings import IMAGENET

# Training images per second of an H100 in half precision. ResNet-50: 2,470 on an A100 (NVIDIA
# DeepLearningExamples), times 1.2, which is cautious: in MLPerf 3.0 an H100 is 1.85 times as fast as an A100. The
# others by timm's training rates of ResNets (RTX 3090) relative to ResNet-50. A plain network has the rate of its
# residual partner.
RATES = {18: 8600, 34: 5000, 50: 3000, 101: 1840, 152: 1240}
# 16,621 images per second of ResNet-50 on eight A100 (the same source) against eight times 2,470: per doubling.
KEPT_PER_DOUBLING = (16_621 / (8 * 2_470)) ** (1 / 3)
FORWARD = 1 / 3  # an evaluated image against a trained one, whose backward pass takes two forward passes
TRAINING, VALIDATION = 1_281_167, 50_000
IMAGE_BYTES = 110_000
TABLE_2 = {"plain-18": 18, "plain-34": 34, "ResNet-18 A": 18, "ResNet-34 A": 34}
TABLE_3 = {"ResNet-34 B": 34, "ResNet-34 C": 34, "ResNet-50": 50, "ResNet-101": 101, "ResNet-152": 152}


def hours(depth: int, devices: int = 1) -> float:
    """Return the hours of one run on some devices (a power of 2)."""
    assert IMAGENET.epochs
    evaluated = IMAGENET.evaluations * (TRAINING + VALIDATION) + 10 * VALIDATION
    images = IMAGENET.epochs * TRAINING + FORWARD * evaluated
    speed_up = devices * KEPT_PER_DOUBLING ** (devices.bit_length() - 1)
    return images / (RATES[depth] * speed_up) / 3600


def makespan(runs: list[tuple[int, int]], gpus: int) -> float:
    """Return when the last run ends, the longest begun first; each is its depth and number of devices."""
    free = [0.0] * gpus
    for depth, devices in sorted(runs, key=lambda run: -hours(*run)):
        free.sort()
        end = free[devices - 1] + hours(depth, devices)
        free[:devices] = [end] * devices
    return max(free)


def shortest(depths: list[int], gpus: int) -> tuple[float, int]:
    """Return the hours of the best plan, and the most devices that a run has in it.

    Plans are found by doubling the devices of whatever run is the longest, at most until each has one part of the
    batch.
    """
    runs = [(depth, 1) for depth in depths]
    best = (makespan(runs, gpus), 1)
    while True:
        longest = max(range(len(runs)), key=lambda place: hours(*runs[place]))
        depth, devices = runs[longest]
        if 2 * devices > min(gpus, IMAGENET.num_ghost_batches):
            return best
        runs[longest] = (depth, 2 * devices)
        best = min(best, (makespan(runs, gpus), max(devices for _, devices in runs)))


def tables() -> str:
    """Write the projection as Markdown."""
    measured = json.loads((RESULTS / "decoding-cpu.json").read_text())
    decoders = {name: max(by["1"], 1.0) for name, by in measured["images_per_second"].items()}
    quickest = max(decoders, key=lambda name: decoders[name])
    heads = f"| depth | images/s (cited) | hours per run | cores that decode ({quickest}) | GB/s of JPEG |"
    lines = [heads, "|--:|--:|--:|--:|--:|"]
    for depth, rate in RATES.items():
        loader = f"{rate / decoders[quickest]:.0f} | {rate * IMAGE_BYTES / 1e9:.2f}"
        lines.append(f"| {depth} | {rate:,} | {hours(depth):.1f} | {loader} |")
    both = [*TABLE_2.values(), *TABLE_3.values()]
    lines += ["", "| | GPU-hours | 1 GPU | 8 GPUs | 64 GPUs |", "|---|--:|--:|--:|--:|"]
    for name, depths in (
        ("Table 2, one seed (4 runs)", list(TABLE_2.values())),
        ("Tables 2 and 3, one seed (9 runs)", both),
        ("Tables 2 and 3, five seeds (45 runs)", 5 * both),
    ):
        cells = [cell(*shortest(depths, gpus)) for gpus in (1, 8, 64)]
        lines.append(f"| {name} | {sum(map(hours, depths)):.0f} | {' | '.join(cells)} |")
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in decoders.items())
    lines += ["", f"Decoded per second by one core ({measured['environment']['device_name']}): {rates}."]
    return "\n".join(lines) + "\n"


def cell(total: float, devices: int) -> str:
    """Write hours for people, and on how many devices the largest run is, if on several."""
    words = f"{total:.0f} h" if total < 48 else f"{total / 24:.1f} days"
    return words if devices == 1 else f"{words} (up to {devices} per run)"


if __name__ == "__main__":
    print(tables())
    (RESULTS / "projection.md").write_text(tables())
