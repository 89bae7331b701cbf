"""Training: it learns, records what happened, resumes exactly, and records divergence as an outcome."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.measures.responses import layer_responses, with_estimated_statistics
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.settings import DIGITS, IMAGENET
from plain_vs_residual.training import initial_network as run_module
from plain_vs_residual.training import session, step
from plain_vs_residual.training.checkpoint import load_checkpoint, save_checkpoint
from plain_vs_residual.training.evaluation import Errors, Totals
from plain_vs_residual.training.schedule import evaluation_points
from plain_vs_residual.training.step import Trainer
from tests.conftest import InterruptedAfter, Silent, network_of
from tests.made_up_records import read_json

CLOCKS = ["training_seconds", "evaluation_seconds"]


def train_all(suite: Any) -> list[RunFolder]:
    runs = suite.plan()
    suite.check(runs, rerun=False)
    suite.train(runs, Silent())
    return [run.folder for run in runs]


def weights_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder.weights, weights_only=True)
    return weights


def test_a_run_learns_and_leaves_whole_records(make_suite: Any) -> None:
    (folder,) = train_all(make_suite("residual18-A"))
    metrics = pd.read_csv(folder.metrics)
    assert list(metrics.columns) == list(MetricsRow.model_fields)
    assert metrics["iteration"].tolist() == [4, 8, 12]
    assert metrics["training_error"].iloc[-1] < 40 < 100 * 2 / 3
    recorded, final = read_json(folder.run), read_json(folder.final)
    assert final["outcome"] == "finished"
    assert final["iteration"] == 12
    assert final["training_error"] == metrics["training_error"].iloc[-1]
    assert recorded["parameters"] > 0 < recorded["multiply_adds"]
    assert {"torch", "device", "git_commit"} <= recorded["environment"].keys()
    assert [entry[0] for entry in final["learning_rates"]] == list(range(12))
    assert not folder.checkpoint.exists()
    assert weights_of(folder)


def test_running_error_is_over_the_batches_and_clean_error_over_the_set(make_suite: Any) -> None:
    (folder,) = train_all(make_suite("plain18"))
    metrics = pd.read_csv(folder.metrics)
    per_image = 100 / (4 * 8)
    assert all(
        abs(error / per_image - round(error / per_image)) < 1e-9 for error in metrics["running_training_error"]
    )
    per_image = 100 / 30
    assert all(abs(error / per_image - round(error / per_image)) < 1e-9 for error in metrics["training_error"])


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_resumed_run_ends_as_an_undisturbed_one(
    make_suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    (undisturbed,) = train_all(make_suite("residual18-B", results=tmp_path / "undisturbed"))
    suite = make_suite("residual18-B", results=tmp_path / "resumed")

    with pytest.raises(KeyboardInterrupt):
        suite.train(suite.plan(), InterruptedAfter(stopped_after))
    (resumed,) = (run.folder for run in suite.plan())
    assert resumed.checkpoint.exists()
    assert not resumed.finished
    train_all(suite)
    first, second = (pd.read_csv(folder.metrics).drop(columns=CLOCKS) for folder in (undisturbed, resumed))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert undisturbed.responses.read_bytes() == resumed.responses.read_bytes()
    assert undisturbed.weights.read_bytes() == resumed.weights.read_bytes()
    finals = [read_json(folder.final) for folder in (undisturbed, resumed)]
    for name in ("consumed", "learning_rates", "training_error", "mean_response"):
        assert finals[0][name] == finals[1][name]


def test_divergence_is_an_outcome_and_the_suite_goes_on(make_suite: Any, tiny_setting: Any) -> None:
    wild = tiny_setting.with_changes({"learning_rate": 1e30})
    folders = train_all(make_suite("plain18", "residual18-A", setting=wild))
    finals = [read_json(folder.final) for folder in folders]
    assert [final["outcome"] for final in finals] == ["diverged", "diverged"]
    assert all(final["iteration"] < 12 for final in finals)


@pytest.mark.parametrize(
    ("lost", "outcome"), [("running", "diverged"), ("training", "diverged"), ("validation", "finished")]
)
def test_either_loss_of_training_decides_that_a_run_diverged_and_that_of_validation_does_not(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, lost: str, outcome: str
) -> None:
    """One batch of the second interval, or the second evaluation of a part, has a loss that is not finite."""
    honest_step, honest_errors, evaluated = Trainer.step, session.Session.errors_on, []

    def stepped(self: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        honest_step(self, images, labels)
        stepped.count += 1  # type: ignore[attr-defined]
        if lost == "running" and stepped.count == 6:  # type: ignore[attr-defined]
            self.totals.sums[0] += torch.inf

    def errors_on(self: session.Session, part: Any, num_classes: int = 0) -> Any:
        evaluated.append(part)
        errors = honest_errors(self, part, num_classes)
        second = part == lost and evaluated.count(part) == 2
        return replace(errors, loss=float("nan")) if second else errors

    stepped.count = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Trainer, "step", stepped)
    monkeypatch.setattr(session.Session, "errors_on", errors_on)
    (folder,) = train_all(make_suite("cifar-plain8"))
    final = read_json(folder.final)
    assert (final["outcome"], final["iteration"]) == (outcome, 8 if outcome == "diverged" else 12)
    assert not folder.checkpoint.exists()


def test_a_diverged_run_leaves_its_last_sound_checkpoint_as_it_was(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(session, "save_checkpoint", lambda _, state: saved.append(state["iteration"]))
    honest = session.Session.errors_on

    def errors_on(self: session.Session, part: Any, num_classes: int = 0) -> Any:
        errors = honest(self, part, num_classes)
        return replace(errors, loss=float("inf")) if self.iteration == 8 else errors

    monkeypatch.setattr(session.Session, "errors_on", errors_on)
    train_all(make_suite("cifar-plain8"))
    assert saved == [4]


def test_the_scale_of_fp16_and_how_long_it_held_go_on_where_they_stopped() -> None:
    trainers = [Trainer(network_of("cifar-plain8", channels=1, num_classes=3), DIGITS, "fp16") for _ in range(2)]
    first, resumed = trainers
    images, labels = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    first.scaler.load_state_dict(first.scaler.state_dict() | {"scale": 256.0, "_growth_tracker": 41})
    for _ in range(3):
        first.step(images, labels)
    resumed.restore(copy.deepcopy(first.state()))  # as through a file
    assert resumed.scaler.state_dict() == first.scaler.state_dict()
    assert (resumed.scaler.get_scale(), resumed.scaler.state_dict()["_growth_tracker"]) == (256.0, 44)
    for trainer in trainers:
        trainer.learning_rate.fill_(0.1)
        trainer.step(images, labels)
    for one, other in zip(first.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_outcome_repeats_the_last_evaluation_and_counts_what_was_trained(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has errors of its own; the test images are looked at where there are some, and once."""
    looked_at: list[tuple[str, int]] = []

    def errors_on(self: session.Session, part: Any, num_classes: int = 0) -> Errors:
        looked_at.append((part, num_classes))
        value = {"training": 1.0, "validation": 3.0, "test": 5.0}[part] + self.iteration
        return Errors(value / 10, value, value / 2, [[1]] if num_classes else [])

    monkeypatch.setattr(session.Session, "errors_on", errors_on)
    setting = make_suite("cifar-plain8").setting.with_changes({"split": "45k/5k"})
    (folder,) = train_all(make_suite("cifar-plain8", setting=setting))
    final = read_json(folder.final)
    assert (final["training_error"], final["training_loss"]) == (13, 1.3)
    assert (final["validation_error"], final["validation_loss"], final["validation_top5_error"]) == (15, 1.5, 7.5)
    assert (final["test_error"], final["confusion"], final["confusion_on"]) == (17, [[1]], "test")
    assert looked_at == [("training", 0), ("validation", 0)] * 3 + [("test", 3)]
    assert final["images_per_second"] == pytest.approx(12 * 8 / final["training_seconds"], rel=0.1)
    assert (final["ten_crop_error"], final["ten_crop_top5_error"]) == (None, None)


