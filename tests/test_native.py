"""Native steps: the passes in C++ compute what torch computes, and runs by them are runs like others."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic, Execution, Precision
from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.executors import description, fast_path, machine
from plain_vs_residual.executors.common_arithmetic import ComputeOptions, _wanted_execution
from plain_vs_residual.executors.placement import choose_placement
from plain_vs_residual.executors.training_work import train_job
from plain_vs_residual.networks import build, on_device
from plain_vs_residual.records.fingerprint import code_hashes
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.settings import DIGITS, IMAGENET
from plain_vs_residual.training import native_library, native_step
from plain_vs_residual.training.execution import compiler
from plain_vs_residual.training.native_library import AVX2, AVX512_BF16, SOURCE, instructions, library
from plain_vs_residual.training.native_step import misfit
from plain_vs_residual.training.session import Stopped
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent, command
from tests.made_up_records import read_json
from tests.test_resume import StopsAt, assert_equal_runs
from tests.test_suite_and_verify import experiment_of
from tests.test_training import train_all

NATIVE = Execution.NATIVE
if not (compiler() and instructions()):
    pytest.skip("needs a C++ compiler and a processor with AVX2", allow_module_level=True)
BF16 = pytest.mark.skipif(AVX512_BF16 not in instructions(), reason="this processor does not multiply bf16")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


QUICKLY_COMPILED = tuple("-O0" if flag == "-O3" else flag for flag in native_library.FLAGS)


def trainer_of(
    name: str, execution: Execution, precision: Precision = "fp32", channels: int = 1, **changes: Any
) -> Trainer:
    recipe = DIGITS.with_changes({"batch_size": 32, **changes})
    network = build(Architecture.parse(name), recipe, channels=channels, num_classes=10, seed=0)
    return Trainer(on_device(network, torch.device("cpu")), recipe, precision, execution=execution)


State = dict[str, Tensor]


def states(trainer: Trainer, steps: int = 1, size: int = 7) -> list[State]:
    """Take some steps, each at another rate; return the states before and after each, with momentum."""
    channels, batch = trainer.network.conv1.in_channels, 32 * trainer.num_ghost_batches  # type: ignore[union-attr]
    found = []
    for step in range(steps + 1):
        momenta = {
            f"{i}.momentum": one["momentum_buffer"] for i, one in enumerate(trainer.optimizer.state.values())
        }
        now = {**trainer.network.state_dict(), **momenta}
        found.append({name: tensor.detach().double().clone() for name, tensor in now.items()})
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(batch, channels, size, size, generator=generator) + 0.3
        if step < steps:
            trainer.learning_rate.fill_(0.02 / (step + 1))
            trainer.step(images, torch.arange(batch) % 10)
    return found


def apart(one: State, other: State, start: State) -> float:
    """Return how far two states are apart, in units of the way of what was trained."""
    names = [name for name in start if "running" not in name and "num_batches" not in name]
    difference, way = (
        sum(float((one[name] - two[name]).square().sum()) for name in names) for two in (other, start)
    )
    return float((difference / way) ** 0.5)


def assert_close_statistics(one: State, other: State) -> None:
    for name in (name for name in one if "running" in name or "num_batches" in name):
        torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-6, msg=name)


# ---- the same numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", ["cifar-plain8", *(f"cifar-residual8-{option}" for option in "ABC")])
def test_a_step_in_fp32_is_that_of_torch_but_for_the_last_digits(network: str, channels: int) -> None:
    eager, native = (states(trainer_of(network, one, channels=channels)) for one in (Execution.EAGER, NATIVE))
    assert apart(eager[1], native[1], eager[0]) < 1e-4
    assert_close_statistics(eager[1], native[1])


@pytest.mark.parametrize("network", ["plain18", "residual18-B"])
def test_several_steps_are_those_of_torch_but_for_the_last_digits(network: str) -> None:
    """A difference in the last digit grows from step to step, as one in bf16 does: a tenth of that at most."""
    eager, native = (states(trainer_of(network, one), 4) for one in (Execution.EAGER, NATIVE))
    rounded = states(trainer_of(network, Execution.EAGER, "bf16"), 4)
    assert eager[4].keys() == native[4].keys()
    for step in range(1, 5):
        assert apart(eager[step], native[step], eager[0]) < 0.1 * apart(eager[step], rounded[step], eager[0])
    assert native[4]["bn1.num_batches_tracked"] == 4


@BF16
@pytest.mark.parametrize("network", ["cifar-plain8", "cifar-residual8-A", "residual18-C"])
def test_a_step_in_bf16_is_as_near_to_fp32_as_that_of_torch(network: str) -> None:
    exact = states(trainer_of(network, Execution.EAGER))
    eager, native = (states(trainer_of(network, one, "bf16")) for one in (Execution.EAGER, NATIVE))
    assert apart(exact[1], native[1], exact[0]) < 1.2 * apart(exact[1], eager[1], exact[0])
    assert apart(eager[1], native[1], exact[0]) < apart(exact[1], eager[1], exact[0])


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        (
            "cifar-residual8-A",
            {"batch_size": 64, "norm_batch": 32},
        ),  # running statistics are those of the first part
        ("cifar-plain8", {"clip_norm": 0.1}),
        ("cifar-residual8-B", {"momentum": 0.5, "weight_decay": 0.1}),
        ("residual18-A", {"modification": "zero-gamma", "stem_width": 32}),
    ],
)
def test_what_a_recipe_says_beside_holds_for_native_steps(network: str, changes: dict[str, Any]) -> None:
    eager, native = (states(trainer_of(network, one, **changes), 2) for one in (Execution.EAGER, NATIVE))
    assert apart(eager[2], native[2], eager[0]) < 1e-3
    assert_close_statistics(eager[2], native[2])


def test_several_blocks_of_images_are_one_batch() -> None:
    eager, native = (trainer_of("cifar-residual8-B", one, batch_size=96) for one in (Execution.EAGER, NATIVE))
    images, labels = torch.randn(96, 1, 9, 9, generator=torch.Generator().manual_seed(1)), torch.arange(96) % 10
    for trainer in (eager, native):
        trainer.step(images, labels)
    for one, other in zip(eager.network.parameters(), native.network.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5)
    assert eager.totals.counts().errors == native.totals.counts().errors


def test_processors_without_avx512_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "instructions", lambda: AVX2)
    monkeypatch.setattr(native_library, "FLAGS", QUICKLY_COMPILED)
    library.cache_clear()
    try:
        eager, native = (
            states(trainer_of("cifar-residual8-B", one, channels=3)) for one in (Execution.EAGER, NATIVE)
        )
    finally:
        library.cache_clear()
    assert apart(eager[1], native[1], eager[0]) < 1e-4


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=BF16)])
def test_what_is_no_number_stays_none(precision: Precision) -> None:
    trainer = trainer_of("cifar-residual8-A", NATIVE, precision)
    images = torch.zeros(32, 1, 7, 7)
    images[5, 0, 3, 3] = float("nan")
    trainer.step(images, torch.arange(32) % 10)
    assert trainer.totals.last_loss.isnan()
    assert all(parameter.isnan().any() for parameter in trainer.network.parameters())


def test_a_backward_pass_whose_activations_are_gone_is_refused() -> None:
    native = trainer_of("cifar-plain8", NATIVE).training_pass
    first, _ = native(torch.zeros(32, 1, 7, 7)), native(torch.zeros(32, 1, 7, 7))
    with pytest.raises(AssertionError, match="have been overwritten"):
        first.sum().backward()


# ---- runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def make_native(make_suite: Any, tiny_setting: Any) -> Any:
    """Return a function that makes a suite whose batches and channels are those of native steps."""
    generator = torch.Generator().manual_seed(0)

    def images(num: int) -> Images:
        labels = torch.arange(num) % 3
        noise = torch.randint(0, 100, (num, 8, 8, 1), generator=generator)
        return Images((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)

    dataset = Dataset("tiny", ("a", "b", "c"), images(70), images(12))
    setting = tiny_setting.with_changes({"batch_size": 32, "stem_width": 16})
    return lambda *networks, **changes: make_suite(
        *networks, **({"setting": setting, "dataset": dataset, "execution": NATIVE} | changes)
    )


def test_a_stopped_run_ends_as_an_undisturbed_one(make_native: Any, tmp_path: Path) -> None:
    precision = "bf16" if AVX512_BF16 in instructions() else "fp32"
    (undisturbed,) = train_all(make_native("cifar-residual8-B", precision=precision))
    suite = make_native("cifar-residual8-B", precision=precision, results=tmp_path / "stopped")
    (job,) = suite.plan()
    for iterations in (3, 8):
        watch = StopsAt(iterations)
        with pytest.raises(Stopped):
            train_job(job, suite.place, suite.dataset_of(job), watch, watch.stops)
    train_job(job, suite.place, suite.dataset_of(job), Silent(), lambda: False)
    assert_equal_runs(undisturbed, job.folder)


def test_members_of_a_native_pair_agree_and_say_how_they_were_computed(make_native: Any) -> None:
    experiment = experiment_of("cifar-plain8", "cifar-residual8-A")
    suite = make_native(experiments=(experiment,))
    folders = train_all(suite)
    (recorded,) = load_recorded_runs(suite.results, "digits")
    (check,) = verify(recorded, experiment)
    assert check.differences == ()
    assert [read_json(folder.run)["arithmetic"]["execution"] for folder in folders] == ["native", "native"]
    found = compiler()
    assert found
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    assert [read_json(folder.run)["environment"]["compiler"] for folder in folders] == [said, said]


def test_members_whose_steps_two_compilers_made_are_no_pair(
    make_native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiment_of("cifar-plain8", "cifar-residual8-A")
    for network, version in (("cifar-plain8", "a compiler 12"), ("cifar-residual8-A", "a compiler 13")):
        monkeypatch.setattr(description, "compiler_version", lambda version=version: version)
        train_all(make_native(experiments=(experiment,), only=frozenset({network})))
    (recorded,) = load_recorded_runs(make_native(experiments=(experiment,)).results, "digits")
    (check,) = verify(recorded, experiment)
    assert "compiler: a compiler 12 against a compiler 13" in check.differences


def test_a_native_member_and_an_eager_one_are_no_pair(make_native: Any) -> None:
    experiment = experiment_of("cifar-plain8", "cifar-residual8-A")
    train_all(make_native(experiments=(experiment,), only=frozenset({"cifar-plain8"})))
    suite = make_native(
        experiments=(experiment,), execution=Execution.EAGER, only=frozenset({"cifar-residual8-A"})
    )
    train_all(suite)
    (recorded,) = load_recorded_runs(suite.results, "digits")
    (check,) = verify(recorded, experiment)
    assert "execution" in str(check.differences)


def test_divergence_is_an_outcome(make_native: Any, tiny_setting: Any) -> None:
    wild = tiny_setting.with_changes({"batch_size": 32, "learning_rate": 1e30})
    (folder,) = train_all(make_native("cifar-residual8-A", setting=wild))
    assert read_json(folder.final)["outcome"] == "diverged"


def test_the_code_in_cpp_counts_as_code_that_decides_numbers() -> None:
    assert "plain_vs_residual/training/native_step.cpp" in code_hashes()


# ---- the check of fast paths ---------------------------------------------------------------------------------


def chosen_for(suite: Any, said: list[str]) -> set[Execution]:
    wanted = ComputeOptions(device="cpu", precision=suite.precision, execution="native")
    placed = choose_placement(suite.selection.plan(), suite.ledger, suite.dataset, wanted, said.append)
    return {job.arithmetic.execution for job in placed.jobs}


FAULTS = {
    "a shortcut is forgotten": ("value = rounded(value) + load(added, half);", ";"),
    "half of a shortcut's gradient is forgotten": ("load(to, 0) + load(from, 0)", "load(to, 0)"),
    "running variances are biased": ("* number / (number - 1)", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_library_is_caught(
    make_native: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    as_it_is, instead = FAULTS[fault]
    text = SOURCE.read_text(encoding="utf-8")
    assert text.count(as_it_is) == 1
    faulty = tmp_path / "faulty.cpp"
    faulty.write_text(text.replace(as_it_is, instead), encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native_library, "FLAGS", QUICKLY_COMPILED)
    monkeypatch.setattr(native_step, "library", lambda precision: library(precision, faulty))
    monkeypatch.setattr(fast_path, "CHECKED", 2)
    said: list[str] = []
    assert chosen_for(make_native("cifar-residual8-A"), said) == {Execution.EAGER}
    assert "times as far from the eager one as rounding takes it" in said[0]


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=BF16)])
def test_native_steps_that_compute_the_same_are_taken(
    make_native: Any, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "CHECKED", 2)
    said: list[str] = []
    assert chosen_for(make_native("cifar-residual8-A", precision=precision), said) == {NATIVE}
    assert said == []


MISFITS: list[tuple[str, dict[str, Any], Precision, str]] = [
    ("residual50-B", {}, "fp32", "blocks of three layers"),
    ("plain18", {"stem": "7x7"}, "fp32", "a 7x7 stem"),
    ("cifar-residual20-A", {"modification": "pre-activation"}, "fp32", "blocks changed by pre-activation"),
    ("plain18", {"stem_width": 8}, "fp32", "8 channels, no multiple of 16"),
    ("cifar-plain20", {"batch_size": 20}, "fp32", "BN over 20 images, no multiple of 32"),
    ("cifar-plain20", {"batch_size": 64, "norm_batch": 16}, "fp32", "BN over 16 images, no multiple of 32"),
    ("cifar-plain20", {}, "fp16", "fp16, neither bf16 nor fp32"),
]


@pytest.mark.parametrize(("network", "changes", "precision", "words"), MISFITS)
def test_what_native_steps_are_not_made_for_is_named(
    network: str, changes: dict[str, Any], precision: Precision, words: str
) -> None:
    recipe = DIGITS.with_changes({"batch_size": 32, **changes})
    assert misfit(Architecture.parse(network), recipe, precision) == f"native steps are not made for {words}"


def test_what_native_steps_are_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for network in ("plain18", "residual34-C", "cifar-plain20", "cifar-residual110-A"):
        for changes in ({}, {"modification": "zero-gamma"}, {"batch_size": 128}):
            assert misfit(Architecture.parse(network), DIGITS.with_changes(changes), "fp32") == ""
    monkeypatch.setattr(native_step, "instructions", lambda: AVX2)
    assert "bf16, which this processor does not multiply" in misfit(Architecture.parse("plain18"), DIGITS, "bf16")
    assert (
        misfit(Architecture.parse("cifar-plain20"), IMAGENET, "fp32") == ""
    )  # this family has a 3x3 stem anywhere


class Halved(ResidualBlock):
    """What a student may write: a block that computes something else."""


@pytest.mark.parametrize("what", ["block", "shortcut", "bias", "kernel", "epsilon"])
def test_layers_and_blocks_that_the_library_does_not_know_are_refused(what: str) -> None:
    """Only two networks of a plan are compared with eager steps, and the others must not be computed wrongly."""
    network = build(Architecture.parse("cifar-residual8-A"), DIGITS, channels=1, num_classes=10, seed=0)
    block = network.get_submodule("layer2.0")
    assert isinstance(block, ResidualBlock)
    match what:
        case "block":
            network.layer2 = torch.nn.Sequential(Halved(block.layers(), block.shortcut))
        case "shortcut":
            block.shortcut = torch.nn.MaxPool2d(2)
        case "bias":
            block.conv1 = torch.nn.Conv2d(16, 32, 3, 2, 1)
        case "kernel":
            block.conv2 = torch.nn.Conv2d(32, 32, 5, padding=2, bias=False)
        case "epsilon":
            block.bn2.eps = 1e-3
    with pytest.raises(ValueError, match="native steps know no"):
        Trainer(network, DIGITS, "fp32", execution=NATIVE)


def test_a_network_that_does_not_fit_makes_all_runs_eager_and_one_line_says_so(make_native: Any) -> None:
    said: list[str] = []
    suite = make_native("cifar-residual8-A", "residual50-B")
    assert chosen_for(suite, said) == {Execution.EAGER}
    assert said == [
        "note: --execution native cannot be used here (residual50-B: native steps are not made for blocks of "
        "three layers); all runs are trained eagerly"
    ]


def test_runs_whose_first_iterations_are_watched_are_eager(make_native: Any, tiny_setting: Any) -> None:
    watched = tiny_setting.with_changes({"batch_size": 32, "probe_iterations": 2})
    (job,) = make_native("cifar-plain8", setting=watched).plan()
    assert job.arithmetic.execution is Execution.EAGER


# ---- machines that cannot ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("compiler", None, "native steps need a C++ compiler (g++ or clang++); install one, or use eager"),
        ("instructions", (), "native steps need a processor with AVX2; use eager"),
    ],
)
def test_a_machine_that_cannot_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: Any,
    words: str,
) -> None:
    monkeypatch.setattr(machine, name, lambda: value)
    results = ("--results", tmp_path / "results")
    code = command(monkeypatch, "train", "fig4_depth", "--setting", "digits", "--execution", "native", *results)
    assert code == 2
    assert capsys.readouterr().err.strip() == f"error: --execution native: {words}"


def test_a_gpu_and_several_devices_have_no_native_steps() -> None:
    assert "are computed on a CPU, not on cuda" in machine.refusal(NATIVE, torch.device("cuda"))
    with pytest.raises(
        ValueError, match="--execution native: native steps have not been tried with several devices"
    ):
        _wanted_execution([], "native", 2)


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "broken.cpp"
    broken.write_text("nonsense", encoding="utf-8")
    with pytest.raises(ValueError, match=r"does not compile broken.cpp: .*nonsense"):
        library("fp32", broken)
    monkeypatch.setattr(native_library, "compiler", lambda: None)
    with pytest.raises(ValueError, match=r"native steps need a C\+\+ compiler"):
        library("fp32", tmp_path / "another.cpp")


def test_where_nothing_can_be_kept_the_library_is_made_for_one_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = native_library._cache()
    assert folder.is_dir()
    assert tmp_path not in folder.parents


def test_an_execution_is_one_of_an_arithmetic() -> None:
    arithmetic = Arithmetic(precision="fp32", execution=NATIVE, threads=1)
    assert arithmetic.execution.uncompiled is Execution.EAGER
    assert [NATIVE.compiled, NATIVE.recorded, NATIVE.fused] == [False] * 3
