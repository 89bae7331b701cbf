"""Images per second of a textbook loop, of a competent one, and of the engine with one change added at a time.

    bash run_all.sh benchmark throughput                        # every case; about 15 minutes on 2 CPU cores
    bash run_all.sh benchmark throughput --case cifar-residual20-A@cifar10 --rounds 3

All variants train the same network with the same batch size and recipe. They take turns, and each number is the
median of several rounds. Each variant is one rung of the results table. All variants share one process, except
those of which a CPU trains as many at once as it has cores, in processes of their own. Of these, the textbook
loops are the yardstick: whoever has two cores and two runs can start two textbook loops, too. Against them, whole
runs with their evaluations are compared as well as steps.

The floor is the larger of two times per image: that of the network's operations at the rate of a large matrix
product, and that of the bytes it cannot avoid moving at the rate of a large copy. Both rates are measured here.
The benchmark writes JSON, a Markdown table and a plot to benchmarks/results/.
"""

from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks import measuring
from benchmarks.contestants import (
    Contestant,
    EngineInProcess,
    TextbookInProcess,
    competent,
    engine,
    in_processes,
    textbook,
)
from benchmarks.whole_runs import ratio, whole_runs
from plain_vs_residual.arithmetic import Execution, Precision
from plain_vs_residual.executors.description import environment
from plain_vs_residual.executors.machine import choose_device, refusal
from plain_vs_residual.measures.cost import multiply_adds
from plain_vs_residual.training.execution import best_execution, compiler
from plain_vs_residual.training.native_step import misfit
from plain_vs_residual.training.precision import best_precision, prepare_arithmetic, this_process
from plain_vs_residual.watching import watched

CASES = (
    *("plain34@fashion", "residual34-A@fashion", "cifar-plain56@fashion", "cifar-residual56-A@fashion"),
    *("cifar-residual20-A@cifar10", "cifar-residual56-A@cifar10", "cifar-residual110-A@cifar10"),
    *("plain18@cifar10", "residual18-A@cifar10", "plain34@cifar10", "residual34-A@cifar10"),
    *("plain18@digits", "residual18-A@digits", "plain34@digits", "residual34-A@digits"),
    *("cifar-plain20@digits", "cifar-residual20-A@digits", "cifar-plain56@digits", "cifar-residual56-A@digits"),
)
TEXTBOOK, COMPETENT = "textbook", "competent"
AT_ONCE = f"+ {measuring.CORES} runs of one thread at once"
NATIVE = f"{AT_ONCE}, native"
TEXTBOOKS = f"{measuring.CORES} textbook loops of one thread at once"
SEVERAL = (AT_ONCE, NATIVE, TEXTBOOKS)


def rungs(name: str, device: torch.device, *, compiled: bool) -> dict[str, Contestant]:
    """Build every contestant of a case: the two references, then the engine with one change added at a time."""
    network, setting, images = measuring.case(name)
    best, fastest = best_precision(device), best_execution(device)

    def fresh() -> nn.Module:
        return measuring.build_case(network, setting, images)

    def ours(precision: Precision, execution: Execution, **options: Any) -> Contestant:
        return engine(fresh(), images, setting, device, precision, execution, **options)

    found = {
        TEXTBOOK: textbook(fresh(), images, setting, device, measuring.CORES),
        COMPETENT: competent(fresh(), images, setting, device, best),
        "engine: fp32, NCHW, eager": ours("fp32", Execution.EAGER, channels_last=False),
        "+ channels_last": ours("fp32", Execution.EAGER),
    }
    if best != "fp32":
        found[f"+ {best}"] = ours(best, Execution.EAGER)
    if fastest != Execution.EAGER:
        found[f"+ {fastest}"] = ours(best, fastest)
    if compiled:
        found["+ compile"] = ours(best, Execution.COMPILE_AND_GRAPH if fastest.recorded else Execution.COMPILE)
    if device.type == "cpu" and measuring.CORES > 1:
        found[TEXTBOOKS] = in_processes(TextbookInProcess(name), measuring.CORES)
        found[AT_ONCE] = in_processes(EngineInProcess(name, "cpu", best, Execution.EAGER, 1), measuring.CORES)
        if not (refusal(Execution.NATIVE, device) or misfit(network, setting, best)):
            found[NATIVE] = in_processes(EngineInProcess(name, "cpu", best, Execution.NATIVE, 1), measuring.CORES)
    return found