def test_times_of_a_resumed_run_go_on_each_by_itself(make_suite: Any) -> None:
    suite = make_suite("cifar-plain8")
    with pytest.raises(KeyboardInterrupt):
        suite.train(suite.plan(), InterruptedAfter(2))
    (job,) = suite.plan()
    checkpoint, _ = load_checkpoint(job.folder)
    assert checkpoint
    save_checkpoint(job.folder, checkpoint | {"training_seconds": 1000.0, "evaluation_seconds": 5000.0})
    train_all(suite)
    final = read_json(job.folder.final)
    assert 1000 < final["training_seconds"] < 1100
    assert 5000 < final["evaluation_seconds"] < 5100
    assert 0 < final["last_session_seconds"] < 900


def test_zero_learning_rate_changes_no_weight(make_suite: Any, tiny_setting: Any) -> None:
    still = tiny_setting.with_changes({"learning_rate": 0.0, "weight_decay": 0.0})
    (folder,) = train_all(make_suite("plain18", setting=still))
    weights = weights_of(folder)
    fresh = network_of("plain18", channels=1, num_classes=3, stem="3x3", stem_width=4, seed=0)
    assert all(torch.equal(weights[name], value) for name, value in fresh.named_parameters())


def test_weight_decay_reaches_every_parameter() -> None:
    net = network_of("plain18", channels=1, num_classes=3, stem="3x3", stem_width=4, seed=0)
    trainer = Trainer(net, DIGITS, "fp32")
    decayed = [
        p for group in trainer.optimizer.param_groups if group["weight_decay"] == 1e-4 for p in group["params"]
    ]
    assert len(decayed) == len(list(net.parameters()))
    assert not any(group["nesterov"] for group in trainer.optimizer.param_groups)


