"""What only a CUDA device can show: recording, resuming, memory, two runs at once. Skipped where none is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from plain_vs_residual.arithmetic import Execution
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.executors.memory import OutOfMemory
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.networks import on_device
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.training.precision import prepare_arithmetic, this_process
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent, network_of
from tests.test_resume import StopsAt, assert_equal_runs
from tests.test_training import train_all

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

GPU = torch.device("cuda", 0)
LOSSES = ["running_training_loss", "training_loss", "validation_loss"]
# Between algorithms that add in another order, after four iterations: an H100 differed from a CPU by 0.00002
# there, and by 0.05 after eight iterations.
RELATIVE_TOLERANCE = 0.001


@pytest.fixture(autouse=True)
def arithmetic_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what a run sets for the whole process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, perhaps in an earlier test
    yield
    torch.use_deterministic_algorithms(False)
    prepare_arithmetic(GPU, this_process("fp32"))


def losses_of(folder: RunFolder) -> pd.DataFrame:
    return pd.read_csv(folder.metrics)[LOSSES]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", ["cifar-residual8-A", "residual18-B", "plain50"])
def test_a_recorded_run_equals_an_eager_one_bit_by_bit(
    make_suite: Any, tmp_path: Path, network: str, precision: str
) -> None:
    ends = []
    for execution in (Execution.EAGER, Execution.GRAPH):
        options = {"precision": precision, "execution": execution, "device": GPU, "deterministic": True}
        ends += train_all(make_suite(network, results=tmp_path / execution, **options))
    assert_equal_runs(*ends)


def test_a_recorded_run_is_near_an_eager_one_and_one_on_the_cpu(make_suite: Any, tmp_path: Path) -> None:
    """With whatever algorithms are fastest, in fp32."""
    (cpu,) = train_all(make_suite("residual18-B", results=tmp_path / "cpu"))
    for execution in (Execution.EAGER, Execution.GRAPH):
        suite = make_suite("residual18-B", results=tmp_path / execution, device=GPU, execution=execution)
        (gpu,) = train_all(suite)
        first = losses_of(cpu).head(1), losses_of(gpu).head(1)
        pd.testing.assert_frame_equal(*first, rtol=RELATIVE_TOLERANCE, atol=0)


@pytest.mark.parametrize("execution", [Execution.EAGER, Execution.GRAPH])
@pytest.mark.parametrize("iterations", [3, 6])
def test_a_resumed_run_equals_an_undisturbed_one(
    make_suite: Any, tmp_path: Path, execution: Execution, iterations: int
) -> None:
    """Stopped before its step was recorded, and after."""
    options = {"device": GPU, "execution": execution, "precision": "bf16", "deterministic": True}
    (undisturbed,) = train_all(make_suite("residual18-B", results=tmp_path / "undisturbed", **options))
    suite = make_suite("residual18-B", results=tmp_path / "stopped", **options)
    (run,) = suite.plan()
    watch = StopsAt(iterations)
    with pytest.raises(KeyboardInterrupt, match=f"is saved at iteration {iterations} of 12"):
        train_job(run, suite.place, suite.dataset_of(run), watch, watch.stops)
    train_all(suite)
    assert_equal_runs(undisturbed, run.folder)


@pytest.mark.parametrize("execution", [Execution.EAGER, Execution.GRAPH])
def test_a_run_that_does_not_fit_says_so_in_one_line_and_the_next_one_trains(
    make_suite: Any, tiny_setting: Any, tmp_path: Path, execution: Execution
) -> None:
    large = tiny_setting.with_changes({"batch_size": 4096, "stem_width": 64})
    too_large = make_suite("residual18-A", setting=large, device=GPU, execution=execution)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction(2**28 / total, GPU)  # an activation is 64 MiB, and there are dozens
    try:
        with pytest.raises(OutOfMemory, match="out of memory on cuda:0 with batches of 4096 images") as caught:
            too_large.train(too_large.plan(), Silent())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert "\n" not in str(caught.value)
    small = make_suite("residual18-A", results=tmp_path / "small", device=GPU, execution=execution)
    (folder,) = train_all(small)
    assert folder.finished


def test_two_jobs_on_one_gpu_give_the_results_of_one(make_suite: Any, tmp_path: Path) -> None:
    options = {"device": GPU, "execution": Execution.GRAPH, "precision": "bf16", "deterministic": True}
    networks = ("plain18", "residual18-A")
    alone = train_all(make_suite(*networks, seeds=2, results=tmp_path / "one", **options))
    together = make_suite(*networks, seeds=2, results=tmp_path / "two", **options)
    runs = together.plan()
    together.train(runs, Silent(), at_once=2)
    for one, run in zip(alone, runs, strict=True):
        assert_equal_runs(one, run.folder)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("precision", ["bf16", "fp32", "tf32", "fp16"])
def test_a_step_never_waits_for_the_device(tiny_setting: Any, tiny_dataset: Any, precision: Any) -> None:
    """torch itself says so: it raises an error at every wait that it knows of."""
    prepare_arithmetic(GPU, this_process(precision))
    network = on_device(network_of("residual18-B", channels=1, num_classes=3, stem_width=4), GPU)
    trainer = Trainer(network, tiny_setting, precision)
    feed = ResidentFeed(tiny_dataset, tiny_setting, 0, GPU)
    inputs = list(feed.inputs(0, 6))

    def take(given: tuple[torch.Tensor, ...]) -> None:
        trainer.learning_rate.fill_(0.1)
        trainer.step(*feed.batch(*given))

    for given in inputs[:3]:  # the first brings the digest's weights to the device
        take(given)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for given in inputs[3:]:
            take(given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.totals.counts().images == 6 * tiny_setting.batch_size
