"""AdamW and Muon beside SGD: each step by its formula, in checkpoints, in records, and outside the fast paths."""

import copy
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.evidence.differences import differences as of_pair
from plain_vs_residual.executors.common_arithmetic import ComputeOptions, choose_arithmetic
from plain_vs_residual.executors.description import describe
from plain_vs_residual.executors.sharing import Sharing
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.inspection.description import describe as describe_network
from plain_vs_residual.inspection.layer_table import print_description
from plain_vs_residual.ledger import Ledger
from plain_vs_residual.networks import on_device
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import differences
from plain_vs_residual.records.store import read_record, read_run
from plain_vs_residual.run import Job
from plain_vs_residual.settings import DIGITS, FASHION, SETTINGS
from plain_vs_residual.training import optimizers, step
from plain_vs_residual.training.loop import train
from plain_vs_residual.training.optimizers import SGD, MuonAndSGD
from plain_vs_residual.training.session import Stopped
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent, Suite, network_of
from tests.made_up_records import read_json
from tests.test_resume import StopsAt, assert_equal_runs, given
from tests.test_training import train_all

OPTIMIZERS = ("sgd", "adamw", "muon")
CPU = torch.device("cpu")
REFERENCE = Path(__file__).parent.parent / "results" / "reference"
MUON = (3.4445, -4.7750, 2.0315)  # of the quintic that makes singular values nearly 1, by its authors


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
    )


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 2, 4, 4, generator=generator), torch.arange(8) % 4


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of the mean loss on the batch, by name of the parameter."""
    network = copy.deepcopy(network)
    network.zero_grad()
    images, labels = batch()
    nn.functional.cross_entropy(network(images), labels).backward()
    return {name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None}


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return what Muon makes of a matrix (Jordan et al., 2024), in double precision."""
    a, b, c = MUON
    x = matrix.double()
    x = x / x.norm()
    if wide := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if wide else x


def trainer_of(network: nn.Module, optimizer: str, precision: Any = "fp32", **changes: Any) -> Trainer:
    return Trainer(network, DIGITS.with_changes({"optimizer": optimizer, **changes}), precision)


# ---- steps by their formulas -------------------------------------------------------------------------------