def test_what_is_recorded_is_what_the_optimizer_applied(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[float] = []

    def make_adamw(parameters: Any, recipe: Any, learning_rate: torch.Tensor) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=recipe.weight_decay, fused=True)
        optimizer.register_step_pre_hook(lambda one, *_: applied.append(float(one.param_groups[0]["lr"])))
        return optimizer

    monkeypatch.setattr(step, "make_optimizer", make_adamw)
    (folder,) = train_all(make_suite("plain18"))
    recorded = read_json(folder.final)["learning_rates"]
    assert [rate for _, rate in recorded] == pytest.approx(applied, rel=1e-6)
    assert len(set(applied)) == 12


def test_an_optimizer_with_a_rate_of_its_own_is_refused(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW as everybody writes it would train at a constant rate, while the record states the schedule's."""
    monkeypatch.setattr(
        step,
        "make_optimizer",
        lambda parameters, recipe, _: torch.optim.AdamW(parameters, lr=recipe.learning_rate),
    )
    with pytest.raises(ValueError, match=r"AdamW has a learning rate of its own, 0\.02, but the record"):
        train_all(make_suite("plain18"))


def test_an_optimizer_that_took_the_rate_of_the_beginning_alone_is_refused(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would train at that rate to the end, though at the beginning it has the schedule's."""
    monkeypatch.setattr(
        step,
        "make_optimizer",
        lambda parameters, recipe, learning_rate: torch.optim.AdamW(parameters, lr=float(learning_rate)),
    )
    with pytest.raises(ValueError, match="AdamW has a learning rate of its own, 0, but the record"):
        train_all(make_suite("plain18"))


def test_a_step_is_plain_sgd_with_momentum() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    trainer = Trainer(net, DIGITS.with_changes({"weight_decay": 0.01}), "fp32")
    images = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1])
    weight, velocity = net[1].weight.detach().clone(), torch.zeros(3, 4)
    for rate in (0.5, 0.1):
        loss = nn.functional.cross_entropy(
            images.flatten(1) @ weight.requires_grad_().T + net[1].bias.detach(), labels
        )
        (gradient,) = torch.autograd.grad(loss, weight)
        velocity = 0.9 * velocity + gradient + 0.01 * weight.detach()
        weight = weight.detach() - rate * velocity
        trainer.learning_rate.fill_(rate)
        trainer.step(images, labels)
        torch.testing.assert_close(net[1].weight.detach(), weight)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_keeps_weights_and_statistics_in_fp32(make_suite: Any, precision: str) -> None:
    (folder,) = train_all(make_suite("residual18-A", precision=precision))
    weights = weights_of(folder)
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    assert read_json(folder.run)["arithmetic"]["precision"] == precision


def test_errors_are_taken_evenly_and_at_the_end() -> None:
    assert evaluation_points(64_000, 20) == list(range(3200, 64_001, 3200))
    assert evaluation_points(449, 10)[-1] == 449
    assert evaluation_points(3, 20) == [1, 2, 3]


def test_totals_read_as_mean_loss_and_percent() -> None:
    totals = Totals(torch.device("cpu"))
    logits = torch.eye(10)[:4]
    totals.add(logits, torch.tensor([0, 1, 9, 9]), torch.tensor(2.0), top5=True)
    errors = totals.read()
    assert (errors.loss, errors.error) == (2.0, 50.0)
    assert 0 <= errors.top5_error <= 50


