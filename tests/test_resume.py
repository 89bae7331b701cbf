"""A stopped and resumed run equals an undisturbed one byte for byte; damage is named and repaired."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from plain_vs_residual.arithmetic import Execution
from plain_vs_residual.data.images import Dataset
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.executors import description, training_work
from plain_vs_residual.executors.description import describe, environment
from plain_vs_residual.executors.memory import OutOfMemory
from plain_vs_residual.executors.signals import StopRequest
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.ledger import Changed
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import differences
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.records.store import damage, read_records
from plain_vs_residual.run import Job
from plain_vs_residual.training import session
from plain_vs_residual.training.checkpoint import load_checkpoint, save_checkpoint
from plain_vs_residual.training.loop import train
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped
from tests.conftest import Silent, Suite
from tests.made_up_records import read_json
from tests.test_training import CLOCKS, train_all

STUDIES = {
    "step": {"schedule": "step", "drops": (0.5, 0.75)},
    "warm-up": {"schedule": "step", "drops": (0.75,), "warm_up_iterations": 5, "warm_up_depth": 18},
    "linear": {"schedule": "linear"},
    "plateau": {"schedule": "plateau", "learning_rate": 0.5, "evaluations": 12},
    "probe": {"schedule": "linear", "probe_iterations": 6},
}


def study_suite(make_suite: Any, study: str, results: Path, **changes: Any) -> Suite:
    leader = "residual18-A" if study == "replay" else ""
    fields = STUDIES["plateau" if study == "replay" else study]
    experiment = Experiment(
        title="Resume",
        paper="none",
        figures=("final_errors",),
        networks={"digits": ("residual18-A", "plain18") if leader else ("residual18-A",)},
        studies={"digits": (Study(study, fields, leader=leader),)},
        claims=(),
        name="resume",
    )
    suite: Suite = make_suite(experiments=(experiment,), results=results, **changes)
    return suite


def given(suite: Suite, job: Job) -> tuple[Job, Place, Dataset, RunDescription]:
    """Return what ``train`` is given of a job."""
    return job, suite.place, suite.dataset, describe(job, suite.dataset, suite.device)


class StopsAt(Silent):
    """A silent monitor that asks its run to stop after a number of iterations."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.iteration = 0

    def advanced(self, iteration: int, *_: Any) -> None:
        self.iteration = iteration

    def stops(self) -> bool:
        return self.iteration >= self.iterations


def assert_equal_runs(first: RunFolder, second: RunFolder) -> None:
    tables = [pd.read_csv(folder.metrics).drop(columns=CLOCKS) for folder in (first, second)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert first.responses.read_bytes() == second.responses.read_bytes()
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.first_iterations.exists() == second.first_iterations.exists()
    if first.first_iterations.exists():
        assert first.first_iterations.read_bytes() == second.first_iterations.read_bytes()
    finals = [read_json(folder.final) for folder in (first, second)]
    for name in ("consumed", "learning_rates", "training_error", "validation_loss", "mean_response"):
        assert finals[0][name] == finals[1][name]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], list[RunFolder]]], Any]:
    """Return a function that trains undisturbed runs, by name, into a new folder the first time it is asked to."""
    trained: dict[str, list[RunFolder]] = {}

    def of(name: str, train_into: Callable[[Path], list[RunFolder]]) -> list[RunFolder]:
        if name not in trained:
            trained[name] = train_into(tmp_path_factory.mktemp("undisturbed"))
        return trained[name]

    return of


# Evaluations follow iterations 4, 8 and 12; with the plateau schedule, every iteration.
@pytest.mark.parametrize("iterations", [3, 4, 10])
@pytest.mark.parametrize("study", [*STUDIES, "replay"])
def test_a_stopped_run_ends_as_an_undisturbed_one(
    make_suite: Any, once: Any, tmp_path: Path, study: str, iterations: int
) -> None:
    undisturbed = once(study, lambda results: train_all(study_suite(make_suite, study, results)))
    suite = study_suite(make_suite, study, tmp_path / "stopped")
    for run in suite.plan():
        watch = StopsAt(iterations)
        with pytest.raises(Stopped, match=f"{run.name} is saved at iteration {iterations} of 12"):
            train_job(run, suite.place, suite.dataset_of(run), watch, watch.stops)
        assert not run.folder.finished
        train_job(run, suite.place, suite.dataset_of(run), Silent(), lambda: False)
    train_all(suite)
    for before, after in zip(undisturbed, suite.plan(), strict=True):
        assert_equal_runs(before, after.folder)
    recorded = read_json(suite.plan()[0].folder.run)
    assert [session["iteration"] for session in recorded["resumed"]] == [iterations]