def floors(name: str, found: dict[str, float], device: torch.device) -> dict[str, float]:
    """Compute operations and bytes per image, and the images per second that each alone would allow.

    Both hold for the device's best precision. The bytes are those that unfused convolutions and BN cannot avoid
    moving; ReLU and addition count as fused into them. A convolution reads x and writes y; in its backward pass,
    it reads dy twice and x once, and writes dx. BN reads its input twice and writes once; in its backward pass, it
    reads x and dy twice each and writes once.
    """
    network, setting, images = measuring.case(name)
    built = measuring.build_case(network, setting, images)
    shape = (images.pixels.shape[-1], setting.image_size, setting.image_size)
    elements = 0

    def count(x: Tensor, output: Tensor) -> None:
        nonlocal elements
        elements += 3 * x.numel() + (3 + 8) * output.numel()

    convolutions = [name for name, module in built.named_modules() if isinstance(module, nn.Conv2d)]
    with watched(built, dict.fromkeys(convolutions, count)), torch.no_grad():
        built(torch.zeros(2, *shape))
    precision = best_precision(device)
    num_bytes = elements / 2 * (2 if precision == "bf16" else 4)
    operations = 3 * 2 * multiply_adds(built, shape)
    return {
        "operations_per_image": operations,
        "bytes_per_image": num_bytes,
        "images_per_second_by_operations": found[precision] / operations,
        "images_per_second_by_bytes": found["bytes"] / num_bytes,
    }


def memory_mib(run: Contestant, device: torch.device) -> float:
    """Measure the peak memory of a step on a GPU, or on a CPU what is stored for the backward pass (MiB)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run(1)
        return torch.cuda.max_memory_allocated(device) / 2**20
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(1)
    return sum(kept.values()) / 2**20


def convolution_share(run: Contestant, device: torch.device) -> float:
    """Measure the share of a step's time on the device that convolutions take."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        run(3)
    column = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # The operations alone: a kernel is listed beside the operation that launched it, with the same time.
    operations = [event for event in profile.key_averages() if event.device_type.name == "CPU"]
    times = {event.key: getattr(event, column) for event in operations}
    return float(sum(time for name, time in times.items() if "conv" in name) / sum(times.values()))


def measure(name: str, device: torch.device, rounds: int, found: dict[str, float], *, compiled: bool) -> Any:
    """Measure one case; the result holds one row per contestant."""
    _, setting, _ = measuring.case(name)
    contestants = rungs(name, device, compiled=compiled)
    times = measuring.interleaved(contestants, rounds, device)
    for several in SEVERAL:  # one step of several runs at once processes several batches
        times[several] = [seconds / measuring.CORES for seconds in times.get(several, [])]
    floor = floors(name, found, device)
    lowest = min(floor["images_per_second_by_operations"], floor["images_per_second_by_bytes"])
    rows = []
    for rung, seconds in times.items():
        if not seconds:
            continue
        rate = setting.batch_size / median(seconds)
        rows.append(
            {
                "rung": rung,
                "images_per_second": round(rate, 1),
                # Comparing within each round cancels slow drifts in the speed of the machine.
                "ratio_to_textbook": ratio(times[TEXTBOOK], seconds),
                "ratio_to_textbooks": ratio(times[TEXTBOOKS], seconds) if times[TEXTBOOKS] else None,
                "gflops": round(rate * floor["operations_per_image"] / 1e9, 1),
                "share_of_floor": round(rate / lowest, 3),
                "memory_mib": None
                if rung in ("+ compile", *SEVERAL)
                else round(memory_mib(contestants[rung], device), 1),
                "milliseconds_per_step": [round(1000 * value, 2) for value in seconds],
            }
        )
    eager = [
        rung for rung in contestants if rung.startswith("+") and rung not in ("+ graph", "+ compile", *SEVERAL)
    ]
    share = convolution_share(contestants[eager[-1]], device)
    return {
        "case": name,
        **(whole_runs(name, times[TEXTBOOKS], times[AT_ONCE], rounds) if times[TEXTBOOKS] else {}),
        "batch_size": setting.batch_size,
        **floor,
        "convolutions_share_of_eager_step": round(share, 3),
        "rungs": rows,
    }