def test_a_step_of_adamw_is_its_formula() -> None:
    network = small()
    trainer = trainer_of(network, "adamw", weight_decay=0.1)
    first = {name: torch.zeros_like(one) for name, one in network.named_parameters()}
    second = copy.deepcopy(first)
    for number, rate in enumerate((0.02, 0.01), start=1):
        expected = {name: one.detach().clone() for name, one in network.named_parameters()}
        for name, gradient in gradients(network).items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            direction = first[name] / (1 - 0.9**number)
            scale = (second[name] / (1 - 0.999**number)).sqrt() + 1e-8
            expected[name] = expected[name] * (1 - rate * 0.1) - rate * direction / scale
        trainer.learning_rate.fill_(rate)
        trainer.step(*batch())
        for name, one in network.named_parameters():
            torch.testing.assert_close(one.detach(), expected[name], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_steps_by_orthogonal_matrices_for_kernels_and_like_sgd_for_the_rest(
    memory_format: torch.memory_format,
) -> None:
    network = small().to(memory_format=memory_format)  # type: ignore[call-overload]
    trainer = trainer_of(network, "muon", weight_decay=0.1)
    averaged, velocity = torch.zeros(3, 18), dict[str, Tensor]()
    for rate in (0.5, 0.1):
        expected = {name: one.detach().clone() for name, one in network.named_parameters()}
        for name, gradient in gradients(network).items():
            if name == "0.weight":
                matrix = gradient.flatten(1)  # a row per output channel
                averaged = 0.9 * averaged + 0.1 * matrix
                direction = orthogonalised(0.1 * matrix + 0.9 * averaged).float()
                expected[name] = (1 - rate * 0.1) * expected[name] - rate * direction.view(3, 2, 3, 3)
            else:
                decayed = gradient + 0.1 * expected[name]
                velocity[name] = 0.9 * velocity.get(name, torch.zeros(())) + decayed
                expected[name] = expected[name] - rate * velocity[name]
        before = network[0].weight.detach().clone()
        trainer.learning_rate.fill_(rate)
        trainer.step(*batch())
        for name, one in network.named_parameters():
            # torch makes matrices orthogonal in bf16.
            close = {"rtol": 0, "atol": 0.03 * rate} if name == "0.weight" else {"rtol": 1e-4, "atol": 1e-6}
            torch.testing.assert_close(one.detach(), expected[name], **close)
        moved = (network[0].weight.detach() - (1 - rate * 0.1) * before).flatten(1) / rate
        assert all(0.5 < value < 1.3 for value in torch.linalg.svdvals(moved))


def test_a_tall_kernel_is_enlarged_as_muons_authors_do() -> None:
    """By the root of rows over columns, where there are more rows."""
    kernel = nn.Parameter(torch.randn(8, 2, 1, 1))
    kernel.grad = torch.randn(8, 2, 1, 1)
    before = kernel.detach().clone()
    MuonAndSGD([kernel], torch.tensor(0.1), momentum=0.0, weight_decay=0.0).step()
    moved = (before - kernel.detach()).flatten(1)
    torch.testing.assert_close(moved, 0.1 * 2 * orthogonalised(kernel.grad.flatten(1)).float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_on_another_flattening_is_another_step(
    memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are not output channels give a matrix that is orthogonal in another sense."""

    def stepped() -> Tensor:
        kernel = nn.Parameter(torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1)))
        kernel.data = kernel.data.contiguous(memory_format=memory_format)
        kernel.grad = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(2))
        optimizer = MuonAndSGD([kernel], torch.tensor(1.0), momentum=0.9, weight_decay=0.0)
        assert [one.shape for one in optimizer.matrices] == [(4, 36)]
        optimizer.step()
        return kernel.detach()

    right = stepped()
    flat = nn.Parameter(torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1)).flatten(1))
    flat.grad = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(2)).flatten(1)
    torch.optim.Muon([flat], lr=1.0, momentum=0.9, weight_decay=0.0).step()
    torch.testing.assert_close(right.flatten(1), flat.detach(), rtol=0, atol=0.02)
    monkeypatch.setattr(optimizers, "_order", lambda kernel: (1, 0, 2, 3))  # a row per input channel
    monkeypatch.setattr(Tensor, "view", Tensor.reshape)  # which copies: the kernel itself would stay as it is
    with pytest.raises(AssertionError):
        torch.testing.assert_close(stepped().flatten(1), flat.detach(), rtol=0, atol=0.02)


def test_matrices_are_the_kernels_memory_and_a_copy_is_refused() -> None:
    network = on_device(network_of("cifar-residual8-B", channels=1, num_classes=10), CPU)
    optimizer = MuonAndSGD(network.parameters(), torch.tensor(0.1), 0.9, 0.0)
    kernels = [one for one in network.parameters() if one.dim() == 4]
    assert len(kernels) == 7 + 2  # two projections
    for kernel, matrix in zip(kernels, optimizer.matrices, strict=True):
        assert kernel.data_ptr() == matrix.data_ptr()
        assert matrix.shape == (len(kernel), kernel[0].numel())
    with pytest.raises(RuntimeError):  # rows that do not lie one after the other
        MuonAndSGD([nn.Parameter(torch.randn(4, 4, 3, 6)[..., :3])], torch.tensor(0.1), 0.9, 0.0)


def test_the_default_is_sgd_as_it_was() -> None:
    assert {setting.optimizer for setting in SETTINGS.values()} == {"sgd"}
    trainer = Trainer(small(), DIGITS, "fp32")
    assert type(trainer.optimizer) is SGD
    (group,) = trainer.optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["nesterov"], group["fused"]) == (
        0.9,
        1e-4,
        False,
        True,
    )
    with pytest.raises(ValueError, match="optimizer cannot be 'lion'"):
        DIGITS.with_changes({"optimizer": "lion"})


def test_sgd_without_wrappers_steps_and_resumes_as_torchs_does() -> None:
    """Bit by bit, with gradients gone in between and the state handed over half way."""
    values: dict[type[torch.optim.SGD], list[Tensor]] = {}
    for kind in (torch.optim.SGD, SGD):
        generator = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3, 3, 3), (7,))]
        options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 1e-2, "fused": True}
        rate = torch.tensor(0.1)
        optimizer = kind(parameters, lr=rate, **options)
        for number in range(6):
            for one in parameters:
                one.grad = torch.randn(one.shape, generator=generator)
            if number == 3:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = kind(parameters, lr=rate, **options)
                optimizer.load_state_dict(state)
            optimizer.step()
            optimizer.zero_grad()
            assert all(one.grad is None for one in parameters)
        buffers = [optimizer.state[one]["momentum_buffer"] for one in parameters]
        values[kind] = [*(one.detach() for one in parameters), *buffers]
    assert all(map(torch.equal, *values.values()))


@pytest.mark.parametrize("deterministic", [False, True])
def test_training_by_sgd_loads_no_compiler(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    for name in ("torch._dynamo", "torch._inductor.config"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        torch.optim.SGD([nn.Parameter(torch.ones(1))]).step()
    (folder,) = train_all(make_suite("plain18", deterministic=deterministic))
    assert folder.finished


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_without_gradient_decay_by_the_rate_times_the_decay(optimizer: str) -> None:
    kernel = nn.Parameter(torch.ones(4, 2, 3, 3))
    kernel.grad = torch.zeros_like(kernel)
    recipe = DIGITS.with_changes({"optimizer": optimizer, "weight_decay": 0.25})
    step.make_optimizer([kernel], recipe, torch.tensor(0.1)).step()
    torch.testing.assert_close(kernel.detach(), torch.full((4, 2, 3, 3), 1 - 0.1 * 0.25))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rate_of_0_changes_no_weight(optimizer: str) -> None:
    network = small()
    before = copy.deepcopy(dict(network.named_parameters()))
    trainer = trainer_of(network, optimizer)
    trainer.step(*batch())
    assert all(torch.equal(one, before[name]) for name, one in network.named_parameters())
    trainer.learning_rate.fill_(0.01)
    trainer.step(*batch())
    assert not any(torch.equal(one, before[name]) for name, one in network.named_parameters())


# ---- clipping and fp16 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_clipped_before_each_of_them_steps(optimizer: str, precision: str) -> None:
    """The gradients that a step saw are those of the loss, unscaled, cut to the norm; Muon's matrices, too."""
    network = small()
    trainer = trainer_of(network, optimizer, precision, clip_norm=0.01)
    trainer.learning_rate.fill_(0.01)
    trainer.step(*batch())
    seen = [one.grad for one in network.parameters() if one.grad is not None]
    assert torch.cat([one.flatten() for one in seen]).norm().item() == pytest.approx(0.01, rel=1e-3)
    if isinstance(trainer.optimizer, MuonAndSGD):
        (matrix,) = trainer.optimizer.matrices
        assert matrix.grad is not None
        assert torch.equal(matrix.grad, network[0].weight.grad.flatten(1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_that_overflows_in_fp16_is_left_out_and_counted(optimizer: str) -> None:
    network = small()
    before = copy.deepcopy(dict(network.named_parameters()))
    trainer = trainer_of(network, optimizer, "fp16")
    trainer.learning_rate.fill_(0.01)
    trainer.scaler._init_scale = 2.0**40
    trainer.step(*batch())
    assert trainer.skipped_steps == 1
    assert all(torch.equal(one, before[name]) for name, one in network.named_parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_scale_of_the_loss_in_fp16_changes_no_step(optimizer: str) -> None:
    weights = []
    for scale in (2.0**4, 2.0**10):
        network = small()
        trainer = trainer_of(network, optimizer, "fp16")
        trainer.scaler._init_scale = scale
        trainer.learning_rate.fill_(0.01)
        trainer.step(*batch())
        assert trainer.skipped_steps == 0
        weights.append([one.detach() for one in network.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


# ---- checkpoints -------------------------------------------------------------------------------------------


@pytest.fixture
def make(make_suite: Any, tmp_path: Path, tiny_setting: Any) -> Any:
    def suite(optimizer: str, folder: str, *networks: str, **changes: Any) -> Suite:
        setting = tiny_setting.with_changes({"optimizer": optimizer})
        made: Suite = make_suite(
            *(networks or ("cifar-residual8-A",)), setting=setting, results=tmp_path / folder, **changes
        )
        return made

    return suite


@pytest.mark.parametrize("iterations", [3, 4, 10])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_undisturbed_one(make: Any, optimizer: str, iterations: int) -> None:
    (undisturbed,) = train_all(make(optimizer, "undisturbed"))
    suite = make(optimizer, "stopped")
    (job,) = suite.plan()
    _stop_and_resume(suite, job, iterations)
    assert_equal_runs(undisturbed, job.folder)


def _stop_and_resume(suite: Suite, job: Job, iterations: int) -> None:
    monitor = StopsAt(iterations)
    with pytest.raises(Stopped):
        train(*given(suite, job), monitor, monitor.stops)
    train(*given(suite, job), Silent())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_state_that_is_lost_on_resume_is_seen(
    make: Any, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (undisturbed,) = train_all(make(optimizer, "undisturbed"))
    suite = make(optimizer, "stopped")
    (job,) = suite.plan()
    kind = MuonAndSGD if optimizer == "muon" else torch.optim.AdamW
    monkeypatch.setattr(kind, "load_state_dict", lambda self, state: None)
    _stop_and_resume(suite, job, 4)
    with pytest.raises(AssertionError):
        assert_equal_runs(undisturbed, job.folder)


def test_the_state_of_muon_is_that_of_both_and_keeps_the_rate_that_is_set(tmp_path: Path) -> None:
    network = small()
    trainer = trainer_of(network, "muon")
    trainer.learning_rate.fill_(0.1)
    trainer.step(*batch())
    torch.save(trainer.state(), tmp_path / "state.pt")
    other = trainer_of(small(1), "muon")
    other.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (trainer, other):
        one.learning_rate.fill_(0.05)
        one.step(*batch(1))
    for name, parameter in other.network.named_parameters():
        assert torch.equal(parameter, dict(network.named_parameters())[name])
    assert isinstance(other.optimizer, MuonAndSGD)
    rates = [group["lr"] for part in other.optimizer.parts for group in part.param_groups]
    assert len(rates) == 2
    assert all(rate is other.learning_rate for rate in rates)


# ---- records -----------------------------------------------------------------------------------------------


def test_records_of_earlier_versions_are_of_sgd_and_are_the_same_runs_as_today() -> None:
    folder = RunFolder(next(REFERENCE.glob("*/*/run.json")).parent)
    assert "optimizer" not in read_json(folder.run)["configuration"]
    record = read_record(folder)  # its seal is whole
    assert record.run.configuration.optimizer == "sgd"
    now = record.run.configuration.model_copy(update={"optimizer": "sgd"})
    assert differences(record.run, record.run.model_copy(update={"configuration": now})) == []
    other = record.run.model_copy(update={"configuration": now.model_copy(update={"optimizer": "muon"})})
    assert differences(record.run, other) == ["optimizer: sgd before, muon now"]


def test_an_optimizer_is_recorded_told_and_named_where_members_of_a_pair_differ(make: Any) -> None:
    suites = [make(name, name) for name in ("sgd", "muon")]
    (sgd,), (muon,) = (train_all(suite) for suite in suites)
    one, other = (read_record(folder) for folder in (sgd, muon))
    assert read_json(muon.run)["configuration"]["optimizer"] == "muon"
    assert "optimizer muon instead of sgd" in other.run.departures[-1]
    assert not any("optimizer" in departure for departure in one.run.departures)
    assert list(of_pair(one, other)) == ["optimizer: sgd against muon"]
    assert list(of_pair(one, other, {"optimizer"})) == []
    assert one.run.initial_parameters == other.run.initial_parameters
    assert one.final
    assert other.final
    assert one.final.consumed == other.final.consumed
    assert one.final.learning_rates == other.final.learning_rates


def test_describe_tells_the_optimizer_of_the_setting() -> None:
    for optimizer, words in (
        ("sgd", "by sgd: learning rate 0.02, momentum 0.9, weight decay 0.0001."),
        ("adamw", "by adamw: learning rate 0.02, weight decay 0.0001."),
        ("muon", "by muon: learning rate 0.02, momentum 0.9, weight decay 0.0001."),
    ):
        console = Console(file=io.StringIO(), width=200)
        setting = DIGITS.with_changes({"optimizer": optimizer})
        print_description(console, describe_network(Architecture.parse("cifar-plain8"), setting))
        assert f"- Setting digits trains it {words}" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_is_not_continued_by_another_optimizer(make: Any) -> None:
    (folder,) = train_all(make("adamw", "results"))
    recorded = read_run(folder)
    suite = make("muon", "results")
    (job,) = suite.plan()
    assert differences(recorded, describe(job, suite.dataset, CPU)) == ["optimizer: adamw before, muon now"]


# ---- fast paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", [one for one in Execution if one is not Execution.EAGER])
def test_fast_steps_refuse_an_optimizer_that_they_do_not_know(execution: Execution) -> None:
    recipe = DIGITS.with_changes({"optimizer": "adamw"})
    says = re.escape(f"execution {execution} is made for sgd, not for adamw; use eager")
    with pytest.raises(ValueError, match=says):
        Trainer(small(), recipe, "fp32", execution=execution)


@pytest.mark.parametrize("execution", [Execution.NATIVE, Execution.FUSED_AND_GRAPH, Execution.COMPILE])
def test_runs_with_another_optimizer_are_eager_among_fast_ones(execution: Execution, tmp_path: Path) -> None:
    arithmetic = Arithmetic(precision="fp32", execution=execution, threads=1)
    experiment = load_experiments()["optimizers"]
    jobs = Ledger(tmp_path).jobs(Selection((experiment,), FASHION, (100,)).plan(), arithmetic)
    by_optimizer = {job.run.setting.optimizer: job.arithmetic.execution for job in jobs}
    assert by_optimizer == {"sgd": execution, "adamw": Execution.EAGER, "muon": Execution.EAGER}
    # No claim compares runs of different executions.
    named = {(job.run.architecture.name, job.run.study): job.arithmetic.execution for job in jobs}
    for claim in experiment.claims:
        assert len({named[experiment.member(key, "fashion")] for key in claim.contrast}) == 1


def test_a_line_says_which_runs_fast_steps_leave_out(make: Any) -> None:
    said: list[str] = []
    suite = make("muon", "results")
    jobs = choose_arithmetic(
        [job.run for job in suite.plan()],
        Ledger(suite.results),
        lambda run: suite.dataset,
        CPU,
        ComputeOptions(device="cpu", precision="fp32", execution="compile"),
        Sharing(1, 1, 1),
        said.append,
    )
    assert [job.arithmetic.execution for job in jobs] == [Execution.EAGER]
    assert said == ["note: --execution compile is made for sgd; runs with muon are trained eagerly"]
