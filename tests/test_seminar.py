"""Measurements on finished runs: of the run itself, by this code, taken once, and columns for claims."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli.options import chosen_experiments
from plain_vs_residual.evidence.verdicts import num_primary
from plain_vs_residual.executors import measuring
from plain_vs_residual.experiment import Experiment, load_experiments
from plain_vs_residual.networks import build
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.records.store import read_measurement
from plain_vs_residual.seminar import (
    lesions,
    loss_landscape,
    path_lengths,
    shattered_gradients,
    signal_propagation,
)
from plain_vs_residual.seminar.construction import mixed
from plain_vs_residual.seminar.finished_run import FinishedRun
from plain_vs_residual.seminar.gradient_norms import FIRST_ITERATIONS, gradient_norms
from plain_vs_residual.seminar.loss_landscape import at, interpolated, random_direction
from plain_vs_residual.seminar.shattered_gradients import LINES, pairs_of_classes
from plain_vs_residual.settings import DIGITS
from plain_vs_residual.training.initial_network import drawn_network
from plain_vs_residual.vocabulary import columns, final_columns
from tests.conftest import Silent, Suite, grown_experiment

NETWORKS = ("cifar-plain8", "cifar-residual8-A")
SEMINAR = [experiment for experiment in load_experiments().values() if experiment.seminar]


def tiny(measurement: str) -> Experiment:
    return Experiment(
        title="Tiny",
        paper="none",
        figures=("gradient_norms",),
        networks={"digits": NETWORKS},
        claims=(),
        seminar=True,
        measurement=measurement,
        name="tiny",
    )


@pytest.fixture
def trained(make_suite: Any) -> Suite:
    """Return a suite whose runs are finished, but not measured."""
    suite: Suite = make_suite(*NETWORKS, experiments=(tiny("gradient_norms"),))
    suite.train(suite.plan(), Silent())
    return suite


def measured(suite: Suite) -> list[str]:
    said: list[str] = []
    suite.measure(suite.plan(), said.append)
    return said


def recorded(suite: Suite) -> RecordedRuns:
    (found,) = load_recorded_runs(suite.results)
    return found


def test_looking_on_leaves_training_as_it_was(trained: Suite) -> None:
    for run in trained.plan():
        subject = FinishedRun.of(run, trained.device, trained.dataset_of(run))
        images, labels = subject.images(16)
        for iteration, network in subject.during_training([0, 1, 5, 12]):
            gradient_norms(network, images, labels)
            if iteration == 0:
                assert all(
                    torch.equal(value, subject.untrained().state_dict()[name])
                    for name, value in network.state_dict().items()
                )
        kept = torch.load(run.folder.weights, weights_only=True)
        assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
        assert all(torch.equal(value, kept[name]) for name, value in subject.network.state_dict().items())


def test_a_run_is_measured_once_and_its_numbers_are_columns(trained: Suite) -> None:
    before = recorded(trained)
    assert len(before.missing(trained.experiments[0])) == 2
    assert not before.shows(trained.experiments[0])
    assert len(measured(trained)) == 2
    assert measured(trained) == []
    after = recorded(trained)
    assert after.missing(trained.experiments[0]) == []
    assert after.shows(trained.experiments[0])
    table = after.measured("gradient_norms")
    for record in after.records:
        column = after.finals.set_index("network")["log10_gradient_ratio"]
        weight = table[(table["network"] == record.run.network) & (table["quantity"] == "weight")]
        first = weight[weight["iteration"] == 0].set_index("place")["value"]
        ratio = first["layer1.0.conv1"] / first.iloc[-1]
        assert 10 ** column[record.run.network] == pytest.approx(ratio)
        # The setting evaluates three times in 12 iterations: after 4, 8 and 12.
        expected = sorted({one for one in FIRST_ITERATIONS if one < 12} | {4, 8, 12})
        assert sorted(set(weight["iteration"])) == expected


def test_what_other_code_or_another_run_gave_is_measured_anew(
    trained: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(trained)
    run = trained.plan()[0]
    table, record = run.folder.measured("gradient_norms"), run.folder.measurement("gradient_norms")
    whole = table.read_bytes()
    table.write_bytes(whole + b"\n")
    with pytest.raises(ValueError, match="missing or damaged"):
        read_measurement(run.folder, "gradient_norms")
    assert len(measured(trained)) == 1
    assert table.read_bytes() == whole
    final = run.folder.final.read_text()
    run.folder.final.write_bytes(trained.plan()[1].folder.final.read_bytes())
    with pytest.raises(ValueError, match="another run"):
        read_measurement(run.folder, "gradient_norms")
    run.folder.final.write_text(final)
    assert "torch" in json.loads(record.read_text())["environment"]
    monkeypatch.setattr(measuring, "code_of", lambda name: {name: "other"})
    assert len(measured(trained)) == 2


def test_without_its_weights_a_run_cannot_be_measured(trained: Suite) -> None:
    run = trained.plan()[0]
    run.folder.weights.unlink()
    with pytest.raises(ValueError, match=r"weights\.pt: missing"):
        _ = FinishedRun.of(run, trained.device, trained.dataset_of(run)).network


def test_what_is_asked_of_the_untrained_network_needs_no_weights(trained: Suite) -> None:
    run = trained.plan()[0]
    before = signal_propagation.measure(FinishedRun.of(run, trained.device, trained.dataset_of(run)))
    run.folder.weights.unlink()
    assert before == signal_propagation.measure(FinishedRun.of(run, trained.device, trained.dataset_of(run)))


def test_other_initial_values_than_the_runs_are_refused(trained: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained.plan()[0]
    subject = FinishedRun.of(run, trained.device, trained.dataset_of(run))
    monkeypatch.setattr("plain_vs_residual.networks.nn.init.ones_", torch.nn.init.zeros_)
    with pytest.raises(ValueError, match="other initial values"):
        subject.untrained()


def test_an_unknown_measurement_is_named() -> None:
    with pytest.raises(ValueError, match=r"measurement 'nothing': there is no .*nothing\.py"):
        measuring.code_of("nothing")


@pytest.mark.parametrize("experiment", SEMINAR, ids=lambda experiment: experiment.name)
def test_experiments_of_the_seminar_can_be_measured_and_wait_to_be_named(experiment: Experiment) -> None:
    for setting in experiment.networks:
        assert sum(claim.primary for claim in experiment.claims_in(setting)) == 1
    assert experiment.waits_to_be_named("fashion")
    if experiment.measurement:
        assert f"plain_vs_residual/seminar/{experiment.measurement}.py" in measuring.code_of(
            experiment.measurement
        )


def test_one_word_chooses_the_whole_seminar() -> None:
    assert chosen_experiments(["seminar"]) == SEMINAR
    assert {one.name for one in chosen_experiments(["seminar", "fig4_depth"])} == {
        "fig4_depth",
        *(one.name for one in SEMINAR),
    }


def test_the_seminars_claims_share_no_error_rate_with_the_papers() -> None:
    every = list(load_experiments().values())
    paper = [one for one in every if not one.seminar]
    assert [num_primary("fashion", one, every) for one in paper] == [
        num_primary("fashion", one, paper) for one in paper
    ]
    in_fashion = [one for one in SEMINAR if "fashion" in one.networks]
    assert {num_primary("fashion", one, every) for one in in_fashion} == {len(in_fashion)}


def test_lines_join_images_of_different_classes() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2] * 10)
    pairs = pairs_of_classes(labels, torch.Generator().manual_seed(0))
    assert len(pairs) == LINES
    assert all(labels[first] != labels[second] for first, second in pairs)
    assert len({index for pair in pairs for index in pair}) == 2 * LINES


@pytest.mark.parametrize("experiment", [one for one in SEMINAR if one.measurement], ids=lambda one: one.name)
def test_every_measurement_gives_the_columns_that_its_claims_are_about(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch, experiment: Experiment
) -> None:
    fewer = {
        loss_landscape: {"DIRECTIONS": 2, "STEPS": (-0.25, 0.0, 0.25), "PLANE": 2, "LINE": 2},
        lesions: {"NUMBERS": (1, 2), "DRAWS": 2},
        path_lengths: {"DRAWS": 2},
        shattered_gradients: {"LINES": 2},
    }
    for module, numbers in fewer.items():
        for name, value in numbers.items():
            monkeypatch.setattr(module, name, value)
    family = {name.replace("20", "8").replace("56", "14") for name in experiment.networks["digits"]}
    tiny_one = replace(tiny(experiment.measurement), networks={"digits": tuple(sorted(family))})
    suite: Suite = make_suite(*family, experiments=(tiny_one,))
    suite.train(suite.plan(), Silent())
    assert len(measured(suite)) == len(family)
    found = recorded(suite)
    wanted = {claim.column for claim in experiment.claims}
    assert wanted <= set(found.finals.columns)
    summaries = [read_measurement(record.folder, experiment.measurement).summary for record in found.records]
    declared = set(columns(experiment.measurement)) - set(final_columns())
    assert all(set(summary) == declared for summary in summaries)
    table = found.measured(experiment.measurement)
    assert set(table["network"]) == family
    assert table["value"].notna().all()


def test_mixtures_lie_between_the_construction_and_what_is_drawn(make_suite: Any) -> None:
    grown = grown_experiment(measurement="construction")
    suite: Suite = make_suite("cifar-plain8", experiments=(grown,))
    suite.train(suite.plan(), Silent())
    source, run = suite.plan()
    subject = FinishedRun.of(run, suite.device, suite.dataset_of(run))
    built, half, drawn = (dict(mixed(subject, share).named_parameters()) for share in (0.0, 0.5, 1.0))
    kept = torch.load(source.folder.weights, weights_only=True)
    initial = dict(drawn_network(run.run, suite.dataset_of(run)).named_parameters())
    added = "layer1.1.conv1.weight"
    assert torch.equal(built[added], torch.nn.init.dirac_(torch.empty_like(built[added])))
    assert torch.equal(drawn[added], initial[added])
    torch.testing.assert_close(half[added], (built[added] + drawn[added]) / 2)
    assert all(torch.equal(drawn[name], value) for name, value in kept.items() if name in drawn)
    measured(suite)
    final = recorded(suite).finals.set_index("study")
    assert final.loc["grown", "error_as_built"] == final.loc["", "error_as_built"]


def test_directions_are_as_long_as_the_filters_and_leave_bn_alone() -> None:
    network = build(Architecture.parse("cifar-plain8"), DIGITS, channels=1, num_classes=10, seed=100)
    direction = random_direction(network, torch.Generator().manual_seed(0))
    assert set(direction) == {name for name, value in network.named_parameters() if value.dim() > 1}
    for name, moved in at(network, [(0.5, direction)]).named_parameters():
        before = network.get_parameter(name)
        if name not in direction:
            assert torch.equal(moved, before)
            continue
        lengths = [one.detach().flatten(start_dim=1).norm(dim=1) for one in (moved - before, before)]
        torch.testing.assert_close(lengths[0], lengths[1] / 2)
    other = build(Architecture.parse("cifar-plain8"), DIGITS, channels=1, num_classes=10, seed=101)
    quarter = interpolated(network, other, 0.25).get_parameter("fc.weight")
    expected = 0.75 * network.get_parameter("fc.weight") + 0.25 * other.get_parameter("fc.weight")
    torch.testing.assert_close(quarter, expected)