def test_stopping_at_every_iteration_changes_nothing(make_suite: Any, tmp_path: Path) -> None:
    (undisturbed,) = train_all(make_suite("residual18-B", results=tmp_path / "undisturbed"))
    suite = make_suite("residual18-B", results=tmp_path / "stopped")
    (run,) = suite.plan()
    stops = 0
    while not run.folder.finished:
        try:
            train(
                run,
                suite.place,
                suite.dataset,
                describe(run, suite.dataset, suite.device),
                Silent(),
                should_stop=lambda: True,
            )
        except Stopped:
            stops += 1
    assert stops == 11
    assert_equal_runs(undisturbed, run.folder)


def test_long_stretches_between_evaluations_are_saved(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(
        session,
        "save_checkpoint",
        lambda folder, state: (saved.append(state["iteration"]), save_checkpoint(folder, state)),
    )
    train_all(make_suite("plain18"))
    assert saved == list(range(1, 13))


def stopped_run(make_suite: Any, results: Path, network: str = "plain18") -> tuple[Suite, RunFolder]:
    suite = make_suite(network, results=results)
    (run,) = suite.plan()
    watch = StopsAt(10)
    with pytest.raises(Stopped):
        train(
            run,
            suite.place,
            suite.dataset,
            describe(run, suite.dataset, suite.device),
            watch,
            should_stop=watch.stops,
        )
    return suite, run.folder


@pytest.mark.parametrize("how", ["truncated", "bit flipped", "empty", "another file", "gone"])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    make_suite: Any, once: Any, tmp_path: Path, how: str, both: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (undisturbed,) = once("plain18", lambda results: train_all(make_suite("plain18", results=results)))
    capsys.readouterr()
    suite, folder = stopped_run(make_suite, tmp_path / "stopped")
    for path in (folder.checkpoint, folder.previous_checkpoint)[: 1 + both]:
        whole = path.read_bytes()
        middle = len(whole) // 2
        if how == "gone":
            path.unlink()
            continue
        path.write_bytes(
            {
                "truncated": whole[:middle],
                "bit flipped": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :],
                "empty": b"",
                "another file": b"no checkpoint",
            }[how]
        )
    train_all(suite)
    said = capsys.readouterr().out
    assert_equal_runs(undisturbed, folder)
    if how != "gone":
        assert said.count("note: ") == 1 + both
        assert ("starts again" if both else "goes on from the checkpoint before it") in said


def test_another_file_in_place_of_a_checkpoint_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_checkpoint(folder, {"iteration": 3})
    folder.previous_checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-1])
    folder.checkpoint.write_bytes(b"no checkpoint")
    assert load_checkpoint(folder) == (
        None,
        [
            f"{folder.checkpoint}: not a checkpoint of this suite",
            f"{folder.previous_checkpoint}: damaged, its content does not match its SHA-256",
        ],
    )


def test_the_checkpoint_before_is_gone_on_from_where_the_newest_is_not_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for iteration in (3, 4):
        save_checkpoint(folder, {"iteration": iteration})
    for left, path in ((4, folder.checkpoint), (3, folder.previous_checkpoint)):
        assert load_checkpoint(folder) == ({"iteration": left}, [])
        path.unlink()
    assert load_checkpoint(folder) == (None, [])


def test_a_checkpoint_of_unknown_origin_is_not_gone_on_from(make_suite: Any, tmp_path: Path) -> None:
    suite, folder = stopped_run(make_suite, tmp_path / "results")
    folder.run.unlink()
    with pytest.raises(Changed, match=r"run\.json: missing"):
        suite.check(suite.plan(), rerun=False)
    assert len(suite.check(suite.plan(), rerun=True)) == 1


def test_a_changed_configuration_of_a_stopped_run_is_named(make_suite: Any, tmp_path: Path) -> None:
    suite, folder = stopped_run(make_suite, tmp_path / "results")
    folder.run.write_text(folder.run.read_text().replace('"started": "2', '"started": "1'))
    with pytest.raises(Changed, match=r"run\.json: damaged"):
        suite.check(suite.plan(), rerun=False)
    with pytest.raises(ValueError, match=r"run\.json: damaged"):
        read_records(folder.path.parent)


