"""The solution by construction: a grown network computes what its source computes, in and out of the suite."""

import copy
from typing import Any

import pytest
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import ResidualBlock
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.growth import grow, make_identity_of_residual
from plain_vs_residual.ledger import Changed
from plain_vs_residual.networks import Network, build
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import read_final, read_run
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.initial_network import initial_network
from tests.conftest import Silent, Suite

GROWN = Experiment(
    title="Tiny",
    paper="none",
    figures=("final_errors",),
    networks={"digits": ("cifar-plain8", "cifar-plain14")},
    studies={
        "digits": (
            Study(networks=("cifar-plain8",)),
            Study("grown", grown_from=dict.fromkeys(("cifar-plain8", "cifar-plain14"), "cifar-plain8")),
        )
    },
    claims=(Claim("Grown", contrast={"cifar-plain14@grown": 1, "cifar-plain8@grown": -1}, above=1),),
    name="tiny",
)


def trained(name: str) -> Network:
    """Return a network whose BN layers have scales, shifts and statistics as if it had been trained."""
    network = build(Architecture.parse(name), DIGITS, channels=1, num_classes=10, seed=100)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in network.named_parameters():
            if ".bn" in f".{key}":
                value.add_(torch.rand(value.shape, generator=generator) / 2)
        network.train()
        for _ in range(60):
            network(torch.randn(32, 1, 16, 16, generator=generator))
    return network.eval()


def images(num: int) -> torch.Tensor:
    return torch.randn(num, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("kind", "tolerance"), [("plain{}", 1e-4), ("residual{}-A", 0)])
def test_a_grown_network_of_56_layers_computes_what_20_layers_compute(kind: str, tolerance: float) -> None:
    source = trained(f"cifar-{kind.format(20)}")
    network = build(Architecture.parse(f"cifar-{kind.format(56)}"), DIGITS, channels=1, num_classes=10, seed=100)
    before = copy.deepcopy(source.state_dict())
    batches = [(images(256), torch.zeros(256, dtype=torch.int64))]
    grow(network, source, batches)
    with torch.no_grad():
        expected = source(images(64))
        assert expected.std() > 0.1
        assert (network.eval()(images(64)) - expected).abs().max() <= tolerance
        # By the batch's own statistics the difference is that between them and those of all images.
        difference = network.train()(images(256)) - source.train()(images(256))
        assert difference.abs().max() < 0.1 * expected.std()
    assert all(
        torch.equal(value, before[key])
        for key, value in source.state_dict().items()
        if "running" not in key and "num_batches" not in key
    )


def seen_behind(source: Network, stage: int, many: torch.Tensor) -> torch.Tensor:
    """Return what leaves a stage, all images at once: (channels, pixels)."""
    with torch.no_grad():
        x = source.bn1(source.conv1(many)).relu()
        for number in range(1, stage + 1):
            x = source.get_submodule(f"layer{number}")(x)
    return x.transpose(0, 1).flatten(start_dim=1)


