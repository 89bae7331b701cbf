"""Every recorded number is what its name says, found out by another way than the one that recorded it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Precision
from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.data.datasets import load_dataset, split
from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.evidence.pairing import differences
from plain_vs_residual.measures.responses import layer_responses, with_estimated_statistics
from plain_vs_residual.networks import build
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from plain_vs_residual.records.models import RESPONSE_MEANS
from plain_vs_residual.records.recorded_runs import read_table
from plain_vs_residual.records.rows import CurveRow, MetricsRow, ResponseRow
from plain_vs_residual.records.store import read_final, read_record, read_records, read_run
from plain_vs_residual.settings import CIFAR10, DIGITS, FASHION, IMAGENET, Setting
from plain_vs_residual.training import session
from plain_vs_residual.training.beginning import initial_responses
from plain_vs_residual.training.evaluation import Errors, Totals, evaluate
from plain_vs_residual.training.step import Trainer
from plain_vs_residual.training.training_curve import TrainingCurve
from tests.conftest import InterruptedAfter, Silent, network_of
from tests.made_up_records import read_json, read_runs, reseal, write_run
from tests.test_training import train_all

CPU = torch.device("cpu")


def trained(folder: RunFolder, setting: Setting, dataset: Dataset) -> nn.Module:
    """The network of a finished run, with its recorded weights."""
    run = read_run(folder)
    network = build(
        Architecture.parse(run.network),
        setting,
        channels=dataset.channels,
        num_classes=len(dataset.classes),
        seed=99,
    )
    network.load_state_dict(torch.load(folder.weights, weights_only=True))
    return network


def centred(images: Images, mean_of: Images) -> Tensor:
    """Images as the network sees them in evaluation, by the plain formula: float (N, C, H, W)."""
    mean = mean_of.pixels.double().mean(dim=0).float()
    return ((images.pixels.float() - mean) / 255).permute(0, 3, 1, 2)


# ---- errors ----------------------------------------------------------------------------------------------


def test_the_primary_column_is_the_last_tenth_of_the_training_curve() -> None:
    totals, curve = Totals(CPU), TrainingCurve([range(2, 101, 2)])
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for iteration in range(1, 101):
        logits = wrong if iteration <= 90 or iteration == 95 else right
        totals.add(logits, torch.tensor([0]), torch.tensor(float(iteration)))
        curve.read(iteration, totals)
    assert curve.last_tenth().error == 10.0
    assert curve.last_tenth().mean_loss == 95.5
    assert [row.iteration for row in curve.rows(float)] == list(range(2, 101, 2))
    resumed = TrainingCurve([range(2, 101, 2)])
    resumed.restore(curve.state())
    assert resumed.rows(float) == curve.rows(float)


def test_running_errors_are_those_of_the_batches_since_the_row_before(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []
    honest = Trainer.step

    def noted(self: Trainer, images: Tensor, labels: Tensor) -> None:
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        with torch.no_grad():
            logits = self.network(images)
        self.network.load_state_dict(before)
        seen.append((cross_entropy(logits, labels).item(), (logits.argmax(1) != labels).float().mean().item()))
        honest(self, images, labels)

    monkeypatch.setattr(Trainer, "step", noted)
    (folder,) = train_all(make_suite("residual18-A"))
    rows = read_table(folder.metrics, MetricsRow)
    assert len(seen) == 12
    # The last tenth of 12 iterations begins at 10.8, and there is a point after each.
    assert read_final(folder).running_training_error == pytest.approx(50 * (seen[-1][1] + seen[-2][1]))
    curve = read_table(folder.training_curve, CurveRow)
    assert curve["iteration"].tolist() == list(range(1, 13))
    assert curve["running_training_loss"].tolist() == pytest.approx([loss for loss, _ in seen], rel=1e-5)
    assert curve["running_training_error"].tolist() == pytest.approx([100 * error for _, error in seen])
    for number, row in rows.iterrows():
        since = seen[4 * int(str(number)) : 4 * int(str(number)) + 4]
        assert row["running_training_loss"] == pytest.approx(sum(loss for loss, _ in since) / 4, rel=1e-5)
        assert row["running_training_error"] == pytest.approx(100 * sum(error for _, error in since) / 4)


def test_clean_errors_are_over_all_centred_images_in_evaluation_mode(
    make_suite: Any, tiny_setting: Setting, tiny_dataset: Dataset
) -> None:
    (folder,) = train_all(make_suite("residual18-A"))
    network = trained(folder, tiny_setting, tiny_dataset).eval()
    last = read_table(folder.metrics, MetricsRow).iloc[-1]
    assert isinstance(tiny_dataset.training, Images)
    for part, images in (("training", tiny_dataset.training), ("validation", tiny_dataset.validation)):
        assert isinstance(images, Images)
        with torch.no_grad():
            logits = network(centred(images, tiny_dataset.training))
        assert last[f"{part}_loss"] == pytest.approx(cross_entropy(logits, images.labels).item(), rel=1e-4)
        wrong = (logits.argmax(1) != images.labels).float().mean().item()
        assert last[f"{part}_error"] == pytest.approx(100 * wrong)


def test_the_last_evaluation_is_the_result_even_if_an_earlier_one_was_better(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []

    def worse_and_worse(*_: Any) -> Errors:
        taken.append(10.0 * (len(taken) // 2) + 5 * (len(taken) % 2) + 1)
        return Errors(taken[-1] / 10, taken[-1], taken[-1] / 2, [])

    monkeypatch.setattr(session, "evaluate", worse_and_worse)
    (folder,) = train_all(make_suite("plain18"))
    final, rows = read_final(folder), read_table(folder.metrics, MetricsRow)
    assert rows["training_error"].tolist() == [1, 11, 21]
    assert rows["validation_error"].tolist() == [6, 16, 26]
    assert (final.training_error, final.validation_error) == (21, 26)
    assert (final.training_loss, final.validation_loss) == (2.1, 2.6)
    assert final.validation_top5_error == 13
    assert final.iteration == rows["iteration"].iloc[-1] == 12


def test_top_5_counts_the_fifth_guess_and_not_the_sixth() -> None:
    totals = Totals(CPU, num_classes=10)
    logits = torch.arange(10.0, 0.0, -1.0).repeat(10, 1)  # guesses in the order of the classes
    labels = torch.arange(10)
    totals.add(logits, labels, torch.tensor(1.0), top5=True)
    errors = totals.read()
    assert errors.error == 90.0
    assert errors.top5_error == 50.0
    assert errors.confusion == [[1, *[0] * 9] for _ in range(10)]


def test_totals_weigh_batches_by_their_images() -> None:
    totals = Totals(CPU)
    totals.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor(4.0))
    totals.add(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([1, 1, 0]), torch.tensor(2.0))
    errors = totals.read()
    assert (errors.loss, errors.error) == (2.5, 50.0)
    before = totals.counts()
    totals.add(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor(6.0))
    since = totals.counts().since(before)
    assert (since.mean_loss, since.error, since.images) == (6.0, 100.0, 1)


def test_an_evaluation_uses_the_running_statistics_of_bn() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3)
    images = 5 + torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    whole = evaluate(network, [(images, labels)], "fp32")
    halves = evaluate(network, [(images[:3], labels[:3]), (images[3:], labels[3:])], "fp32")
    assert halves.loss == pytest.approx(whole.loss, rel=1e-5)
    assert network.training


def test_the_epoch_and_the_rate_of_a_row_are_those_of_its_iterations(make_suite: Any) -> None:
    (folder,) = train_all(make_suite("plain18"))
    rows = read_table(folder.metrics, MetricsRow)
    assert rows["epoch"].tolist() == pytest.approx([4 * 8 / 30, 8 * 8 / 30, 12 * 8 / 30], abs=1e-4)
    # Linear to 0 over 12 iterations: the rate that the last of them had, not that of the next one.
    assert rows["learning_rate"].tolist() == pytest.approx([0.02 * (1 - last / 12) for last in (3, 7, 11)])


def test_a_plateau_watches_the_validation_loss(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[float] = []
    monkeypatch.setattr(session.Plateau, "watch", lambda _, loss: watched.append(loss))
    suite = make_suite("plain18")
    plateau = suite.setting.with_changes({"schedule": "plateau"})
    (folder,) = train_all(make_suite("plain18", setting=plateau))
    rows = read_table(folder.metrics, MetricsRow)
    assert watched == rows["validation_loss"].tolist()
    assert watched != rows["training_loss"].tolist()


def test_a_row_of_the_curve_ends_where_its_epoch_and_its_errors_do() -> None:
    curve = TrainingCurve([[2, 6], [6, 7]])
    totals = Totals(CPU)
    for iteration in range(1, 8):
        totals.sums += torch.tensor([0.5 * iteration, iteration % 3, 0, 4], dtype=torch.float64)
        curve.read(iteration, totals)
    rows = [row.model_dump() for row in curve.rows(lambda iteration: iteration * 4 / 10)]
    assert rows == [
        pytest.approx(dict(zip(CurveRow.model_fields, values, strict=True)))
        for values in ((2, 0.8, 1.5 / 8, 300 / 8), (6, 2.4, 9 / 16, 300 / 16), (7, 2.8, 3.5 / 4, 100 / 4))
    ]


# ---- layer responses -------------------------------------------------------------------------------------


def test_responses_are_taken_on_training_images_before_and_after(
    make_suite: Any, tiny_setting: Setting, tiny_dataset: Dataset
) -> None:
    (folder,) = train_all(make_suite("residual18-B"))
    recorded = read_table(folder.responses, ResponseRow)
    assert isinstance(tiny_dataset.training, Images)
    batch = [(centred(tiny_dataset.training, tiny_dataset.training), tiny_dataset.training.labels)]
    fresh = network_of("residual18-B", channels=1, num_classes=3, stem_width=4, seed=0)
    network = trained(folder, tiny_setting, tiny_dataset)
    expected = [
        *layer_responses(with_estimated_statistics(fresh, batch), batch, "initial"),
        *layer_responses(network, batch),
        *layer_responses(with_estimated_statistics(network, batch), batch, "estimated"),
    ]
    assert recorded["value"].to_numpy() == pytest.approx([row.value for row in expected], rel=1e-3)
    assert recorded["layer"].tolist() == [row.layer for row in expected]
    assert recorded["moment"].tolist() == [row.moment for row in expected]
    final = read_final(folder)
    last = recorded[recorded["moment"] == "final"]
    assert final.mean_response == pytest.approx(last[last["kind"] == "response_std"]["value"].mean())
    assert final.mean_ratio == pytest.approx(last[last["kind"] == "ratio"]["value"].mean())
    assert final.responses_on.startswith("30 training images")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_initial_responses_are_taken_in_the_precision_of_the_run(
    tiny_setting: Setting, tiny_dataset: Dataset, precision: Precision
) -> None:
    feed = ResidentFeed(tiny_dataset, tiny_setting, 0, CPU)
    fresh = network_of("plain18", channels=1, num_classes=3, stem_width=4, seed=0)
    found = [row.value for row in initial_responses(fresh, feed, CPU, precision)]
    assert isinstance(tiny_dataset.training, Images)
    batch = [(centred(tiny_dataset.training, tiny_dataset.training), tiny_dataset.training.labels)]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = layer_responses(with_estimated_statistics(fresh, batch), batch)
    assert found == pytest.approx([row.value for row in expected], rel=1e-5)
    fp32 = layer_responses(with_estimated_statistics(fresh, batch), batch)
    assert (found == pytest.approx([row.value for row in fp32], rel=1e-5)) == (precision == "fp32")


@pytest.mark.parametrize(("name", "last"), [("residual18-B", "bn2"), ("residual50-B", "bn3")])
def test_the_size_of_f_is_taken_behind_the_last_layer_of_a_block(name: str, last: str) -> None:
    network = network_of(name, channels=1, num_classes=3, stem_width=4)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():  # an untrained BN gives a deviation of one everywhere
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 3.0, generator=generator)
            nn.init.uniform_(module.bias, -1.0, 1.0, generator=generator)
    images = torch.randn(20, 1, 16, 16, generator=generator)
    measured = with_estimated_statistics(network, [(images, images)])
    kept: dict[str, Tensor] = {}
    for layer, module in measured.named_modules():
        module.register_forward_hook(lambda _m, _i, out, layer=layer: kept.update({layer: out.detach()}))
    ratios = {row.layer: row.value for row in layer_responses(measured, [(images, images)]) if row.kind == "ratio"}
    blocks = [layer for layer, module in measured.named_modules() if isinstance(module, ResidualBlock)]
    assert list(ratios) == blocks
    for block in blocks:
        f, x = kept[f"{block}.{last}"], kept[f"{block}.shortcut"]
        assert ratios[block] == pytest.approx((f.square().mean() / x.square().mean()).sqrt().item(), rel=1e-4)


# ---- what is consumed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [CIFAR10, IMAGENET], ids=["cifar10", "imagenet"])
def test_every_pass_has_an_order_crops_and_flips_of_its_own(setting: Setting) -> None:
    stream = DataStream(640, 64, 0, draws_of(setting))
    first, second = stream.segment(0, 10), stream.segment(10, 20)
    assert sorted(first["indices"].flatten().tolist()) == list(range(640))
    assert sorted(second["indices"].flatten().tolist()) == list(range(640))
    for name in first:
        assert not torch.equal(first[name], second[name]), name


def test_draws_of_one_kind_are_no_copy_of_another(tiny_setting: Setting) -> None:
    drawn = DataStream(640, 64, 0, draws_of(IMAGENET)).segment(0, 10)
    ranks = {name: values.reshape(640, -1)[:, 0].double().argsort() for name, values in drawn.items()}
    for name in ("crops", "sides", "colours"):
        assert not torch.equal(ranks[name], ranks["indices"]), name
    assert not torch.equal(drawn["crops"][..., 0], drawn["crops"][..., 1])


def test_a_seed_decides_all_that_is_drawn_and_every_initial_value(tiny_setting: Setting) -> None:
    one, other = (DataStream(640, 64, seed, draws_of(CIFAR10)).segment(0, 10) for seed in (0, 1))
    assert not any(torch.equal(one[name], other[name]) for name in one)
    first, second = (network_of("plain18", channels=1, num_classes=3, seed=seed) for seed in (0, 1))
    for name, value in first.named_parameters():
        if name.endswith("weight") and value.dim() > 1:
            assert not torch.equal(value, second.get_parameter(name)), name


def test_the_digest_takes_in_labels_and_the_place_of_every_pixel(
    tiny_setting: Setting, tiny_dataset: Dataset
) -> None:
    assert isinstance(tiny_dataset.training, Images)
    pixels, labels = tiny_dataset.training.pixels[:4], tiny_dataset.training.labels[:4]

    def digest(pixels: Tensor, labels: Tensor) -> str:
        feed = ResidentFeed(tiny_dataset, tiny_setting, 0, CPU)
        feed.digest.add_pixels(pixels, labels)
        return feed.digest.state()["pixels"]

    assert digest(pixels, labels) == digest(pixels.clone(), labels.clone())
    assert digest(pixels, labels) != digest(pixels, labels.flip(0))
    assert digest(pixels, labels) != digest(pixels.flip(2), labels)
    assert digest(pixels, labels) != digest(pixels.flip(0), labels)


def test_records_hold_the_fingerprint_of_the_very_images(make_suite: Any, tiny_dataset: Dataset) -> None:
    (whole,) = train_all(make_suite("plain18"))
    assert read_run(whole).configuration.data_fingerprint == tiny_dataset.fingerprint
    held_out = make_suite("plain18", setting=make_suite("plain18").setting.with_changes({"split": "45k/5k"}))
    (folder,) = train_all(held_out)
    assert read_run(folder).configuration.data_fingerprint == split(tiny_dataset, "45k/5k").fingerprint
    assert read_run(folder).configuration.data_fingerprint != tiny_dataset.fingerprint


def test_a_run_consumes_every_image_as_often_as_its_iterations_say(
    make_suite: Any, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    honest = Trainer.step

    def noted(self: Trainer, images: Tensor, labels: Tensor) -> None:
        seen.append(labels)
        honest(self, images, labels)

    monkeypatch.setattr(Trainer, "step", noted)
    suite = make_suite("plain18", setting=make_suite("plain18").setting.with_changes({"iterations": 15}))
    suite.train(suite.plan(), Silent())
    assert torch.cat(seen).bincount().tolist() == [40, 40, 40]  # 15 batches of 8: four passes over 30 images


def test_size_direction_and_share_of_the_shortcut_are_those_of_each_block() -> None:
    network = network_of("cifar-residual8-A", channels=1, num_classes=3)
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    network = with_estimated_statistics(network, [(images, torch.zeros(6))]).eval()
    given: dict[str, Tensor] = {}
    blocks = {name: block for name, block in network.named_modules() if isinstance(block, ResidualBlock)}
    for name, block in blocks.items():
        block.register_forward_pre_hook(lambda _, inputs, name=name: given.update({name: inputs[0]}))
    found = {(r.kind, r.layer): r.value for r in layer_responses(network, [(images, torch.zeros(6))])}
    assert len(blocks) == 3
    for name, block in blocks.items():
        with torch.no_grad():
            f, x = block.residual_function(given[name]), block.shortcut(given[name])
            output = block(given[name])
        assert found["ratio", name] == pytest.approx((f.norm() / x.norm()).item(), rel=1e-5)
        assert found["cosine", name] == pytest.approx(((f * x).sum() / f.norm() / x.norm()).item(), abs=1e-6)
        share = ((output - f.relu()).norm() / output.norm()).item()
        assert found["shortcut_share", name] == pytest.approx(share, rel=1e-5)


def test_the_means_of_the_outcome_are_those_of_the_rows_of_their_moment(make_suite: Any) -> None:
    (folder,) = train_all(make_suite("cifar-residual8-A"))
    final, rows = read_final(folder), read_table(folder.responses, ResponseRow)
    grouped = rows.groupby(["moment", "kind"])["value"]
    below = grouped.agg(lambda values: (values < 1).mean())
    by_statistic = {"mean": grouped.mean(), "median": grouped.median(), "share below 1": below}
    means = by_statistic["mean"]
    assert final.mean_response == pytest.approx(means["final", "response_std"])
    assert final.mean_ratio == pytest.approx(means["final", "ratio"])
    assert final.initial_mean_ratio == pytest.approx(means["initial", "ratio"])
    assert final.mean_cosine == pytest.approx(means["final", "cosine"])
    assert len({final.mean_ratio, final.initial_mean_ratio, final.mean_cosine}) == 3
    for column, of in RESPONSE_MEANS.items():
        assert getattr(final, column) == pytest.approx(by_statistic[of.statistic][of.moment, of.kind]), column


def test_a_mean_of_the_trained_network_is_lost_where_the_run_diverged_and_an_initial_one_is_not(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, "digits", "residual18-A", 0, outcome="diverged")
    (row,) = read_runs(tmp_path, "digits").finals.to_dict("records")
    for column, of in RESPONSE_MEANS.items():
        assert math.isnan(row[column]) == (of.moment != "initial"), column
    assert math.isnan(row["ratio_change"])
    assert math.isnan(row["ratio_change_estimated"])


def scaled_too_far(trainer: Trainer) -> None:
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 2.0**100})


def test_a_step_that_overflows_in_fp16_is_left_out_and_counted(tiny_setting: Setting) -> None:
    trainer = Trainer(network_of("cifar-plain8", channels=1, num_classes=3), tiny_setting, "fp16")
    trainer.learning_rate.fill_(0.1)
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 3
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    scaled_too_far(trainer)
    trainer.step(images, labels)
    assert trainer.skipped_steps.item() == 1
    assert all(map(torch.equal, before, trainer.network.parameters()))
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 1.0})
    trainer.step(images, labels)
    assert trainer.skipped_steps.item() == 1
    assert not all(map(torch.equal, before, trainer.network.parameters()))


def test_steps_left_out_are_in_the_record_of_a_run_that_was_resumed(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Trainer.__init__

    def begins_too_far(self: Trainer, *given: Any, **named: Any) -> None:
        honest(self, *given, **named)
        scaled_too_far(self)

    monkeypatch.setattr(Trainer, "__init__", begins_too_far)
    suite = make_suite("plain18", precision="fp16")
    with pytest.raises(KeyboardInterrupt):
        suite.train(suite.plan(), InterruptedAfter(2))
    (folder,) = train_all(suite)
    assert read_final(folder).skipped_steps == read_final(folder).iteration == 12


# ---- pairs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "named"), [("cifar-residual110-A", True), ("cifar-residual56-A", False)], ids=["equal", "other"]
)
def test_a_missing_warm_up_is_excused_between_depths_alone(tmp_path: Path, second: str, named: bool) -> None:
    folders = [write_run(tmp_path, "cifar10", name, 0) for name in ("cifar-plain110", second)]
    final = read_json(folders[1].final)
    without = [[0, 0.1], [32_000, 0.01], [48_000, 0.001]]
    write_json(folders[1].final, final | {"learning_rates": without})
    reseal(folders[1])
    first, other = (read_record(folder) for folder in folders)
    found = [text for text in differences(first, other) if text.startswith("learning rate differs")]
    assert bool(found) == named


# ---- fixed for good --------------------------------------------------------------------------------------


def test_convolutions_are_initialised_by_their_fan_out() -> None:
    """He et al. (2015b): deviation sqrt(2 / fan-out); told from fan-in where the width grows."""
    network = network_of("residual18-B", channels=3, num_classes=10, stem_width=64)
    grows = network.get_submodule("layer3.0.conv1").weight
    assert isinstance(grows, Tensor)
    assert grows.shape == (256, 128, 3, 3)
    assert grows.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("setting", [DIGITS, FASHION], ids=lambda setting: setting.name)
def test_the_kept_images_and_their_split_are_those_of_the_reference_results(setting: Setting) -> None:
    recorded = read_records(REPOSITORY / "results" / "reference" / setting.name)
    assert {record.run.configuration.data_fingerprint for record in recorded} == {
        load_dataset(setting).fingerprint
    }


def test_evaluated_images_are_called_test_only_where_they_are_the_test_images() -> None:
    whole = load_dataset(FASHION)
    assert whole.validation_name == "test"
    assert split(whole, "45k/5k").validation_name == "validation"
    assert load_dataset(DIGITS).validation_name == "validation"


def test_the_change_of_the_ratio_is_the_trained_less_the_untrained_one(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "residual34-A", 0)
    (row,) = read_runs(tmp_path, "digits").finals.to_dict("records")
    assert row["ratio_change"] == pytest.approx(row["mean_ratio"] - row["initial_mean_ratio"])
    assert row["ratio_change"] < 0
    estimated = row["mean_ratio_estimated"] - row["initial_mean_ratio"]
    assert row["ratio_change_estimated"] == pytest.approx(estimated)
    assert row["ratio_change"] < estimated < 0
