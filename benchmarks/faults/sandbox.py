"""Folders for suites with injected faults, and the undisturbed suite that they are compared with."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from itertools import count, product
from pathlib import Path
from typing import Any

from PIL import Image

from plain_vs_residual.records.files import REPOSITORY, run_folders

CLOCKS = {"training_seconds", "evaluation_seconds"}
UNEQUAL = CLOCKS | {
    *("last_session_seconds", "waited_for_data_seconds", "images_per_second", "peak_memory_mib"),
    *("files", "checksum"),
}
SUITE = (
    *("fig4_depth", "--setting", "digits", "--seeds", "1", "--deterministic"),
    *("--iterations", "12", "--evaluations", "3", "--network", "plain18"),
)
SCRIPT = ("bash", str(REPOSITORY / "run_all.sh"))
TIMEOUT = 300


class Surprise(AssertionError):
    """Something was lost or changed, or an expected message is missing."""


def content(folder: Path) -> dict[str, Any]:
    """Return, by run, everything that must not depend on interruptions."""
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
            run.training_curve.read_bytes(),
            run.responses.read_bytes(),
            run.weights.read_bytes(),
        )
    return found


class Sandbox:
    """A folder for suites, one of which is left undisturbed; the others are compared with it."""

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
        """Return the path of a new results folder, which does not exist yet."""
        return self.folder / f"results-{next(self.numbers)}"

    def moment(self, chance: random.Random) -> float:
        """Draw a time, in seconds after the start, at which a suite still trains; resumed suites end sooner."""
        return chance.uniform(self.first_run, (self.first_run + self.whole) / 2)

    def images(self) -> Path:
        """Write a folder of small images of two classes."""
        folder = self.folder / f"images-{next(self.numbers)}"
        for part, label, number in product(("train", "val"), range(2), range(4)):
            (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
            colour = (255 * label, 30 * number, 200 if part == "val" else 100)
            Image.new("RGB", (32, 32), colour).save(folder / part / str(label) / f"{number}.png")
        return folder

    def copy(self, results: Path) -> Path:
        """Copy a results folder, so that the copy can be damaged."""
        return Path(shutil.copytree(results, self.fresh()))

    def start(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start the suite without waiting for it."""
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
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def finish(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run the suite to its end and return its exit code and output."""
        process = self.start(results, *options, program=program)
        said, _ = process.communicate(timeout=TIMEOUT)
        if "Traceback" in said:
            raise Surprise(f"the output contains a traceback: {said}")
        return process.returncode, said

    def must_end_well(self, results: Path, *options: str, program: tuple[str, ...] = ()) -> None:
        """Start the suite again and check that it ends with the results of the undisturbed one."""
        code, said = self.finish(results, *options, program=program)
        if code != 0:
            raise Surprise(f"exit {code}: {said}")
        if content(results) != self.expected:
            raise Surprise("the results differ from those of the undisturbed suite")

    def must_refuse(self, results: Path, words: str, *options: str, program: tuple[str, ...] = ()) -> None:
        """Start the suite and check that it exits with 2 and one error line that contains ``words``."""
        code, said = self.finish(results, *options, program=program)
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if code != 2 or len(errors) != 1 or words not in errors[0]:
            raise Surprise(f"exit {code}, expected 2 and '{words}': {said}")
