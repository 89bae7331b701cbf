"""Does the fast implementation give the same results as a slow one?

    bash run_all.sh benchmark equivalence              # about 20 minutes on 2 CPU cores

1. The first iterations compare the engine, in fp32 and in the device's best precision, with a simple reference
   implementation in this file (augmentation image by image, SGD written out as a formula, NCHW). Both start from
   the same weights and use the same random draws.
2. Whole runs of the `digits` setting compare bf16 with fp32 at the same seeds. The 90 % interval of the paired
   difference in clean training error must lie within the margin (two one-sided tests at 5 %).

The margins were fixed before the runs. They are half a percentage point where the network fits its training set.
For plain-56, whose error varies by tens of points between seeds, the margin is a third of the 52 points by which
it is worse than plain-20 in the reference results.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy import stats
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks import measuring
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.executors.common_arithmetic import ComputeOptions
from plain_vs_residual.executors.machine import choose_device, choose_execution
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.executors.progress import SuiteProgress
from plain_vs_residual.executors.suite import train_all
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.ledger import Ledger
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.store import read_records
from plain_vs_residual.settings import Setting, find_setting
from plain_vs_residual.training.execution import executed
from plain_vs_residual.training.precision import best_precision, prepare_arithmetic, this_process
from plain_vs_residual.training.schedule import num_iterations, schedule_of
from plain_vs_residual.training.step import Trainer

ITERATIONS = 20
FIRST_ITERATIONS = (
    "cifar-residual20-A@digits",
    "plain18@digits",
    "cifar-plain56@digits",
    "cifar-residual20-A@cifar10",
)
MARGINS = {"cifar-plain20": 0.5, "cifar-residual20-A": 0.5, "cifar-residual56-A": 0.5, "cifar-plain56": 52 / 3}


def reference_batch(
    images: Images, setting: Setting, drawn: dict[str, Tensor], step: int
) -> tuple[Tensor, Tensor]:
    """Build one batch image by image, as the paper describes: subtract the mean, pad with zeros, crop, mirror."""
    pixels = images.pixels.numpy().astype(np.float64)
    mean, padding, size = pixels.mean(axis=0), setting.crop_padding, setting.image_size
    views = []
    for index, crop, flip in zip(
        *(drawn[name][step].tolist() for name in ("indices", "crops", "flips")), strict=True
    ):
        centred = (pixels[index] - mean) / 255
        padded = np.pad(centred, ((padding, padding), (padding, padding), (0, 0)))
        view = padded[crop[0] : crop[0] + size, crop[1] : crop[1] + size]
        views.append(view[:, ::-1] if flip else view)
    batch = torch.from_numpy(np.stack(views).transpose(0, 3, 1, 2).copy()).float()
    return batch, images.labels[drawn["indices"][step]]


def reference_losses(name: str, device: torch.device) -> tuple[list[float], dict[str, Tensor]]:
    """Train with the reference implementation in fp32; return the losses and the final weights."""
    network, setting, images = measuring.case(name)
    built = measuring.build_case(network, setting, images).to(device)
    drawn = DataStream(len(images), setting.batch_size, 0, draws_of(setting)).segment(0, ITERATIONS)
    rate = schedule_of(setting, network.depth, num_iterations(setting, len(images)))
    velocity = [torch.zeros_like(parameter) for parameter in built.parameters()]
    losses = []
    for step in range(ITERATIONS):
        batch, labels = reference_batch(images, setting, drawn, step)
        loss = cross_entropy(built(batch.to(device)), labels.to(device))
        gradients = torch.autograd.grad(loss, list(built.parameters()))
        with torch.no_grad():
            for parameter, gradient, speed in zip(built.parameters(), gradients, velocity, strict=True):
                speed.mul_(setting.momentum).add_(gradient + setting.weight_decay * parameter)
                parameter.sub_(rate(step) * speed)
        losses.append(loss.item())
    return losses, built.state_dict()


def engine_losses(name: str, device: torch.device, precision: Precision) -> tuple[list[float], dict[str, Tensor]]:
    """Train with the engine in its default execution; return the losses and the final weights."""
    network, setting, images = measuring.case(name)
    built = measuring.build_case(network, setting, images).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(built, setting, precision)
    few = Images(images.pixels[:8], images.labels[:8])
    feed = ResidentFeed(Dataset("benchmark", tuple("0123456789"), images, few), setting, 0, device)
    rate = schedule_of(setting, network.depth, num_iterations(setting, len(images)))
    step = executed(lambda *inputs: trainer.step(*feed.batch(*inputs)), choose_execution(None, device))
    losses = []
    for iteration, inputs in enumerate(feed.inputs(0, ITERATIONS)):
        trainer.learning_rate.fill_(rate(iteration))
        step(*inputs)
        losses.append(trainer.totals.last_loss.item())
    return losses, built.state_dict()


def first_iterations(device: torch.device) -> list[dict[str, Any]]:
    """Measure how far losses and final weights deviate from the reference, in fp32 and in the best precision."""
    rows = []
    for name in FIRST_ITERATIONS:
        prepare_arithmetic(device, this_process("fp32"))
        reference, weights = reference_losses(name, device)
        row: dict[str, Any] = {"case": name}
        for precision in ("fp32", best_precision(device)):
            losses, ours = engine_losses(name, device, precision)
            difference = torch.cat([(ours[key] - weights[key]).float().flatten() for key in weights]).norm()
            norm = torch.cat([value.float().flatten() for value in weights.values()]).norm()
            row[precision] = {
                "loss_1": abs(losses[0] / reference[0] - 1),
                "loss_5": abs(losses[4] / reference[4] - 1),
                f"loss_{ITERATIONS}": abs(losses[-1] / reference[-1] - 1),
                "weights": (difference / norm).item(),
            }
        rows.append(row)
    return rows


def train(precision: Precision, seeds: int, results: Path, device: torch.device, jobs: int | None) -> None:
    """Train the networks of ``MARGINS`` on `digits` in one precision, as the suite trains them for Fig. 6."""
    setting = find_setting("digits")
    experiment = load_experiments()["fig6_cifar_depth"]
    selection = Selection((experiment,), setting, range(seeds), only_networks=frozenset(MARGINS))
    ledger, runs = Ledger(results / precision), selection.plan()
    wanted = ComputeOptions(device=str(device), precision=precision, jobs=jobs)
    placed = choose_placement(runs, ledger, load_dataset(setting), wanted)
    ledger.check(placed.jobs, placed.describe, rerun=False)
    train_all(placed, SuiteProgress(bars=False))


def equivalence(results: Path, precision: Precision) -> list[dict[str, Any]]:
    """Return for each network the paired difference from fp32, its 90 % interval and the verdict."""
    errors = {
        (kind, record.run.network, record.run.seed): record.final.training_error
        for kind in ("fp32", precision)
        for record in read_records(results / kind / "digits")
        if record.final
    }
    rows = []
    for network, margin in MARGINS.items():
        seeds = sorted(seed for kind, name, seed in errors if (kind, name) == ("fp32", network))
        slow = np.array([errors["fp32", network, seed] for seed in seeds])
        fast = np.array([errors[precision, network, seed] for seed in seeds])
        difference = fast - slow
        half = stats.t.ppf(0.95, len(seeds) - 1) * difference.std(ddof=1) / math.sqrt(len(seeds))
        low, high = difference.mean() - half, difference.mean() + half
        rows.append(
            {
                "network": network,
                "seeds": len(seeds),
                "fp32": round(float(slow.mean()), 3),
                precision: round(float(fast.mean()), 3),
                "difference": round(float(difference.mean()), 3),
                "interval": [round(float(low), 3), round(float(high), 3)],
                "margin": round(margin, 2),
                "equivalent": bool(-margin < low and high < margin),
            }
        )
    return rows


def table(first: list[dict[str, Any]], rows: list[dict[str, Any]], precision: str) -> str:
    """Format the results as Markdown tables."""
    last = f"loss_{ITERATIONS}"
    lines = [
        f"Relative difference from the reference: losses of iterations 1, 5 and {ITERATIONS}, and final weights:",
        "",
    ]
    lines += ["| network @ setting | precision | 1 | 5 | last | weights |", "|---|---|--:|--:|--:|--:|"]
    for row in first:
        for kind in ("fp32", precision):
            values = " | ".join(f"{row[kind][key]:.1e}" for key in ("loss_1", "loss_5", last, "weights"))
            lines.append(f"| {row['case']} | {kind} | {values} |")
    lines += [
        "",
        f"Clean training error (%) of whole runs on `digits`, {precision} compared with fp32, paired by seed:",
        "",
    ]
    lines += [f"| network | seeds | fp32 | {precision} | difference | 90 % interval | margin | equivalent |"]
    lines += ["|---|--:|--:|--:|--:|---|--:|---|"]
    for row in rows:
        low, high = row["interval"]
        verdict = "yes" if row["equivalent"] else "not shown"
        lines.append(
            f"| {row['network']} | {row['seeds']} | {row['fp32']:.2f} | {row[precision]:.2f} | "
            f"{row['difference']:+.2f} | {low:+.2f} to {high:+.2f} | {row['margin']:g} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def main(
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 12,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    results: Annotated[Path, typer.Option(help="Folder for the runs; a second call resumes them.")] = Path(
        "results/equivalence"
    ),
    jobs: Annotated[int | None, typer.Option(help="Number of runs at once.")] = None,
) -> None:
    """Compare the implementations and write benchmarks/results/equivalence-<device>.{json,md}."""
    chosen = choose_device(device)
    precision = best_precision(chosen)
    if precision == "fp32":
        raise SystemExit("the best precision of this device is fp32, so there is nothing to compare")
    first = first_iterations(chosen)
    for kind in ("fp32", precision):
        train(kind, seeds, results, chosen, jobs)
    rows = equivalence(results, precision)
    command = f"bash run_all.sh benchmark equivalence --seeds {seeds}"
    path = measuring.write("equivalence", command, chosen, {"first_iterations": first, "runs": rows})
    path.with_suffix(".md").write_text(table(first, rows, precision), encoding="utf-8")
    print(table(first, rows, precision))


if __name__ == "__main__":
    typer.run(main)
