"""The script for Slurm, with a pretended ``sbatch`` that notes what it is told and runs the first job of all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plain_vs_residual.records.files import RunFolder

REPOSITORY = Path(__file__).parent.parent
SCRIPT = REPOSITORY / "experiments" / "on_slurm.sh"
SBATCH = """#!/usr/bin/env bash
number=$(($(wc -l <"$NOTES") + 70))
echo "$@" >>"$NOTES"
for argument in "$@"; do
    case $argument in
        --export=ALL,*) IFS=, read -r -a variables <<<"${argument#--export=ALL,}" ;;
    esac
    script=$argument
done
cp "$script" "$NOTES.slurm_script" # as Slurm does
if ((number == 70)); then
    export SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_JOB_ID=$number
    env "${variables[@]}" bash "$NOTES.slurm_script" >"$NOTES.$number" 2>&1
fi
echo "$number"
"""


@pytest.fixture
def pretended(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which ``sbatch`` is the pretended one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH)
    (programs / "sbatch").chmod(0o755)
    (tmp_path / "notes").touch()
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NOTES": str(tmp_path / "notes"),
        "FOLDER": str(tmp_path / "slurm"),
        "PYTHON": sys.executable,
        "SBATCH": "--gpus=1",
        "EXECUTION": "eager",
        "TRAIN": f"--results {tmp_path / 'results'} --device cpu --evaluations 1",
    }


@pytest.mark.usefixtures("one_core")
def test_a_job_per_run_and_those_that_need_others_wait(pretended: dict[str, str], tmp_path: Path) -> None:
    chosen = ["construction", "--setting", "digits", "--seeds", "1", "--iterations", "2"]
    chosen += ["--network", "cifar-plain20"]
    done = subprocess.run(
        ["bash", SCRIPT, *chosen], env=pretended, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "notes").read_text().splitlines()
    assert "--array=1-1 " in first
    assert "--requeue --signal=B:USR1@900" in first
    assert "--gpus=1" in first
    assert "--dependency" not in first
    assert "--array=1-2 " in second
    assert "--dependency=afterany:70 " in second
    folder = tmp_path / "results" / "digits"
    assert RunFolder(folder / "cifar-plain20-2-iterations-s0").finished, (tmp_path / "notes.70").read_text()


def test_without_slurm_one_line_says_where_to_call_it() -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "on_slurm.sh: sbatch is not here; call this on a login node of a Slurm cluster\n"


def test_the_setting_has_to_be_named(pretended: dict[str, str]) -> None:
    done = subprocess.run(["bash", SCRIPT], env=pretended, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("on_slurm.sh: --setting is needed")


TRAINS_UNTIL_TOLD = """#!/usr/bin/env bash
trap 'sleep 0.5; exit 130' TERM
touch "$NOTES.begun"
sleep 60 &
wait
"""


@pytest.mark.parametrize(("told", "requeued"), [(signal.SIGUSR1, True), (None, False)])
def test_a_job_whose_time_is_up_saves_and_goes_back_into_the_queue(
    tmp_path: Path, told: signal.Signals | None, requeued: bool
) -> None:
    programs = {"python": TRAINS_UNTIL_TOLD, "scontrol": '#!/usr/bin/env bash\necho "$@" >>"$NOTES"\n'}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in ("runs", "options"):
        (tmp_path / name).write_text("plain18-s0\n")
    environment = {
        **{"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python")},
        **{"NOTES": str(tmp_path / "notes"), "REPOSITORY": str(REPOSITORY)},
        **{"RUNS": str(tmp_path / "runs"), "OPTIONS": str(tmp_path / "options")},
        **{"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "70"},
    }
    job = subprocess.Popen(["bash", SCRIPT], env=environment, start_new_session=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "notes.begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if told:
        job.send_signal(told)
    else:  # as scancel does
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGTERM)
    assert job.wait(20) == 130
    os.killpg(job.pid, signal.SIGKILL)  # the pretended training's sleep
    assert (tmp_path / "notes").exists() == requeued
    if requeued:
        assert (tmp_path / "notes").read_text() == "requeue 70_1\n"
