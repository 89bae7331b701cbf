"""Faults on purpose: kills, full disks, damaged files, second starts. The measure: byte-equal results.

    python -m benchmarks.faults                  # a short version, as the tests run it
    python -m benchmarks.faults --kills 100      # the long one; about 20 minutes on 2 CPU cores

Every fault hits a suite of its own in a temporary folder, which is then started again with the same command.
Afterwards metrics (clocks apart), layer responses, weights and outcome must equal those of an undisturbed
suite, byte by byte. Writes a table to benchmarks/results/.
"""

import csv
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import measuring
from plain_vs_residual.records import REPOSITORY, RunFolder, run_folders

CLOCKS = {"training_seconds", "evaluation_seconds"}
UNEQUAL = CLOCKS | {
    *("last_session_seconds", "waited_for_data_seconds", "images_per_second", "peak_memory_mib"),
    *("files", "checksum"),
}
SUITE = (
    *("fig4_depth", "--setting", "digits", "--seeds", "1", "--deterministic"),
    *("--iterations", "12", "--evaluations", "3", "--network", "plain18"),
)
TIMEOUT = 300


@dataclass
class Row:
    """A line of the table."""

    fault: str
    expected: str
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    @property
    def tries(self) -> int:
        """How often the fault was tried."""
        return sum(self.outcomes.values())


class Surprise(AssertionError):
    """Something was lost, changed, or not said."""


def content(folder: Path) -> dict[str, Any]:
    """Everything that must not depend on what happened on the way, by run and file."""
    found: dict[str, Any] = {}
    for run in run_folders(folder / "digits"):
        with run.metrics.open(encoding="utf-8") as file:
            rows = [
                {key: value for key, value in row.items() if key not in CLOCKS} for row in csv.DictReader(file)
            ]
        final = json.loads(run.final.read_text(encoding="utf-8"))
        found[run.path.name] = (
            rows,
            {key: value for key, value in final.items() if key not in UNEQUAL},
            run.responses.read_bytes(),
            run.weights.read_bytes(),
        )
    return found


