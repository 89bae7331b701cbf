"""One run shared by several processes: the same images, the same recipe, and one process that writes."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.executors.children import WorkerDied
from plain_vs_residual.executors.ranks import check_shares, train_on_several_devices
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.group import ALONE
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MetricsRow
from plain_vs_residual.records.store import read_final, read_run
from plain_vs_residual.run import Job
from plain_vs_residual.settings import IMAGENET, Setting
from plain_vs_residual.training.checkpoint import load_checkpoint
from plain_vs_residual.training.place import CPU
from plain_vs_residual.training.session import Stopped
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent, network_of
from tests.in_group import parts_of, work_in_group


@pytest.fixture(scope="module")
def of_sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """Return what each process of groups of one, two and four came to."""
    import tests.conftest as fixtures

    setting = fixtures.tiny_setting.__wrapped__()  # type: ignore[attr-defined]
    dataset = fixtures.tiny_dataset.__wrapped__()  # type: ignore[attr-defined]
    images = fixtures.image_folder.__wrapped__(tmp_path_factory.mktemp("images"))  # type: ignore[attr-defined]
    small = IMAGENET.with_changes({"image_size": 16})
    files = load_dataset(small, images)
    # Forked by a process that has imported what they need, which takes each of them longer than its work.
    multiprocessing.set_forkserver_preload(["tests.in_group", "torch._dynamo"])
    found = {}
    for size in (1, 2, 4):
        folder = tmp_path_factory.mktemp(f"group{size}")
        if size == 1:
            work_in_group(0, size, folder, dataset, setting, files)
        else:
            arguments = (size, folder, dataset, setting, files)
            start_processes(work_in_group, arguments, size, start_method="forkserver")
        found[size] = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]
    return found


@pytest.mark.parametrize("size", [2, 4])
def test_in_double_precision_the_number_of_processes_does_not_show(size: int, of_sizes: Any) -> None:
    alone, shared = of_sizes[1][0]["fp64"], of_sizes[size][0]["fp64"]
    for name, weight in alone["weights"].items():
        assert torch.allclose(weight, shared["weights"][name], rtol=0, atol=1e-12), name
    assert shared["counts"] == pytest.approx(alone["counts"], abs=1e-9)
    assert shared["errors"].loss == pytest.approx(alone["errors"].loss, abs=1e-12)
    assert shared["errors"].confusion == alone["errors"].confusion
    assert sum(map(sum, shared["errors"].confusion)) == 30


def test_two_processes_of_a_part_each_give_the_bytes_of_one_that_takes_both(of_sizes: Any) -> None:
    alone, shared = of_sizes[1][0]["fp32"], of_sizes[2][0]["fp32"]
    for name, weight in alone["weights"].items():
        assert torch.equal(weight, shared["weights"][name]), name


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("kind", ["fp64", "loader"])
def test_every_number_of_processes_consumes_the_same_images(size: int, kind: str, of_sizes: Any) -> None:
    def digest(result: Any) -> Any:
        return result[kind] if kind == "loader" else result[kind]["digest"]

    assert {"indices", "crops", "flips", "pixels"} < digest(of_sizes[1][0]).keys()
    for result in of_sizes[size]:
        assert digest(result) == digest(of_sizes[1][0])


@pytest.mark.parametrize("size", [2, 4])
def test_one_flag_is_heard_by_all_and_the_first_speaks_for_all(size: int, of_sizes: Any) -> None:
    assert [(result["flags"], result["first"]) for result in of_sizes[size]] == [
        ((True, False), "said by 0")
    ] * size


def test_parts_are_normalised_by_themselves_and_weigh_the_same(
    tiny_dataset: Dataset, tiny_setting: Setting
) -> None:
    """The gradient of a step is the mean of its parts' gradients, each from a network that sees it alone."""
    setting = parts_of(tiny_setting, 4).with_changes({"weight_decay": 0.0})  # which SGD adds to the gradient
    network = network_of("cifar-plain8", channels=1, num_classes=3).double()
    feed = make_feed(tiny_dataset, setting, 0, CPU.device)
    images, labels = feed.batch(*next(feed.inputs(0, 1)))
    images = images.double()
    expected: list[Any] = []
    for part in (slice(0, 4), slice(4, 8)):
        alone = network_of("cifar-plain8", channels=1, num_classes=3).double()
        torch.nn.functional.cross_entropy(alone(images[part]), labels[part]).backward()
        expected.append(alone)
    trainer = Trainer(network, setting, "fp32")  # at the rate 0: the step leaves the weights as they are
    trainer.step(images, labels)
    for ours, first, second in zip(*(one.parameters() for one in (network, *expected)), strict=True):
        # The trainer takes the loss of logits in single precision.
        assert torch.allclose(ours.grad, (first.grad + second.grad) / 2, rtol=0, atol=1e-6)
    # Statistics are those of the first part, counted once.
    for (name, ours), theirs in zip(network.named_buffers(), expected[0].buffers(), strict=True):
        assert torch.allclose(ours.double(), theirs.double(), rtol=0, atol=1e-12), name


# ---- whole runs ----------------------------------------------------------------------------------------------