def table(cases: list[Any]) -> str:
    """Format images per second, ratio to the textbook loop and share of the floor as Markdown tables."""
    lines = [
        "| network @ setting | rung | images/s | x textbook | x textbooks at once | GFLOP/s | % of floor | MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for entry in cases:
        for row in entry["rungs"]:
            memory = "" if row["memory_mib"] is None else f"{row['memory_mib']:,.0f}"
            lines.append(
                f"| {entry['case']} | {row['rung']} | {row['images_per_second']:,.0f} | "
                f"{row['ratio_to_textbook']:.2f} | {row.get('ratio_to_textbooks') or ''} | {row['gflops']:,.0f} | "
                f"{100 * row['share_of_floor']:.0f} | {memory} |"
            )
    lines += [
        "",
        "| network @ setting | convolutions, % of an eager step | floor by operations, images/s | by bytes |",
    ]
    lines += ["|---|--:|--:|--:|"]
    lines += [
        f"| {entry['case']} | {100 * entry['convolutions_share_of_eager_step']:.0f} | "
        f"{entry['images_per_second_by_operations']:,.0f} | {entry['images_per_second_by_bytes']:,.0f} |"
        for entry in cases
    ]
    whole = [entry for entry in cases if "ratio_of_whole_runs" in entry]
    if whole:
        lines += ["", f"| network @ setting | evaluations, x {TEXTBOOKS} | whole runs |"]
        lines += ["|---|--:|--:|"]
    lines += [
        f"| {entry['case']} | {entry['ratio_of_evaluations']:.2f} | {entry['ratio_of_whole_runs']:.2f} |"
        for entry in whole
    ]
    return "\n".join(lines) + "\n"


def draw(cases: list[Any], path: Path, machine: str) -> None:
    """Draw the ratio to the textbook loop and the share of the floor, one bar per rung."""
    import matplotlib

    matplotlib.use("Agg")
    import pandas as pd
    import seaborn as sns
    from matplotlib import pyplot as plt

    rows = pd.DataFrame([{"case": entry["case"], **row} for entry in cases for row in entry["rungs"]])
    rows["percent_of_floor"] = 100 * rows["share_of_floor"]
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    figure, axes = plt.subplots(1, 2, figsize=(15, 1.5 + 0.62 * len(cases)), sharey=True, layout="constrained")
    for ax, column, label in (
        (axes[0], "ratio_to_textbook", "images per second, relative to the textbook loop"),
        (axes[1], "percent_of_floor", "percent of the speed that the measured peak rates allow"),
    ):
        sns.barplot(rows, x=column, y="case", hue="rung", ax=ax, legend=ax is axes[1])
        ax.set(xlabel=label, ylabel="")
    axes[0].axvline(1, color="black", linewidth=1)
    sns.move_legend(axes[1], "upper left", bbox_to_anchor=(1, 1), title="")
    figure.suptitle(f"Training speed by rung, median of rounds ({machine})")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    case: Annotated[list[str] | None, typer.Option(help="network@setting; can be repeated; default: all.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of turns of each variant.")] = 7,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure torch.compile too; about a minute per network.")
    ] = False,
) -> None:
    """Measure each case and write benchmarks/results/throughput-<device>.{json,md,png}.

    Results of other cases are kept if they come from the same device and the same version of PyTorch.
    """
    chosen = choose_device(device)
    prepare_arithmetic(chosen, this_process(best_precision(chosen)))
    found = measuring.ceilings(chosen)
    print({name: f"{value / 1e9:,.0f} G/s" for name, value in found.items()}, flush=True)
    measured = measuring.earlier("throughput", chosen, "cases")
    for name in case or CASES:
        measured[name] = measure(name, chosen, rounds, found, compiled=compiled and bool(compiler()))
        print(table([measured[name]]), flush=True)
    cases = [
        measured[name]
        for name in sorted(measured, key=lambda name: CASES.index(name) if name in CASES else len(CASES))
    ]
    command = "bash run_all.sh benchmark throughput" + " --compile" * compiled
    path = measuring.write("throughput", command, chosen, {"ceilings": found, "cases": cases})
    path.with_suffix(".md").write_text(table(cases), encoding="utf-8")
    draw(cases, path.with_suffix(".png"), environment(chosen).device_name)
    print(path)


if __name__ == "__main__":
    typer.run(main)