def test_another_execution_is_named_where_one_device_computes_and_gives_way_where_several_do(
    make_suite: Any,
) -> None:
    suite = make_suite("plain18")
    (job,) = suite.plan()
    eager = describe(job, suite.dataset, suite.device)
    assert (eager.arithmetic.execution, eager.arithmetic.devices) == (Execution.EAGER, 1)

    def computed(**changes: Any) -> RunDescription:
        return eager.model_copy(update={"arithmetic": eager.arithmetic.model_copy(update=changes)})

    graph = computed(execution=Execution.GRAPH)
    assert differences(graph, eager) == ["execution: graph before, eager now"]
    assert differences(graph, computed(devices=2)) == []


def test_a_torn_row_of_metrics_is_cut_to_the_checkpoint(make_suite: Any, once: Any, tmp_path: Path) -> None:
    (undisturbed,) = once("plain18", lambda results: train_all(make_suite("plain18", results=results)))
    suite, folder = stopped_run(make_suite, tmp_path / "stopped")
    with folder.metrics.open("a") as file:
        file.write("12,0.9,0.00")
    train_all(suite)
    assert_equal_runs(undisturbed, folder)


@pytest.mark.parametrize("name", ["metrics.csv", "responses.csv", "run.json", "final.json"])
@pytest.mark.parametrize("how", ["changed", "truncated", "gone"])
def test_a_damaged_finished_run_is_named_and_can_be_trained_anew(
    make_suite: Any, once: Any, tmp_path: Path, name: str, how: str
) -> None:
    (trained,) = once("plain18", lambda results: train_all(make_suite("plain18", results=results)))
    suite = make_suite("plain18")
    folder = suite.plan()[0].folder
    shutil.copytree(trained.path, folder.path)
    path = folder.path / name
    whole = path.read_text()
    digit = max(whole.rfind(digit) for digit in "123456789")
    if how == "gone":
        path.unlink()
    else:
        path.write_text(whole[:digit] + ("" if how == "truncated" else "0" + whole[digit + 1 :]))
    runs = suite.plan()
    if (name, how) == ("final.json", "gone"):  # without it, the run counts as unfinished and nothing is wrong
        assert suite.check(runs, rerun=False) == []
    else:
        with pytest.raises(Changed, match=name):
            suite.check(runs, rerun=False)
        assert len(suite.check(runs, rerun=True)) == 1
    suite.train(runs, Silent())
    assert damage(folder, weights=True) == []


def test_damaged_weights_are_found_when_looked_for(make_suite: Any) -> None:
    (folder,) = train_all(make_suite("plain18"))
    folder.weights.write_bytes(folder.weights.read_bytes()[:-1])
    assert damage(folder) == []
    assert [line.split(":")[0] for line in damage(folder, weights=True)] == [str(folder.weights)]