class StopsAt(Silent):
    """Asks to stop after an evaluation; optionally kills one of the processes there."""

    def __init__(self, iteration: int, kill: int | None = None) -> None:
        self.iteration = iteration
        self.kill = kill
        self.reached = False

    def evaluated(self, row: MetricsRow, num_iterations: int) -> None:
        if row.iteration < self.iteration or self.reached:
            return
        self.reached = True
        if self.kill is not None:
            processes = sorted(multiprocessing.active_children(), key=lambda process: process.pid or 0)
            ranks = [process for process in processes if "Server" not in process.name][-2:]
            os.kill(ranks[self.kill].pid or 0, signal.SIGKILL)

    def __call__(self) -> bool:
        return self.reached and self.kill is None


@pytest.fixture
def make_run(make_suite: Any, tiny_setting: Setting, tmp_path: Path) -> Callable[..., tuple[Job, Dataset]]:
    """Return a function that plans a run of 60 iterations whose batch has four parts."""

    def make(name: str) -> tuple[Job, Dataset]:
        # Enlarged images are evaluated in batches of 8, so that each process takes some of them.
        changes = {"iterations": 60, "evaluations": 6, "enlarge_to": 8}
        setting = parts_of(tiny_setting, 2).with_changes(changes)
        suite = make_suite("cifar-plain8", setting=setting, results=tmp_path / name / "results")
        (run,) = suite.plan()
        return run, suite.dataset_of(run)

    return make


def shared_by(devices: int, job: Job) -> Job:
    return replace(job, arithmetic=job.arithmetic.model_copy(update={"devices": devices, "threads": devices}))


def consumed(run: Job) -> list[str]:
    return [row.consumed for row in read_table(run.folder.metrics, MetricsRow).itertuples()]  # type: ignore[misc]


@pytest.mark.usefixtures("forked_workers")
def test_a_run_goes_on_with_another_number_of_devices(make_run: Callable[..., tuple[Job, Dataset]]) -> None:
    undisturbed, dataset = make_run("undisturbed")
    train_job(undisturbed, CPU, dataset, Silent(), lambda: False)
    run, _ = make_run("moved")
    first = StopsAt(20)
    with pytest.raises(Stopped, match="is saved at iteration"):
        train_on_several_devices(shared_by(2, run), CPU, dataset, first, first)
    second = StopsAt(40)
    with pytest.raises(Stopped):
        train_job(run, CPU, dataset, second, second)
    train_on_several_devices(shared_by(4, run), CPU, dataset, Silent(), lambda: False)
    assert read_final(run.folder).consumed == read_final(undisturbed.folder).consumed
    assert consumed(run) == consumed(undisturbed)
    assert [one.arithmetic.devices for one in read_run(run.folder).resumed] == [1, 4]
    assert read_run(run.folder).arithmetic.devices == 2
    # Also evaluated with the same statistics, and counted as one: rounding alone tells the rows apart.
    one, several = (read_table(folder.metrics, MetricsRow) for folder in (undisturbed.folder, run.folder))
    for column in ("running_training_loss", "training_loss", "validation_loss"):
        assert several[column].tolist() == pytest.approx(one[column].tolist(), rel=1e-3), column
    assert several["running_training_error"].tolist() == pytest.approx(
        one["running_training_error"].tolist(), abs=2
    )
    curves = [read_table(folder.training_curve, CurveRow) for folder in (undisturbed.folder, run.folder)]
    assert curves[1]["running_training_loss"].tolist() == pytest.approx(
        curves[0]["running_training_loss"].tolist(), rel=1e-3
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_if_a_process_is_killed_all_end_and_the_run_goes_on(
    make_run: Callable[..., tuple[Job, Dataset]], rank: int, request: pytest.FixtureRequest
) -> None:
    if rank == 1:
        request.getfixturevalue("forked_workers")
    run, dataset = make_run("killed")
    with pytest.raises(WorkerDied, match=rf"process {rank} of 2 was killed.*goes on from the last checkpoint"):
        train_on_several_devices(shared_by(2, run), CPU, dataset, StopsAt(10, kill=rank), lambda: False)
    assert not [one for one in multiprocessing.active_children() if one.is_alive() and "Server" not in one.name]
    checkpoint, damaged = load_checkpoint(run.folder)
    assert checkpoint
    assert checkpoint["iteration"] >= 10
    assert damaged == []
    train_job(run, CPU, dataset, Silent(), lambda: False)
    undisturbed, _ = make_run("undisturbed")
    train_job(undisturbed, CPU, dataset, Silent(), lambda: False)
    assert consumed(run) == consumed(undisturbed)


def test_numbers_of_devices_that_would_change_the_recipe_are_refused(
    make_run: Callable[..., tuple[Job, Dataset]], tiny_setting: Setting
) -> None:
    run, _ = make_run("refused")
    check_shares(run.run, 4)
    with pytest.raises(ValueError, match=r"--devices-per-run 3: .*groups of 2 of 8 images.*accepted are 1, 2, 4$"):
        check_shares(run.run, 3)
    with pytest.raises(ValueError, match=r"over the whole batch of 8 images.*accepted are 1$"):
        check_shares(replace(run.run, setting=tiny_setting), 2)
    with pytest.raises(ValueError, match="norm_batch cannot be 3 with batch_size 8"):
        parts_of(tiny_setting, 3)


def test_a_group_of_one_shares_nothing() -> None:
    values = torch.arange(4)
    assert torch.equal(ALONE.share(values), values)
    ALONE.sum([values])
    assert values.tolist() == [0, 1, 2, 3]
    assert ALONE.in_any(True, False) == (True, False)
    assert ALONE.is_first
