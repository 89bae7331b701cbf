"""Fault injection: kills, full disks, damaged files, second starts; the results must not change by a byte.

    bash run_all.sh benchmark faults                  # a short version, similar to the one in the tests
    bash run_all.sh benchmark faults --kills 100      # the long version; about 45 minutes on 2 CPU cores

Every fault hits a suite of its own in a temporary folder. The suite is then started again with the same command,
or with --rerun where it asks for that. Afterwards its metrics (except times), layer responses, weights and final
records must equal those of an undisturbed suite. --record writes JSON and a table to benchmarks/results/.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import measuring
from benchmarks.faults.injection import Row
from benchmarks.faults.scenarios import scenarios


def table(rows: list[Row]) -> str:
    """Format the outcomes as a Markdown table."""
    lines = ["| fault | tries | expected | outcome | lost or unequal |", "|---|--:|---|---|--:|"]
    for row in rows:
        outcome = "; ".join(f"{number} x {what}" for what, number in row.outcomes.items())
        lines.append(f"| {row.fault} | {row.tries} | {row.expected} | {outcome} | {row.lost} |")
    kills = sum(row.tries for row in rows if row.fault.startswith("SIGKILL"))
    damaged = sum(row.tries for row in rows if row.fault.endswith(("truncated", "bit flipped", "removed")))
    lost = sum(row.lost for row in rows)
    return "\n".join([*lines, "", f"{kills} kills, {damaged} damaged files; lost or unequal: {lost}"]) + "\n"


def main(
    kills: Annotated[int, typer.Option(help="Kills at random moments; more happen while files are written.")] = 3,
    corruptions: Annotated[
        int | None, typer.Option(help="Number of damaged files; default: a third of --kills, at least 4.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choices.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    record: Annotated[bool, typer.Option("--record", help="Write benchmarks/results/faults-<device>.*.")] = False,
) -> None:
    """Inject the faults; exit with code 1 if anything was lost or differs."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        number = corruptions if corruptions is not None else max(4, kills // 3)
        for row in scenarios(kills, number, Path(folder), seed, device):
            rows.append(row)
            print(f"{row.fault}: {dict(row.outcomes)}", flush=True)
    print(f"\n{table(rows)}")
    if record:
        command = f"bash run_all.sh benchmark faults --kills {kills} --corruptions {number} --record"
        entries = [{"fault": row.fault, "outcomes": dict(row.outcomes), "lost": row.lost} for row in rows]
        path = measuring.write("faults", command, torch.device(device), {"rows": entries})
        path.with_suffix(".md").write_text(table(rows), encoding="utf-8")
    if any(row.lost for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
