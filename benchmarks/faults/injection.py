"""The faults: each one is injected into a suite in a sandbox, and the consequences are checked."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmarks.faults.sandbox import SCRIPT, TIMEOUT, Sandbox, Surprise
from plain_vs_residual.records.files import RunFolder, run_folders

WORKER = "spawn_main"  # in the command line of a process that trains


@dataclass
class Row:
    """One row of the table."""

    fault: str
    expected: str
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0

    @property
    def tries(self) -> int:
        """Count how often the fault was injected."""
        return sum(self.outcomes.values())


def killed_at_random(box: Sandbox, row: Row, chance: random.Random, kills: int, program: tuple[str, ...]) -> None:
    """Kill a suite at random moments, up to five times in a row, then let it finish; repeat on new suites."""
    while row.tries < kills:
        results = box.fresh()
        for _ in range(min(5, kills - row.tries)):
            process = box.start(results, program=program)
            try:
                process.communicate(timeout=box.moment(chance))
                break
            except subprocess.TimeoutExpired:
                finished = [run.path.name for run in run_folders(results / "digits") if run.finished]
                process.kill()
                process.communicate(timeout=TIMEOUT)  # returns only when its workers have ended as well
                row.outcomes["resumed"] += 1
                still = [run.path.name for run in run_folders(results / "digits") if run.finished]
                row.lost += len(set(finished) - set(still))
        box.must_end_well(results, program=program)


def stopped(box: Sandbox, row: Row, chance: random.Random, number: signal.Signals) -> None:
    """Stop a suite by Ctrl-C or SIGTERM: it must exit with 130, say what was saved, and resume."""
    results = box.fresh()
    process = box.start(results)
    time.sleep(box.moment(chance))
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal signals the whole process group
    else:
        process.send_signal(number)
    _must_have_ended(process, row, 130, "the same command goes on", "exit 130, said what was saved, resumed")
    box.must_end_well(results)


def worker_killed(box: Sandbox, row: Row, chance: random.Random) -> None:
    """Kill one training process, as the kernel does when memory runs out: the suite must say so and resume."""
    results = box.fresh()
    process = box.start(results)
    time.sleep(box.moment(chance))
    listed = ("pgrep", "-P", str(process.pid), "-f", WORKER)
    workers = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
    if workers:
        os.kill(int(chance.choice(workers)), signal.SIGKILL)
    _must_have_ended(process, row, 2, "a training process was killed", "one line, exit 2, resumed")
    box.must_end_well(results)


def _must_have_ended(process: subprocess.Popen[str], row: Row, code: int, words: str, outcome: str) -> None:
    said, _ = process.communicate(timeout=TIMEOUT)
    if process.returncode == 0:
        outcome = "finished before the signal"
    elif process.returncode != code or words not in said or "Traceback" in said:
        raise Surprise(f"exit {process.returncode}: {said}")
    row.outcomes[outcome] += 1


def killed_while_writing(box: Sandbox, row: Row, _: random.Random, name: str, nth: int, stage: str) -> None:
    """Kill a suite while it writes a file for the ``nth`` time; it must resume."""
    results = box.fresh()
    child = _suite_that_breaks(name, nth, stage)
    options = ("--report",) if name.endswith((".png", ".html")) else ()
    code, said = box.finish(results, *options, program=child)
    if code != -signal.SIGKILL:
        raise Surprise(f"was not killed while writing {name}: exit {code}: {said}")
    box.must_end_well(results, *options)
    row.outcomes["resumed"] += 1


def _suite_that_breaks(name: str, nth: int, stage: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.faults.child", name, str(nth), stage)


def full_disk(box: Sandbox, row: Row, _: random.Random, name: str, nth: int) -> None:
    """Raise ENOSPC while a file is written: the suite must exit with 2 and one line, and resume later."""
    results = box.fresh()
    child = _suite_that_breaks(name, nth, "full disk")
    code, said = box.finish(results, program=child)
    if code != 2 or os.strerror(errno.ENOSPC) not in said or "make room" not in said:
        raise Surprise(f"exit {code}: {said}")
    box.must_end_well(results)
    row.outcomes["one line, exit 2, resumed"] += 1


def damage(path: Path, how: str, chance: random.Random) -> None:
    """Truncate a file, flip one of its bits, or remove it."""
    before = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(before[: chance.randrange(len(before))])
    else:
        place = chance.randrange(len(before))
        path.write_bytes(before[:place] + bytes([before[place] ^ 1 << chance.randrange(8)]) + before[place + 1 :])


def damaged_unfinished(box: Sandbox, row: Row, chance: random.Random, half: Path, name: str, how: str) -> None:
    """Damage a file of a stopped run: the suite must repair the run, or name it and exit with 2."""
    results = box.copy(half)
    (run,) = [run for run in run_folders(results / "digits") if run.checkpoint.exists()]
    damage(run.path / name, how, chance)
    code, said = box.finish(results)
    if code not in (0, 2):
        raise Surprise(f"exit {code}: {said}")
    if code == 2:
        if run.path.name not in said:
            raise Surprise(f"the damaged run is not named: {said}")
        box.must_end_well(results, "--rerun")
        row.outcomes["named, exit 2; --rerun trained it again"] += 1
    else:
        box.must_end_well(results)
        row.outcomes["resumed"] += 1


def damaged_finished(box: Sandbox, row: Row, chance: random.Random, name: str, how: str) -> None:
    """Damage a file of a finished run: the suite must name it in one line; ``--rerun`` trains the run again."""
    results = box.copy(box.undisturbed)
    run = RunFolder(next(iter((results / "digits").glob("plain18*"))))
    damage(run.path / name, how, chance)
    if (name, how) == ("final.json", "removed"):  # without it, the run counts as unfinished
        box.must_end_well(results)
        row.outcomes["trained again"] += 1
        return
    box.must_refuse(results, name)
    box.must_end_well(results, "--rerun")
    row.outcomes["named, exit 2; --rerun trained it again"] += 1


def second_suite(box: Sandbox, row: Row, _: random.Random) -> None:
    """Start run_all.sh twice on one folder: the second must name the first, which must finish undisturbed."""
    results = box.fresh()
    first = box.start(results, program=SCRIPT)
    assert first.stdout
    next(line for line in first.stdout if line.startswith("1/"))
    first.send_signal(signal.SIGSTOP)  # so that it cannot finish before the second one checks
    try:
        box.must_refuse(results, f"is being trained by process {first.pid} on ", program=SCRIPT)
    finally:
        first.send_signal(signal.SIGCONT)
    first.communicate(timeout=TIMEOUT)
    box.must_end_well(results)
    row.outcomes["refused with pid and host"] += 1


def out_of_memory(box: Sandbox, row: Row, _: random.Random) -> None:
    """Exhaust memory after two steps: the error must name device and batch, and the suite must resume."""
    results = box.fresh()
    code, said = box.finish(results, program=_suite_that_breaks("", 0, "little memory"))
    if code != 2 or f"out of memory on {box.device} with batches of 32 images" not in said:
        raise Surprise(f"exit {code}: {said}")
    box.must_end_well(results)
    row.outcomes["one line, exit 2, resumed"] += 1


def changed_images(box: Sandbox, row: Row, _: random.Random) -> None:
    """Replace an image between two starts: that is another run, and the first is finished once it is restored."""
    results, images = box.fresh(), box.images()
    options = ("--data", str(images), "--iterations", "2", "--evaluations", "1")
    code, said = box.finish(results, *options)
    if code != 0:
        raise Surprise(f"exit {code}: {said}")
    image = min(images.rglob("*.png"))
    before = image.read_bytes()
    Image.new("RGB", (32, 32)).save(image)
    code, said = box.finish(results, *options)
    if code != 0 or "finished already" in said or len(list(results.glob("digits/*/final.json"))) != 2:
        raise Surprise(f"exit {code}: {said}")
    image.write_bytes(before)
    code, said = box.finish(results, *options)
    if code != 0 or "1 of 1 runs are finished already" not in said:
        raise Surprise(f"exit {code}: {said}")
    row.outcomes["another run; finished once restored"] += 1


def read_only(box: Sandbox, row: Row, _: random.Random) -> None:
    """Name a results folder that cannot be written: the suite must refuse it in one line."""
    box.must_refuse(Path("/proc/results"), "cannot be written")
    row.outcomes["one line, exit 2"] += 1


def half_way(box: Sandbox) -> Path:
    """Return the results of a suite killed after its second evaluation, with two checkpoints of one run."""
    results = box.fresh()
    box.finish(results, program=_suite_that_breaks("checkpoint.pt", 2, "replaced"))
    return results
