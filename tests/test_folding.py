"""Folding: a network with identities and the plain network with biases that it becomes compute the same."""

import copy
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from plain_vs_residual import folding
from plain_vs_residual.architecture import Architecture
from plain_vs_residual.blocks import PlainBlock, basic_layers
from plain_vs_residual.cli.app import main
from plain_vs_residual.evidence.own_faults import _shortcuts
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.evidence.summaries import SUMMARIES, wrong_summaries
from plain_vs_residual.experiment import Claim, Experiment, Study, load_experiments
from plain_vs_residual.folding import FoldableBlock, fold, keeps_shape
from plain_vs_residual.inspection.description import describe
from plain_vs_residual.measures.responses import with_estimated_statistics
from plain_vs_residual.modifications import Bias
from plain_vs_residual.networks import Network, build, hashes_of
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.records.store import read_final, read_measurement
from plain_vs_residual.report.figures import draw
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.seminar.folding import folded, measure
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.step import Trainer
from tests.conftest import Silent, Suite
from tests.made_up_records import write_results

NETWORKS = ("cifar-plain8", "cifar-residual8-A")
TINY = Experiment(
    title="Tiny",
    paper="none",
    figures=("folding",),
    networks={"digits": NETWORKS},
    studies={
        "digits": (Study(), Study("foldable", {"modification": "foldable"}, networks=("cifar-plain8",))),
    },
    claims=(
        Claim(
            "Tiny",
            contrast={"cifar-plain8": 1, "cifar-plain8@foldable": -1, "cifar-residual8-A": 1},
            column="folded_training_error",
            above=0,
        ),
    ),
    seminar=True,
    measurement="folding",
    name="tiny",
)


def modified(name: str, modification: str, seed: int = 100) -> Network:
    recipe = DIGITS.with_changes({"modification": modification})
    return build(Architecture.parse(name), recipe, channels=1, num_classes=10, seed=seed)


