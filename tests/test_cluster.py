"""Runs on a Ray cluster: four on two nodes, one of which is lost; equal to those of a suite without Ray."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.executors.executor import DatasetOf
from plain_vs_residual.executors.on_ray import OnRay, writer_of
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records.locks import RunLocks, lock_path
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import read_run
from plain_vs_residual.run import Job
from plain_vs_residual.settings import DIGITS
from tests.conftest import Silent, Suite

ray = pytest.importorskip("ray", reason="Ray is not installed")
EXPERIMENT = Experiment(
    title="Trial",
    paper="none",
    figures=("final_errors",),
    networks={"digits": ("cifar-plain8", "cifar-residual8-A")},
    studies={
        "digits": (
            Study(),
            Study("led", {"schedule": "plateau"}, "one leads, the other follows", leader="cifar-residual8-A"),
        )
    },
    claims=(),
    name="trial",
)


def on_ray(dataset_of: DatasetOf) -> OnRay:
    return OnRay("local", torch.device("cpu"), None, 0, 1, dataset_of)


def test_one_line_says_how_to_install_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    suite = suite_in(tmp_path)
    cluster = on_ray(suite.split)
    line = r"--cluster: Ray is not installed; .* -m pip install .*\[cluster\]'? installs it"
    with pytest.raises(ValueError, match=line):
        list(cluster.carry_out(suite.plan(), train_job, lambda job: Silent()))


def suite_in(folder: Path, **changes: Any) -> Suite:
    setting = DIGITS.with_changes({"image_size": 8, "epochs": None, "iterations": 120, "evaluations": 6})
    values: dict[str, Any] = {
        "experiments": (EXPERIMENT,),
        "setting": setting,
        "dataset": load_dataset(setting),
        "results": folder / "results",
        "seeds": range(1),
    }
    return Suite(**(values | changes))


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Return a cluster of two pretended machines of a core each, to which this process is connected.

    One test takes the second machine away; the other needs but one.
    """
    from ray.cluster_utils import Cluster as Nodes

    repository = Path(__file__).parent.parent
    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}  # a lost node is missed sooner
    nodes = Nodes(initialize_head=True, head_node_args=head)
    nodes.second = nodes.add_node(num_cpus=1)
    environment = {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    ray.init(address=nodes.address, logging_level="error", runtime_env={"env_vars": environment})
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def is_on(node: Any, run: Job) -> bool:
    """Say whether a run is under way, has a checkpoint, and is trained by a process of this node."""
    writer = lock_path(writer_of(run.folder))
    if not (run.folder.checkpoint.exists() and writer.exists() and writer.read_text()):
        return False
    process, raylet = json.loads(writer.read_text())["pid"], node.all_processes["raylet"][0].process.pid
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and int(stat.read_text().rpartition(")")[2].split()[1]) == raylet


def lose(nodes: Any, runs: list[Job]) -> None:
    """Take away the second node as soon as it has a run under way."""
    deadline = time.monotonic() + 300  # a busy machine takes minutes to start a node's processes
    while time.monotonic() < deadline:
        if any(is_on(nodes.second, run) for run in runs):
            nodes.remove_node(nodes.second, allow_graceful=False)
            return
        time.sleep(0.02)


def test_runs_on_two_nodes_of_which_one_is_lost_are_those_of_a_suite_here(tmp_path: Path, two_nodes: Any) -> None:
    here = suite_in(tmp_path / "here")
    here.train(here.plan(), Silent())
    suite = suite_in(tmp_path / "cluster", executor=on_ray)
    runs = suite.plan()
    assert len(runs) == 4
    losing = threading.Thread(target=lose, args=(two_nodes, runs))
    losing.start()
    with suite.locked(runs):
        suite.train(runs, Silent())
    losing.join()
    for ours, theirs in zip(here.plan(), runs, strict=True):
        for name in ("weights.pt", "responses.csv", "training_curve.csv"):
            assert (ours.folder.path / name).read_bytes() == (theirs.folder.path / name).read_bytes(), theirs.name
        first, second = (read_run(run.folder) for run in (ours, theirs))
        assert first.configuration == second.configuration
    assert any(read_run(run.folder).resumed for run in runs), "no run was cut off and went on"
    for one in load_recorded_runs(tmp_path / "cluster/results", "digits"):
        for check in verify(one, EXPERIMENT):
            assert check.differences == [], check


def test_a_process_waits_for_the_one_that_still_writes(tmp_path: Path, two_nodes: Any) -> None:
    suite = suite_in(tmp_path, executor=on_ray)
    run: Job = suite.plan()[0]
    writer = RunLocks([writer_of(run.folder)])
    trained = on_ray(suite.split).carry_out([run], train_job, lambda job: Silent())
    ended: list[Job] = []
    thread = threading.Thread(target=lambda: ended.extend(trained))
    with writer:
        locks = lock_path(writer_of(run.folder)).parent
        seen = {locks.stat().st_mtime_ns}
        thread.start()
        deadline = time.monotonic() + 60
        while len(seen) < 6:  # until it has tried three times, for which it makes and removes a file there
            assert time.monotonic() < deadline
            time.sleep(0.02)
            seen.add(locks.stat().st_mtime_ns)
        assert not run.folder.run.exists()
    thread.join(60)
    assert ended == [run]
    assert run.folder.finished