def test_a_run_that_moved_to_another_machine_says_so(
    make_suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, _ = stopped_run(make_suite, tmp_path / "results")
    (run,) = suite.plan()
    elsewhere = environment(suite.device).model_copy(update={"torch": "9.9"})
    monkeypatch.setattr(description, "environment", lambda device: elsewhere)
    train(*given(suite, run), Silent())
    from plain_vs_residual.evidence.pairing import differences
    from plain_vs_residual.records.recorded_runs import load_recorded_runs

    (recorded,) = load_recorded_runs(suite.results, "digits")
    (record,) = recorded.records
    now = torch.__version__
    assert list(differences(record, record))[:1] == [
        f"plain18-12-iterations-s0 went on from iteration 10 with torch 9.9, not {now}"
    ]
    assert verify(recorded, suite.experiments[0]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_and_a_second_one_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stops:
        assert not stops()
        os.kill(os.getpid(), number)
        assert stops()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_ctrl_c_in_a_suite_leaves_a_checkpoint(make_suite: Any) -> None:
    class Interrupts(Silent):
        def advanced(self, iteration: int, num_iterations: int) -> None:
            if iteration == 7:
                os.kill(os.getpid(), signal.SIGINT)

    suite = make_suite("plain18", "residual18-A")
    with pytest.raises(Stopped, match="plain18-12-iterations-s0 is saved at iteration 7 of 12"):
        suite.train(suite.plan(), Interrupts())
    checkpoint, damaged = load_checkpoint(suite.plan()[0].folder)
    assert checkpoint
    assert checkpoint["iteration"] == 7
    assert damaged == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["begins", "evaluated", "ended"])
def test_a_signal_between_a_runs_last_check_and_the_next_run_is_not_lost(
    make_suite: Any, number: signal.Signals, when: str
) -> None:
    heard: list[str] = []

    class Interrupts(Silent):
        def begins(self, job: Job, *_: Any) -> "Interrupts":
            self._hear("begins", first=not heard)
            return self

        def evaluated(self, row: Any, num_iterations: int) -> None:
            self._hear("evaluated", first=row.iteration == num_iterations)

        def ended(self, *_: Any) -> None:
            self._hear("ended", first=True)

        def _hear(self, said: str, *, first: bool) -> None:
            heard.append(said)
            if said == when and first:
                os.kill(os.getpid(), number)

    suite = make_suite("plain18", "residual18-A", "residual18-B")
    with pytest.raises(Stopped):
        suite.train(suite.plan(), Interrupts())
    first, *others = suite.plan()
    assert heard.count("begins") == 1
    assert not any(other.folder.path.exists() for other in others)
    assert first.folder.finished is (when != "begins")


def test_a_second_signal_between_two_runs_ends_the_suite_at_once(make_suite: Any) -> None:
    class Interrupts(Silent):
        def ended(self, *_: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("went on after a second signal")

    suite = make_suite("plain18", "residual18-A")
    with pytest.raises(KeyboardInterrupt):
        suite.train(suite.plan(), Interrupts())
    assert [run.folder.finished for run in suite.plan()] == [True, False]


def chained(error: RuntimeError) -> RuntimeError:
    """The error of a recording that failed for want of memory."""
    error.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("could not create a primitive"),
        chained(RuntimeError("CUDA error: operation failed due to a previous error during capture")),
    ],
)
def test_out_of_memory_says_the_batch_and_what_to_try(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(training_work, "train", fails)
    suite = make_suite("plain18")
    with pytest.raises(
        OutOfMemory, match=r"plain18-12-iterations-s0: out of memory on cpu with batches of 8 images of 8 px"
    ):
        suite.train(suite.plan(), Silent())


@pytest.mark.parametrize(
    "said", ["mat1 and mat2 shapes cannot be multiplied", "could not create a primitive descriptor iterator"]
)
def test_other_errors_are_not_taken_for_memory(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(training_work, "train", fails)
    suite = make_suite("plain18")
    with pytest.raises(RuntimeError, match=said):
        suite.train(suite.plan(), Silent())


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_pair_whose_leader_is_damaged_is_trained_anew(make_suite: Any, tmp_path: Path, how: str) -> None:
    suite = study_suite(make_suite, "replay", tmp_path / "results")
    leader, follower = train_all(suite)
    if how == "gone":
        leader.run.unlink()
    else:
        leader.final.write_text(leader.final.read_text().replace('"iteration": 12', '"iteration": 11'))
    with pytest.raises(Changed, match=leader.name):
        suite.check(suite.plan(), rerun=False)
    assert len(suite.check(suite.plan(), rerun=True)) == 2
    train_all(suite)
    assert leader.finished
    assert follower.finished


def test_a_changed_data_set_is_refused(make_suite: Any, tiny_dataset: Any) -> None:
    train_all(make_suite("plain18"))
    pixels = tiny_dataset.validation.pixels.clone()
    pixels[0, 0, 0, 0] ^= 1
    changed = replace(tiny_dataset, validation=replace(tiny_dataset.validation, pixels=pixels))
    suite = make_suite("plain18", dataset=changed)
    with pytest.raises(Changed, match="data_fingerprint: "):
        suite.check(suite.plan(), rerun=False)


def test_a_run_that_replays_is_trained_anew_with_its_leader(make_suite: Any, tmp_path: Path) -> None:
    suite = study_suite(make_suite, "replay", tmp_path / "results")
    train_all(suite)
    leader, follower = suite.plan()
    leader.folder.set_aside()
    with pytest.raises(Changed, match=r"1 recorded runs .*trained anew, and others depend on it"):
        suite.check(suite.plan(), rerun=False)
    assert [path.name.split("-2")[0] for path in suite.check(suite.plan(), rerun=True)] == [follower.name]
