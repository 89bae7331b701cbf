"""What is seen of a run before, during and after its training: computed a second time, step by step."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plain_vs_residual.networks import Network
from plain_vs_residual.records.rows import CurveRow
from plain_vs_residual.records.store import write_rows
from plain_vs_residual.run import Job
from plain_vs_residual.seminar import construction, residual_functions
from plain_vs_residual.seminar.construction import error_in_training, mixed
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.training.initial_network import drawn_network
from tests.by_hand import (
    CPU,
    TINY,
    ByHand,
    as_dict,
    block_names,
    run_seen_while_it_trains,
    seen_by,
    tiny_images,
    tiny_network,
    trained_by_hand,
)
from tests.conftest import Silent, Suite, grown_experiment

# ---- while it trains -------------------------------------------------------------------------------------


def test_a_run_is_seen_after_the_iterations_that_were_asked_for(tmp_path: Path) -> None:
    subject = run_seen_while_it_trains("cifar-plain8", tmp_path, learning_rate=0.1)
    by_hand = [copy.deepcopy(one).state_dict() for one in trained_by_hand(subject.job.run, tiny_images())]
    assert len(by_hand) == 13
    seen = []
    for iteration, network in subject.during_training([5, 0, 1, 12]):
        seen.append(iteration)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, by_hand[iteration][name], rtol=1e-3, atol=1e-4)
        assert iteration == 0 or not torch.allclose(
            network.fc.weight, by_hand[iteration - 1]["fc.weight"], rtol=1e-3, atol=1e-4
        )
    assert seen == [0, 1, 5, 12]


def test_a_subject_of_a_run_has_its_setting_and_seed_and_computes_in_fp32(tmp_path: Path) -> None:
    job = run_seen_while_it_trains("cifar-plain8", tmp_path).job
    job = replace(job, arithmetic=job.arithmetic.model_copy(update={"precision": "bf16"}))
    subject = FinishedRun.of(job, CPU, tiny_images())
    assert (subject.seed, subject.setting, subject.precision) == (3, job.run.setting, "fp32")
    assert subject.architecture.name == "cifar-plain8"


def sizes_by_hand(network: nn.Module, images: Tensor, estimate_on: Tensor | None) -> dict[tuple[str, str], float]:
    """Return the size of F(x) over that of x and their cosine, by kind and block."""
    by_hand = ByHand(network)
    with torch.no_grad():
        by_hand.logits(images, by_hand.running if estimate_on is None else by_hand.estimated(estimate_on))
    found = {}
    for name in block_names(network):
        function, x = by_hand.outputs[f"{name}.bn2"].double(), by_hand.outputs[f"{name}.shortcut"].double()
        found["ratio", name] = (function.norm() / x.norm()).item()
        found["cosine", name] = ((function * x).sum() / function.norm() / x.norm()).item()
    return found


def test_the_size_of_f_is_followed_on_a_logarithmic_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual_functions, "NUM_IMAGES", 25)
    subject = run_seen_while_it_trains("cifar-residual8-A", tmp_path, iterations=6, learning_rate=0.1)
    # 6^(k/12) for k from 0 to 12: 1, 1.16, 1.35, 1.57, 1.82, 2.11, 2.45, 2.84, 3.30, 3.83, 4.45, 5.17, 6.
    moments = [0, 1, 2, 3, 4, 5, 6]
    (images, _), (every, _) = seen_by(tiny_images(), 25), seen_by(tiny_images())
    networks = enumerate(trained_by_hand(subject.job.run, tiny_images()))
    expected = {
        (iteration, kind, block, block_names(network).index(block) + 1): value
        for iteration, network in networks
        if iteration in moments
        for (kind, block), value in sizes_by_hand(network, images, None if iteration else every).items()
    }
    measured = residual_functions.measure(subject)
    assert as_dict(measured.rows) == pytest.approx(expected, rel=0.01, abs=2e-3)
    assert measured.summary == {}


def test_moments_lie_apart_where_the_axis_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def looks(_: FinishedRun, iterations: list[int]) -> Iterator[tuple[int, Network]]:
        asked.extend(iterations)
        yield from ()

    monkeypatch.setattr(FinishedRun, "during_training", looks)
    residual_functions.measure(run_seen_while_it_trains("cifar-residual8-A", tmp_path, iterations=4096))
    assert asked == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


# ---- by construction -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 8, 40])
def test_an_error_in_training_normalises_by_each_batch(batch_size: int) -> None:
    images, labels = seen_by(tiny_images())
    network = tiny_network("A").eval()
    before = copy.deepcopy(network.state_dict())
    wrong = 0.0
    for start in range(0, 40, batch_size):
        some = slice(start, start + batch_size)
        wrong += ByHand(network).error(images[some], labels[some]) * len(labels[some]) / 100
    assert error_in_training(network, images, labels, batch_size) == pytest.approx(100 * wrong / 40)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Return finished runs of an 8-layer network, and of a 14-layer one that was grown from it."""
    grown = grown_experiment()
    setting = TINY.with_changes({"learning_rate": 0.3})
    suite = Suite((grown,), setting, tiny_images(), tmp_path_factory.mktemp("trained"), range(1))
    suite.train(suite.plan(), Silent())
    return suite