def images(num: int) -> Tensor:
    return torch.randn(num, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def with_values_of_its_own(network: Network) -> Network:
    """Give every BN a scale, shift, mean and variance of its own, variances as small as its eps among them."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -0.3, 0.3, generator=generator)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.get_buffer("running_mean"), -0.5, 0.5, generator=generator)
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 1.5, generator=generator)
            module.get_buffer("running_var")[:2] = module.eps
            module.weight.data[:2] *= 0.01
    return network.eval()


def trained(network: Network) -> Network:
    """Take some steps; BN's running statistics are then those of the images, as after a long training."""
    trainer = Trainer(network, DIGITS, "fp32")
    trainer.learning_rate.fill_(0.01)
    for _ in range(5):
        trainer.step(images(16), torch.arange(16) % 10)
    network.load_state_dict(with_estimated_statistics(network, [(images(32), torch.zeros(32))]).state_dict())
    return network.eval()


def difference(network: Network) -> float:
    """Fold a network and return the largest difference of a logit."""
    plain = modified(NAMES[len(network.state_dict())], "folded").eval()
    fold(network, plain)
    with torch.no_grad():
        return (plain(images(32)) - network(images(32))).abs().max().item()


NAMES = {len(modified(name, "none").state_dict()): name for name in ("cifar-plain8", "cifar-plain56", "plain50")}


@pytest.mark.parametrize("modification", ["foldable", "none", "delta-orthogonal"])
@pytest.mark.parametrize("name", ["cifar-plain8", "cifar-plain56"])
def test_the_folded_network_computes_what_the_trained_one_does(name: str, modification: str) -> None:
    network = trained(modified(name, modification))
    with torch.no_grad():
        assert network(images(32)).std(dim=0).max() > 1e-3
    assert difference(network) < 1e-4
    assert difference(with_values_of_its_own(network)) < 1e-4


def test_a_bottleneck_folds_too() -> None:
    """The identities go into the centre of a 3x3 kernel, and into a 1x1 kernel where it keeps the shape."""
    network = modified("plain50", "foldable")
    assert difference(with_values_of_its_own(network)) < 1e-2
    blocks = [module for module in network.modules() if isinstance(module, FoldableBlock)]
    assert [keeps_shape(one) for one, _ in blocks[0].layers()][1:] == [True, False]


def test_a_foldable_block_computes_what_its_equation_says() -> None:
    """By hand: conv1 halves the image and has no identity; conv2 keeps the shape and has one."""
    block: Any = FoldableBlock(basic_layers(3, 6, stride=2)).eval()
    x = images(2).repeat(1, 3, 1, 1)
    with torch.no_grad():
        first = relu(conv2d(x, block.conv1.weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5)
        second = relu(conv2d(first, block.conv2.weight, padding=1) / (1 + 1e-5) ** 0.5 + first)
        torch.testing.assert_close(block(x), second)
        assert not torch.allclose(PlainBlock(block.layers()).eval()(x), second)


def test_identities_are_around_every_convolution_that_keeps_its_shape_and_no_other() -> None:
    blocks = {
        name: [keeps_shape(one) for one, _ in module.layers()]
        for name, module in modified("cifar-plain14", "foldable").named_modules()
        if isinstance(module, FoldableBlock)
    }
    changing = {"layer2.0", "layer3.0"}
    assert blocks == {
        f"layer{stage}.{index}": [f"layer{stage}.{index}" not in changing, True]
        for stage in (1, 2, 3)
        for index in range(2)
    }


def test_the_folded_network_is_a_plain_one_with_biases_in_the_place_of_bn() -> None:
    plain, ordinary = modified("cifar-plain56", "folded"), modified("cifar-plain56", "none")
    fold(trained(modified("cifar-plain56", "foldable")), plain)
    kinds = {name: type(module) for name, module in plain.named_modules()}
    expected = {name: type(module) for name, module in ordinary.named_modules()}
    assert kinds == {name: Bias if kind is nn.BatchNorm2d else kind for name, kind in expected.items()}
    assert list(kinds.values()).count(Bias) == 55
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    kept = {name: value.shape for name, value in ordinary.named_parameters()}
    assert shapes == {
        name: shape for name, shape in kept.items() if not (".bn" in f".{name}" and "weight" in name)
    }


def test_a_foldable_network_begins_with_the_weights_of_a_plain_one() -> None:
    first, second = (modified("cifar-plain56", one) for one in ("foldable", "none"))
    assert hashes_of(first.state_dict().items()) == hashes_of(second.state_dict().items())


def test_planted_faults_are_seen_in_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = with_values_of_its_own(modified("cifar-plain8", "foldable"))
    assert difference(network) < 1e-4
    with monkeypatch.context() as patched:  # the identity is forgotten where it is folded
        patched.setattr(nn.init, "dirac_", nn.init.zeros_)
        assert difference(network) > 1e-2
    with monkeypatch.context() as patched:  # eps is forgotten
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                patched.setattr(module, "eps", 0.0)
        plain = modified("cifar-plain8", "folded").eval()
        fold(network, plain)
    with torch.no_grad():
        assert (plain(images(32)) - network(images(32))).abs().max() > 1e-3
    with monkeypatch.context() as patched:  # an identity is folded in where the shape changes
        layers = folding._layers
        patched.setattr(folding, "_layers", lambda one: [(*pair, True) for *pair, _ in layers(one)])
        assert difference(network) > 1e-2


@pytest.mark.parametrize("name", ["cifar-residual8-A", "residual50-B"])
@pytest.mark.parametrize("modification", ["foldable", "folded"])
def test_a_residual_network_cannot_be_folded(name: str, modification: str) -> None:
    with pytest.raises(ValueError, match="residual network cannot be folded"):
        modified(name, modification)


@pytest.mark.parametrize(
    ("name", "modification", "says"),
    [
        ("cifar-residual8-A", "none", "a ResidualBlock"),
        ("cifar-residual8-A", "pre-activation", "a PreActivationBlock"),
        ("cifar-plain8", "dirac", "only ordinary convolutions"),
        ("cifar-plain8", "looks-linear", "with BN behind them"),
        ("cifar-plain8", "folded", "with BN behind them"),
    ],
)
def test_what_would_be_folded_into_something_else_is_refused(name: str, modification: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fold(modified(name, modification), modified("cifar-plain8", "folded"))


@pytest.mark.parametrize("modification", ["none", "foldable"])
def test_a_network_with_bn_cannot_be_folded_into(modification: str) -> None:
    with pytest.raises(ValueError, match="has biases and no BN"):
        fold(modified("cifar-plain8", "foldable"), modified("cifar-plain8", modification))


def test_folding_leaves_the_trained_network_as_it_is() -> None:
    network = with_values_of_its_own(modified("cifar-plain8", "foldable"))
    before = copy.deepcopy(network.state_dict())
    difference(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.fixture
def suite(make_suite: Any) -> Suite:
    """Return a suite whose runs are finished and measured."""
    made: Suite = make_suite(*NETWORKS, experiments=(TINY,))
    made.train(made.plan(), Silent())
    made.measure(made.plan(), lambda line: None)
    return made


def test_folding_is_measured_on_all_training_images_and_computed_again_from_its_table(suite: Suite) -> None:
    (recorded,) = load_recorded_runs(suite.results)
    assert [line for check in verify(recorded, TINY) for line in check.differences] == []
    assert len(recorded.records) == 3
    for record in recorded.records:
        assert list(wrong_summaries(record, "folding")) == []
        summary = read_measurement(record.folder, "folding").summary
        rows = pd.read_csv(record.folder.measured("folding")).set_index("quantity")["value"]
        # What is folded errs as what was trained, to the last image; that is what the run recorded itself.
        error = pytest.approx(read_final(record.folder).training_error)
        assert summary["folded_training_error"] == error
        assert rows["error_trained"] == error
        if record.run.network == "cifar-residual8-A":
            assert list(rows.index) == ["error_trained"]
            assert summary["folded_logit_difference"] is None
        else:
            assert rows["error_folded"] == error
            assert 0 < summary["folded_logit_difference"] == rows["logit_difference"] < 1e-4


def test_verify_names_identities_that_are_missing_or_that_nobody_asked_for(suite: Suite) -> None:
    (recorded,) = load_recorded_runs(suite.results)
    said = {}
    for record in recorded.records:
        if record.run.network == "cifar-plain8":
            other = "none" if record.run.study else "foldable"
            configuration = record.run.configuration.model_copy(update={"modification": other})
            mistaken = replace(record, run=record.run.model_copy(update={"configuration": configuration}))
            said[other] = " ".join(_shortcuts(mistaken, read_final(record.folder)))
            assert list(_shortcuts(record, read_final(record.folder))) == []
    assert said["none"].startswith("a plain network with shortcuts: layer1.0")
    assert said["foldable"].startswith("shortcuts that add nothing: layer1.0")


def test_the_network_that_is_measured_is_the_folded_one(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    job = next(one for one in suite.plan() if one.run.study == "foldable")
    subject = FinishedRun.of(job, suite.device, suite.dataset_of(job))
    found = folded(subject)
    assert not [module for module in found.modules() if isinstance(module, nn.BatchNorm2d | FoldableBlock)]
    assert [module for module in subject.network.modules() if isinstance(module, FoldableBlock)]
    # A fault in folding is a difference that is measured.
    monkeypatch.setattr(nn.init, "dirac_", nn.init.zeros_)
    assert measure(subject).summary["folded_logit_difference"] > 0.01


def test_the_summary_of_a_network_that_does_not_fold_is_its_own_error() -> None:
    rows = pd.DataFrame(
        {"quantity": ["error_trained", "error_folded", "logit_difference"], "value": [3.0, 4.0, 5.0]}
    )
    columns: Any = SUMMARIES["folding"]
    assert [columns[name](rows, None) for name in columns] == [4, 5]
    assert columns["folded_training_error"](rows[:1], None) == 3
    assert math.isnan(columns["folded_logit_difference"](rows[:1], None))


def test_the_figure_shows_each_network_of_each_seed(tmp_path: Path) -> None:
    experiment = load_experiments()["folding"]
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(2))
    draw(recorded, experiment, "folding", tmp_path)
    table = pd.read_csv(tmp_path / "folding.csv", keep_default_na=False)
    found = table[["network", "study", "seed", "quantity"]].itertuples(index=False, name=None)
    assert sorted(found) == sorted(
        (network, study, seed, quantity)
        for network, study, quantity in (
            ("cifar-plain56", "", "error_trained"),
            ("cifar-plain56", "foldable", "error_folded"),
            ("cifar-plain56", "foldable", "error_trained"),
            ("cifar-residual56-A", "", "error_trained"),
        )
        for seed in range(2)
    )
    measured = recorded.measured("folding").set_index(["network", "study", "seed", "quantity"])["value"]
    assert all(
        measured[row[:-1]] == row[-1] for row in table[[*measured.index.names, "value"]].itertuples(index=False)
    )


def test_a_run_that_is_missing_is_named_in_the_figure(tmp_path: Path) -> None:
    experiment = load_experiments()["folding"]
    recorded = write_results(tmp_path / "results", [experiment], "fashion", seeds=range(1))
    for record in recorded.records:
        if record.run.study:
            record.folder.measurement("folding").unlink()
            record.folder.measured("folding").unlink()
    (recorded,) = load_recorded_runs(tmp_path / "results", "fashion")
    draw(recorded, experiment, "folding", tmp_path)
    text = (tmp_path / "folding.svg").read_text(encoding="utf-8")
    assert text.count(">not measured<") == 1
    assert "guessing: 90 %" in text


def test_describe_shows_the_folded_network_beside_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["describe", "cifar-plain56", "--folded", "--compare", "cifar-plain56", "--setting", "fashion"]
    monkeypatch.setattr(sys, "argv", ["plain_vs_residual", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    main()
    text = capsys.readouterr().out
    assert "* 55 of 57 rows differ\n" in text
    assert "parameters: 850,698 (0 of them of BN)" in text
    assert "parameters: 852,730 (4,064 of them of BN)" in text
    first, second = text.split("\ncifar-plain56, folded\n")[1].split("\ncifar-plain56\n")
    changed = [line.removesuffix("; a bias per channel, no BN") for line in first.splitlines() if "* " in line]
    assert [line for line in second.splitlines() if " x " in line] == [line for line in changed if " x " in line]
    assert first.count("; a bias per channel, no BN") == 5
    assert "; a bias per channel, no BN" not in second


def test_the_description_counts_the_biases_of_the_network_itself() -> None:
    for name in ("cifar-plain8", "plain18", "plain50"):
        one, ordinary = (describe(Architecture.parse(name), folded=folded) for folded in (True, False))
        assert sum(row.parameters for row in one.rows) == one.parameters
        assert one.multiply_adds == ordinary.multiply_adds
        assert one.weighted_layers == ordinary.weighted_layers
        assert not any(row.bn_parameters for row in one.rows)
        for row, other in zip(one.rows, ordinary.rows, strict=True):
            assert row.parameters == other.parameters + other.bn_parameters / 2
    with pytest.raises(ValueError, match="residual network cannot be folded"):
        describe(Architecture.parse("residual18-A"), folded=True)