@pytest.mark.parametrize("stage", [1, 3])
def test_an_added_plain_block_undoes_the_statistics_of_all_images(stage: int) -> None:
    source = trained("cifar-plain8")
    many = images(24) * torch.linspace(0.5, 3, 24)[:, None, None, None]  # no two batches are alike
    network = build(Architecture.parse("cifar-plain14"), DIGITS, channels=1, num_classes=10, seed=3)
    grow(network, source, [(one, torch.zeros(len(one), dtype=torch.int64)) for one in many.split([5, 9, 10])])
    found = network.get_submodule(f"layer{stage}.1").state_dict()
    kept = seen_behind(source, stage, many)
    assert kept.shape[1] == 24 * (16 // 2 ** (stage - 1)) ** 2
    mean, variance = kept.mean(dim=1), kept.var(dim=1, correction=0)
    for number in (1, 2):
        torch.testing.assert_close(found[f"bn{number}.running_mean"], mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found[f"bn{number}.running_var"], variance, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(found[f"bn{number}.bias"], mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found[f"bn{number}.weight"], (variance + 1e-5).sqrt(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["plain{}", "residual{}-A"])
def test_everything_that_both_have_is_copied_whatever_was_drawn(kind: str) -> None:
    """The source here is of another seed, and none of its tensors is as it was drawn."""
    source = trained(f"cifar-{kind.format(8)}")
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    network = build(Architecture.parse(f"cifar-{kind.format(14)}"), DIGITS, channels=1, num_classes=10, seed=4)
    grow(network, source, [(images(8), torch.zeros(8, dtype=torch.int64))])
    assert all(torch.equal(network.state_dict()[name], value) for name, value in source.state_dict().items())


def test_a_residual_block_with_a_shift_becomes_an_identity_too() -> None:
    block = trained("cifar-residual8-A").get_submodule("layer1.0")
    assert isinstance(block, ResidualBlock)
    assert block.bn2.bias.abs().min() > 0
    make_identity_of_residual(block)
    x = torch.rand(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(block(x), x)


def test_a_deeper_source_is_refused() -> None:
    network = build(Architecture.parse("cifar-plain8"), DIGITS, channels=1, num_classes=10, seed=100)
    with pytest.raises(ValueError, match=r"a network without layer1\.1\.\S+ cannot be grown"):
        grow(network, trained("cifar-plain20"), [])


@pytest.mark.usefixtures("forked_workers")
def test_grown_runs_wait_for_their_source_and_say_which_weights_they_began_with(make_suite: Any) -> None:
    suite: Suite = make_suite("cifar-plain8", experiments=(GROWN,))
    runs = suite.plan()
    assert [(run.run.architecture.depth, run.run.study) for run in runs] == [(8, ""), (8, "grown"), (14, "grown")]
    with pytest.raises(
        ValueError, match="grown from the weights of cifar-plain8-12-iterations-s0, which are not there"
    ):
        initial_network(runs[1], suite.dataset_of(runs[1]))
    suite.train(runs, Silent(), at_once=2)
    source, continued, grown = runs
    kept = torch.load(source.folder.weights, weights_only=True)
    for run in (continued, grown):
        network = initial_network(run, suite.dataset_of(run))
        assert all(torch.equal(network.state_dict()[name], value) for name, value in kept.items())
        weights = read_final(source.folder).files["weights.pt"]
        assert read_run(run.folder).configuration.source_weights == weights
    # What is recorded as drawn is equal in all three, as far as they share it: pairs can be checked.
    drawn = [read_run(run.folder).initial_parameters for run in runs]
    assert drawn[0] == drawn[1]
    assert drawn[0].items() < drawn[2].items()
    (recorded,) = load_recorded_runs(suite.results)
    (pair,) = verify(recorded, GROWN)
    assert pair.differences == ()
    suite.check(runs, rerun=False)


def test_a_source_trained_anew_takes_along_what_was_grown_from_it(make_suite: Any) -> None:
    suite: Suite = make_suite("cifar-plain8", experiments=(GROWN,))
    runs = suite.plan()
    suite.train(runs, Silent())
    runs[0].folder.metrics.write_text("damaged")
    with pytest.raises(Changed, match=r"3 recorded runs .*trained anew, and others depend on it"):
        suite.check(runs, rerun=False)
    assert len(suite.check(runs, rerun=True)) == 3


def test_verify_names_a_run_that_was_grown_from_other_weights(make_suite: Any) -> None:
    suite: Suite = make_suite("cifar-plain8", experiments=(GROWN,))
    runs = suite.plan()
    suite.train(runs, Silent())
    other: Suite = make_suite(
        "cifar-plain8", experiments=(GROWN,), results=suite.results.parent / "other", trial={"learning_rate": 0.5}
    )
    (source, *_) = other.plan()
    other.train([source], Silent())
    runs[0].folder.set_aside()
    source.folder.path.rename(runs[0].folder.path)
    (recorded,) = load_recorded_runs(suite.results)
    found = [line for check in verify(recorded, GROWN) for line in check.differences]
    assert found.count("grown from other weights than those of cifar-plain8-12-iterations-s0") == 2