class Sandbox:
    """Folders for suites, and the undisturbed suite that all are compared with."""

    def __init__(self, folder: Path, jobs: int, device: str) -> None:
        self.folder = folder
        self.jobs = jobs
        self.device = device
        self.numbers = count()
        self.undisturbed = self.fresh()
        started = time.monotonic()
        process = self.start(self.undisturbed)
        assert process.stdout
        self.first_run = next(time.monotonic() - started for line in process.stdout if line.startswith("1/"))
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
        self.whole = time.monotonic() - started
        self.expected = content(self.undisturbed)
        assert len(self.expected) == jobs

    def fresh(self) -> Path:
        """A results folder that is not there yet."""
        return self.folder / f"results-{next(self.numbers)}"

    def copy(self, results: Path) -> Path:
        """A copy of a results folder, to be damaged."""
        return Path(shutil.copytree(results, self.fresh()))

    def start(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Starts the suite."""
        program = program or (sys.executable, "-m", "plain_vs_residual", "train")
        where = ("--device", self.device, "--jobs", str(self.jobs), "--results", str(results))
        another = ("--network", "residual18-A") if self.jobs > 1 else ()
        arguments = (*SUITE, *another, *where, *options)
        if "--report" not in options:
            arguments = (*arguments, "--no-report")
        return subprocess.Popen(
            [*program, *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def finish(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> tuple[int, str]:
        """Runs the suite to its end: exit code and what it said."""
        process = self.start(results, *options, program=program)
        said, _ = process.communicate(timeout=TIMEOUT)
        if "Traceback" in said:
            raise Surprise(f"a traceback: {said}")
        return process.returncode, said

    def must_end_well(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> None:
        """Starts the suite again, which must end with the undisturbed one's results."""
        code, said = self.finish(results, *options, program=program)
        if code != 0:
            raise Surprise(f"exit {code}: {said}")
        if content(results) != self.expected:
            raise Surprise("the results differ from those of the undisturbed suite")

    def must_refuse(self, results: Path, words: str, *options: str) -> None:
        """Starts the suite, which must say the words in one line and exit with 2."""
        code, said = self.finish(results, *options)
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if code != 2 or len(errors) != 1 or words not in errors[0]:
            raise Surprise(f"exit {code}, expected 2 and '{words}': {said}")


def killed_at_random(box: Sandbox, row: Row, chance: random.Random, kills: int, program: tuple[str, ...]) -> None:
    """SIGKILL at random moments, again and again in one suite, until it comes to its end."""
    while row.tries < kills:
        results = box.fresh()
        for _ in range(min(5, kills - row.tries)):
            process = box.start(results, program=program)
            try:
                # A resumed suite has less to do than the undisturbed one: not too late, or it is done before.
                process.communicate(timeout=chance.uniform(box.first_run, (box.first_run + box.whole) / 2))
                break
            except subprocess.TimeoutExpired:
                finished = [run.path.name for run in run_folders(results / "digits") if run.finished]
                process.kill()
                process.communicate(timeout=TIMEOUT)  # until its workers have left as well
                row.outcomes["went on"] += 1
                still = [run.path.name for run in run_folders(results / "digits") if run.finished]
                row.lost += len(set(finished) - set(still))
        box.must_end_well(results, program=program)


def stopped(box: Sandbox, row: Row, chance: random.Random, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit 130, a word on what was saved, and the same command goes on."""
    results = box.fresh()
    process = box.start(results)
    time.sleep(chance.uniform(box.first_run, box.first_run + 0.6 * (box.whole - box.first_run)))
    process.send_signal(number)
    said, _ = process.communicate(timeout=TIMEOUT)
    if process.returncode == 0:
        row.outcomes["it was quicker"] += 1
    elif process.returncode != 130 or "the same command goes on" not in said:
        raise Surprise(f"exit {process.returncode}: {said}")
    else:
        row.outcomes["130, said what was saved, went on"] += 1
    box.must_end_well(results)


def killed_while_writing(box: Sandbox, row: Row, _: random.Random, name: str, nth: int, stage: str) -> None:
    """SIGKILL in the midst of writing one file, for the ``nth`` time."""
    results = box.fresh()
    child = (sys.executable, "-m", "benchmarks.faults_child", name, str(nth), stage)
    options = ("--report",) if name.endswith((".png", ".html")) else ()
    code, said = box.finish(results, *options, program=child)
    if code != -signal.SIGKILL:
        raise Surprise(f"was not killed while writing {name}: exit {code}: {said}")
    box.must_end_well(results, *options)
    row.outcomes["went on"] += 1


def full_disk(box: Sandbox, row: Row, _: random.Random, name: str, nth: int) -> None:
    """ENOSPC while a file is written: one line, exit 2; with room again the same command goes on."""
    results = box.fresh()
    child = (sys.executable, "-m", "benchmarks.faults_child", name, str(nth), "full disk")
    code, said = box.finish(results, program=child)
    if code != 2 or os.strerror(errno.ENOSPC) not in said or "make room" not in said:
        raise Surprise(f"exit {code}: {said}")
    box.must_end_well(results)
    row.outcomes["one line, exit 2, went on"] += 1


def damage(path: Path, how: str, chance: random.Random) -> None:
    """Truncates a file, flips one of its bits, or takes it away."""
    before = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(before[: chance.randrange(len(before))])
    else:
        place = chance.randrange(len(before))
        path.write_bytes(before[:place] + bytes([before[place] ^ 1 << chance.randrange(8)]) + before[place + 1 :])


def damaged_unfinished(box: Sandbox, row: Row, chance: random.Random, half: Path, name: str, how: str) -> None:
    """A damaged file of a run that was stopped: mended from what is there, or refused in one line."""
    results = box.copy(half)
    (run,) = [run for run in run_folders(results / "digits") if run.checkpoint.exists()]
    damage(run.path / name, how, chance)
    code, said = box.finish(results)
    if code == 2:
        if f"{run.path.name}" not in said and "other code" not in said and " before, " not in said:
            raise Surprise(f"not named: {said}")
        box.must_end_well(results, "--rerun")
        row.outcomes["named, exit 2; --rerun trained anew"] += 1
    else:
        box.must_end_well(results)
        row.outcomes["went on"] += 1


def damaged_finished(box: Sandbox, row: Row, chance: random.Random, name: str, how: str) -> None:
    """A damaged file of a finished run: named in one line; ``--rerun`` makes it anew."""
    results = box.copy(box.undisturbed)
    run = RunFolder(next(iter((results / "digits").glob("plain18*"))))
    damage(run.path / name, how, chance)
    if how == "removed" and name in ("final.json", "run.json"):
        box.must_end_well(results, *(["--rerun"] if name == "run.json" else []))
        row.outcomes["trained anew"] += 1
        return
    box.must_refuse(results, name)
    box.must_end_well(results, "--rerun")
    row.outcomes["named, exit 2; --rerun trained anew"] += 1


def second_suite(box: Sandbox, row: Row, _: random.Random) -> None:
    """A second suite on the same folder is told who trains there; the first does not notice."""
    results = box.fresh()
    first = box.start(results)
    assert first.stdout
    next(line for line in first.stdout if line.startswith("1/"))
    box.must_refuse(results, f"is being trained by process {first.pid} on ")
    first.communicate(timeout=TIMEOUT)
    box.must_end_well(results)
    row.outcomes["refused with pid and host"] += 1


def half_way(box: Sandbox) -> Path:
    """A suite that was killed after its second evaluation, with two checkpoints of one run."""
    results = box.fresh()
    child = (sys.executable, "-m", "benchmarks.faults_child", "checkpoint.pt", "2", "replaced")
    box.finish(results, program=child)
    return results


DAMAGES = ("truncated", "bit flipped", "removed")
OF_STOPPED = [(name, how) for name in ("checkpoint.pt", "metrics.csv", "run.json") for how in DAMAGES]
OF_FINISHED = [
    (name, how) for name in ("metrics.csv", "run.json", "final.json", "responses.csv") for how in DAMAGES
]
SCRIPT = ("bash", str(REPOSITORY / "run_all.sh"))
WRITTEN = {"checkpoint.pt": 2, "metrics.csv": 2, "run.json": 1, "weights.pt": 1, "final.json": 1}


WRITING = [
    *(
        (name, number, stage)
        for name, number in WRITTEN.items()
        for stage in ("half written", "written", "replaced")
    ),
    ("checkpoint.pt", 2, "moved the old one"),
    ("fig4_depth.png", 1, "half written"),
]


def scenarios(kills: int, corruptions: int, folder: Path, seed: int, device: str) -> Iterator[Row]:
    """Every fault in turn, a few of each kind where few are asked for; as many at once as there are cores."""
    chance = random.Random(seed)
    long = kills >= 20
    with ThreadPoolExecutor(measuring.CORES) as pool:
        # Both at once: the moments of the kills are drawn from what a suite takes beside another one.
        one, two = pool.map(lambda jobs: Sandbox(folder / str(jobs), jobs, device), (1, 2))
        half = half_way(one)
        rows: list[Future[Row]] = []

        def row(
            fault: str, expected: str, act: Callable[..., None], box: Sandbox, *given: Any, times: int = 1
        ) -> None:
            own = random.Random(f"{seed} {fault}")
            rows.append(pool.submit(_tried, Row(fault, expected), own, times, act, box, *given))

        def part(tenths: int) -> int:
            return max(1, tenths * kills // 10)

        def some(cases: list[Any]) -> list[Any]:
            return cases if long else chance.sample(cases, 1)

        equal = "goes on, equal bytes"
        row("SIGKILL at random, one run at a time", equal, killed_at_random, one, part(4), ())
        row("SIGKILL at random, two at once", equal, killed_at_random, two, part(4), ())
        row("SIGKILL of run_all.sh at random", equal, killed_at_random, one, part(2), SCRIPT)
        for name, nth, stage in some(WRITING):
            row(f"SIGKILL while {name}: {stage}", equal, killed_while_writing, one, name, nth, stage)
        for number, box in some(
            [(number, box) for number in (signal.SIGTERM, signal.SIGINT) for box in (one, two)]
        ):
            fault = f"{number.name}, {box.jobs} at a time"
            row(fault, "exit 130, says what was saved", stopped, box, number, times=max(1, kills // 25))
        for name, nth in some(list(WRITTEN.items())):
            row(f"disk full at {name}", "one line, exit 2", full_disk, one, name, nth)
        fewer = corruptions // len([*OF_STOPPED, *OF_FINISHED])
        for name, how in some(OF_STOPPED):
            fault, expected = f"{name} of a stopped run {how}", "mended, or one line and exit 2"
            row(fault, expected, damaged_unfinished, one, half, name, how, times=fewer + 1)
        for name, how in some(OF_FINISHED):
            fault, expected = f"{name} of a finished run {how}", "one line and exit 2"
            row(fault, expected, damaged_finished, one, name, how, times=max(1, fewer))
        if device.startswith("cuda"):
            row("GPU memory too small", "one line, exit 2", out_of_memory, one)
        row("two suites on one folder", "the second refuses", second_suite, one)
        row("results that cannot be written", "one line, exit 2", read_only, one)
        for future in rows:
            yield future.result()


def _tried(
    line: Row, chance: random.Random, times: int, act: Callable[..., None], box: Sandbox, *given: Any
) -> Row:
    try:
        for _ in range(times):
            act(box, line, chance, *given)
    except (Surprise, subprocess.TimeoutExpired, OSError, ValueError) as error:
        line.outcomes[f"SURPRISE: {' '.join(str(error).split())}"] += 1
        line.lost += 1
    return line


def out_of_memory(box: Sandbox, row: Row, _: random.Random) -> None:
    """A GPU of which the process may use next to nothing: the batch, the peak and what to try are said."""
    results = box.fresh()
    child = (sys.executable, "-m", "benchmarks.faults_child", "", "0", "little GPU memory")
    code, said = box.finish(results, program=child)
    if code != 2 or "out of memory on cuda with batches of 32 images" not in said:
        raise Surprise(f"exit {code}: {said}")
    box.must_end_well(results)
    row.outcomes["one line, exit 2, went on"] += 1


def read_only(box: Sandbox, row: Row, _: random.Random) -> None:
    """A results folder on a file system that takes no files."""
    box.must_refuse(Path("/proc/results"), "cannot be written")
    row.outcomes["one line, exit 2"] += 1


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| fault | tries | expected | outcome | lost or unequal |", "|---|--:|---|---|--:|"]
    for row in rows:
        outcome = "; ".join(f"{number} x {what}" for what, number in row.outcomes.items())
        lines.append(f"| {row.fault} | {row.tries} | {row.expected} | {outcome} | {row.lost} |")
    kills = sum(row.tries for row in rows if row.fault.startswith("SIGKILL"))
    damaged = sum(row.tries for row in rows if row.fault.endswith(("truncated", "bit flipped", "removed")))
    lost = sum(row.lost for row in rows)
    return "\n".join([*lines, "", f"{kills} kills, {damaged} damaged files; lost or unequal: {lost}"]) + "\n"


def main(
    kills: Annotated[int, typer.Option(help="At random moments; others while files are written.")] = 3,
    corruptions: Annotated[
        int | None, typer.Option(help="Damaged files; as many as kills / 3 if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    record: Annotated[bool, typer.Option("--record", help="Write benchmarks/results/faults-<device>.*.")] = False,
) -> None:
    """Runs every fault; exit code 1 if anything was lost."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        number = corruptions if corruptions is not None else max(4, kills // 3)
        for row in scenarios(kills, number, Path(folder), seed, device):
            rows.append(row)
            print(f"{row.fault}: {dict(row.outcomes)}", flush=True)
    print(f"\n{table(rows)}")
    if record:
        command = f"python -m benchmarks.faults --kills {kills} --corruptions {number} --record"
        entries = [{"fault": row.fault, "outcomes": dict(row.outcomes), "lost": row.lost} for row in rows]
        path = measuring.write("faults", command, torch.device(device), {"rows": entries})
        path.with_suffix(".md").write_text(table(rows), encoding="utf-8")
    if any(row.lost for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