def subject_of(suite: Suite, job: Job) -> FinishedRun:
    """Open a run, and write a curve of which the error is worst in the middle."""
    errors = [(70.0, 3.0), (85.0, 1.0), (20.0, 2.0)]
    rows = [
        CurveRow(iteration=iteration, epoch=1, running_training_error=error, running_training_loss=loss)
        for iteration, (error, loss) in enumerate(errors, start=1)
    ]
    write_rows(job.folder.training_curve, rows)
    return FinishedRun.of(job, suite.device, suite.dataset_of(job))


def construction_by_hand(iteration: int, share: float, network: Network) -> dict[Any, float]:
    (images, labels), (every, _) = seen_by(tiny_images(), 16), seen_by(tiny_images())
    by_hand = ByHand(network)
    batches = zip(images.split(8), labels.split(8), strict=True)
    found = {
        "E": by_hand.error(images, labels, by_hand.running),
        "R": by_hand.error(images, labels, by_hand.estimated(every)),
        "T": sum(by_hand.error(*batch) for batch in batches) / 2,
    }
    return {(iteration, f"error_{mode}", "network", share): value for mode, value in found.items()}


def test_a_trained_network_errs_by_three_ways_of_bn(trained: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(construction, "NUM_IMAGES", 16)
    job, _ = trained.plan()
    subject = subject_of(trained, job)
    before = copy.deepcopy(subject.network.state_dict())
    measured = construction.measure(subject)
    network = drawn_network(job.run, tiny_images())
    network.load_state_dict(torch.load(job.folder.weights, weights_only=True))
    expected = construction_by_hand(12, 0.0, network)
    assert as_dict(measured.rows) == pytest.approx(expected)
    assert len(set(expected.values())) > 1
    error = expected[12, "error_E", "network", 0.0]
    assert measured.summary == {"error_as_built": pytest.approx(error), "worst_training_error": 85}
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    assert not subject.network.training


def test_a_grown_network_errs_at_each_share_of_what_is_drawn(
    trained: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(construction, "NUM_IMAGES", 16)
    source, job = trained.plan()
    subject = subject_of(trained, job)
    measured = construction.measure(subject)
    copied = torch.load(source.folder.weights, weights_only=True)
    built, drawn = subject.untrained(), dict(drawn_network(job.run, tiny_images()).named_parameters())
    assert all(torch.equal(built.state_dict()[name], value) for name, value in copied.items())
    expected = {}
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        network = copy.deepcopy(built)
        with torch.no_grad():
            for name, value in network.named_parameters():
                if name not in copied:
                    value.copy_((1 - share) * value + share * drawn[name])
        for name, value in mixed(subject, share).state_dict().items():
            torch.testing.assert_close(value, network.state_dict()[name])
        expected |= construction_by_hand(0, share, network)
    after = copy.deepcopy(built)
    after.load_state_dict(torch.load(job.folder.weights, weights_only=True))
    expected |= construction_by_hand(12, 0.0, after)
    assert as_dict(measured.rows) == pytest.approx(expected)
    errors = [expected[key] for key in ((0, "error_E", "network", 0.0), (12, "error_E", "network", 0.0))]
    assert errors[0] != errors[1]
    assert measured.summary == {"error_as_built": pytest.approx(errors[0]), "worst_training_error": 85}
