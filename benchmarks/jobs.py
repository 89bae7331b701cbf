"""Does it pay to train several runs at once, in processes or in threads of one process?

    bash run_all.sh benchmark jobs

It measures the images per second of all runs together and compares them with one run that has the whole
machine. The variants take turns, and each number is the median of several rounds. Threads are tried on the CPU
only: on a GPU, one cannot record its graph while another calls CUDA.
"""

from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks import measuring
from benchmarks.contestants import Contestant, EngineInProcess, in_processes, in_threads
from plain_vs_residual.executors.machine import choose_device
from plain_vs_residual.training.execution import best_execution
from plain_vs_residual.training.precision import best_precision, prepare_arithmetic, this_process

CASES = ("cifar-residual20-A@digits", "residual34-A@digits", "cifar-residual20-A@cifar10")


def main(
    case: Annotated[list[str] | None, typer.Option(help="network@setting; can be repeated.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    rounds: Annotated[int, typer.Option(help="Number of turns of each variant.")] = 9,
) -> None:
    """Measure several runs at once and write benchmarks/results/jobs-<device>.{json,md}."""
    chosen = choose_device(device)
    precision = best_precision(chosen)
    execution = best_execution(chosen)
    prepare_arithmetic(chosen, this_process(precision))
    numbers = (2, 4) if chosen.type == "cuda" else (measuring.CORES,)
    lines = ["| network @ setting | runs at once | images/s of all | x one run |", "|---|---|--:|--:|"]
    cases = []
    for name in case or CASES:
        _, setting, _ = measuring.case(name)

        def engines(num: int, name: str = name) -> EngineInProcess:
            return EngineInProcess(name, str(chosen), precision, execution, max(1, measuring.CORES // num))

        contestants: dict[str, tuple[int, Contestant]] = {"one": (1, in_processes(engines(1), 1))}
        for num in numbers:
            contestants[f"{num} processes"] = (num, in_processes(engines(num), num))
            if chosen.type != "cuda":
                contestants[f"{num} threads"] = (num, in_threads(engines(num), num))
        times = measuring.interleaved({key: run for key, (_, run) in contestants.items()}, rounds, chosen)
        rows = {}
        for key, (num, _) in contestants.items():
            rate = num * setting.batch_size / median(times[key])
            ratio = median([num * a / b for a, b in zip(times["one"], times[key], strict=True)])
            rows[key] = {"images_per_second": round(rate, 1), "ratio_to_one": round(ratio, 2)}
            lines.append(f"| {name} | {key} | {rate:,.0f} | {ratio:.2f} |")
        cases.append({"case": name, **rows})
        print("\n".join(lines), flush=True)
    path = measuring.write("jobs", "bash run_all.sh benchmark jobs", chosen, {"cases": cases})
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    torch.set_num_threads(measuring.CORES)
    typer.run(main)