def test_imagenet_runs_end_to_end_on_a_generated_folder(make_suite: Any, image_folder: Path) -> None:
    setting = IMAGENET.with_changes(
        {"image_size": 28, "batch_size": 8, "norm_batch": 4, "iterations": 9, "epochs": None}
        | {"evaluations": 3, "stem_width": 4}
    )
    dataset = load_dataset(setting, image_folder)
    suite = make_suite("residual18-A", "plain18", setting=setting, dataset=dataset)
    experiment = suite.experiments[0]
    object.__setattr__(experiment, "networks", {"imagenet": ("plain18", "residual18-A")})
    folders = train_all(suite)
    for folder in folders:
        final = read_json(folder.final)
        assert final["outcome"] == "finished"
        drawn = {"indices", "crops", "flips", "sides", "colours", "pixels"}
        seen = {"evaluated_training", "evaluated_validation", "measured_training"}
        assert set(final["consumed"]) == drawn | seen | {"ten_crops_validation"}
        assert [rate for _, rate in final["learning_rates"]] == pytest.approx([0.1, 0.01, 0.001])
    assert read_json(folders[0].final)["consumed"] == read_json(folders[1].final)["consumed"]


def batches(num: int = 40) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = 3 * torch.randn(num, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    return [(images[: num // 2], torch.zeros(0)), (images[num // 2 :], torch.zeros(0))]


def test_layer_responses_are_the_standard_deviation_after_bn() -> None:
    net = network_of("cifar-residual8-A", channels=1, num_classes=3, stem="3x3", stem_width=16, seed=0)
    net = with_estimated_statistics(net, batches())
    kept: dict[str, list[torch.Tensor]] = {"bn1": [], "layer2.0.bn2": [], "layer2.0.shortcut": []}
    for name, values in kept.items():
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, values=values: values.append(out.detach())
        )
    rows = layer_responses(net, batches())
    pooled = {name: torch.cat(values) for name, values in kept.items()}
    found = {(row.kind, row.layer): row.value for row in rows}
    assert found["response_std", "conv1"] == pytest.approx(pooled["bn1"].std(unbiased=False).item(), rel=1e-4)
    assert found["response_std", "layer2.0.conv2"] == pytest.approx(
        pooled["layer2.0.bn2"].std(unbiased=False).item(), rel=1e-4
    )
    rms = {name: values.square().mean().sqrt().item() for name, values in pooled.items()}
    assert found["ratio", "layer2.0"] == pytest.approx(rms["layer2.0.bn2"] / rms["layer2.0.shortcut"], rel=1e-4)
    assert len([row for row in rows if row.kind == "response_std"]) == 7
    assert len([row for row in rows if row.kind == "ratio"]) == 3


class WithoutDoubles(TorchFunctionMode):
    """Lets every tensor that was not copied to the CPU be one of a device that has no doubles, as Apple's."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        copied = bool(args) and getattr(args[0], "copied", False)
        if function == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("cpu" if copied else "mps")
        if function is torch.Tensor.cpu:
            args[0].copied = True
            return args[0]
        wants_doubles = kwargs.get("dtype") is torch.float64 or function is torch.Tensor.double
        if wants_doubles and not copied:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
        return function(*args, **kwargs)


def test_responses_are_the_same_on_a_device_without_doubles() -> None:
    net = network_of("cifar-residual8-B", channels=1, num_classes=3, stem="3x3", stem_width=16, seed=0)
    net = with_estimated_statistics(net, batches())
    expected = layer_responses(net, batches())
    values = batches()
    with WithoutDoubles():
        with pytest.raises(TypeError, match="float64"):
            values[0][0].sum(dtype=torch.float64)
        assert layer_responses(net, values) == expected


def test_measuring_leaves_the_network_as_it_was() -> None:
    net = network_of("cifar-residual8-A", channels=1, num_classes=3, stem="3x3", stem_width=16, seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layer_responses(net, batches())
    with_estimated_statistics(net, batches())
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_an_untrained_network_responds_with_one_in_every_layer() -> None:
    net = network_of("cifar-plain20", channels=1, num_classes=3, stem="3x3", stem_width=16, seed=0)
    rows = layer_responses(with_estimated_statistics(net, batches()), batches())
    responses = [row for row in rows if row.kind == "response_std"]
    assert len(responses) == 19
    assert all(row.value == pytest.approx(1, abs=0.1) for row in responses)


def test_the_monitor_hears_of_every_iteration(make_suite: Any) -> None:
    heard: list[int] = []

    class Listens(Silent):
        def advanced(self, iteration: int, num_iterations: int) -> None:
            heard.append(iteration)

    suite = make_suite("plain18")
    suite.train(suite.plan(), Listens())
    assert heard == list(range(1, 13))


def test_nothing_is_written_before_the_network_is_built(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Iterator[Any]:
        raise RuntimeError("no network")

    monkeypatch.setattr(run_module, "build", fails)
    suite = make_suite("plain18")
    (planned,) = suite.plan()
    with pytest.raises(RuntimeError, match="no network"):
        suite.train([planned], Silent())
    assert not planned.folder.run.exists()
