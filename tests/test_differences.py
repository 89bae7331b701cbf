"""What differs between two records, line by line: each record is one that was written, with one value changed."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence.differences import across_seeds, differences, shared_parameters
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.models import Resumption
from plain_vs_residual.records.store import Record, read_record
from tests.made_up_records import read_runs, write_run

Write = Callable[..., Record]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a run of ``digits`` and reads it back."""

    def written(network: str, seed: int = 0, **changes: Any) -> Record:
        return read_record(write_run(tmp_path, changes.pop("setting", "digits"), network, seed, **changes))

    return written


def having(record: Record, **fields: Any) -> Record:
    """Change fields of ``run.json``; those of its parts are named as ``configuration__batch_size``."""
    run = record.run
    for name, value in fields.items():
        part, _, field = name.partition("__")
        if field:
            value = getattr(run, part).model_copy(update={field: value})
        run = run.model_copy(update={part: value})
    return replace(record, run=run)


def ending(record: Record, **fields: Any) -> Record:
    """Change fields of ``final.json``."""
    assert record.final
    return replace(record, final=record.final.model_copy(update=fields))


def of_pair(a: Record, b: Record, studied: Collection[str] = ()) -> list[str]:
    return list(differences(a, b, studied))


# ---- two seeds -------------------------------------------------------------------------------------------


def test_two_seeds_are_one_recipe_one_network_and_no_copies(write: Write) -> None:
    a, b = write("plain18", 0), write("plain18", 1)
    assert list(across_seeds(a, b)) == []
    assert list(across_seeds(a, having(b, configuration__learning_rate=0.5))) == [
        "learning_rate: 0.02 against 0.5"
    ]
    assert list(across_seeds(a, having(b, environment__torch="3.0"))) == ["torch: 2.99.0+made-up against 3.0"]
    assert list(across_seeds(a, having(b, multiply_adds=7))) == ["multiply-adds: 18,000,000 against 7"]
    wider = b.run.initial_parameters | {"fc.weight": "11x64:0000"}
    assert list(across_seeds(a, having(b, initial_parameters=wider))) == [
        "names and shapes of the initial parameters differ"
    ]
    same = having(b, initial_parameters=a.run.initial_parameters)
    assert list(across_seeds(a, same)) == ["two seeds start from the same initial values: one is a copy"]
    assert a.final
    assert b.final
    ordered = ending(b, consumed=b.final.consumed | {"indices": a.final.consumed["indices"]})
    assert list(across_seeds(a, ordered)) == ["two seeds saw the images in the same order: one is a copy"]
    # Crops and flips of two seeds are other ones; what was evaluated is the same where both came to the same end.
    for part, words in (
        ("evaluated_training", "training images of the evaluations"),
        ("measured_training", "images on which responses were measured"),
    ):
        seen = ending(b, consumed=b.final.consumed | {part: "0000"})
        assert list(across_seeds(a, seen)) == [f"{words} differ ({part})"]
        assert list(across_seeds(a, ending(seen, iteration=3))) == []


# ---- two members -----------------------------------------------------------------------------------------


def test_which_member_has_uncommitted_changes_or_a_parameter_is_said(write: Write) -> None:
    a, b = write("plain18"), write("residual18-A")
    assert of_pair(a, b) == []
    for first, second, name in (
        (having(a, environment__git_changes=True), b, "plain18-s0"),
        (a, having(b, environment__git_changes=True), "residual18-A-s0"),
    ):
        assert of_pair(first, second) == [f"only {name} was trained with uncommitted changes of the code"]
    fewer = {name: text for name, text in a.run.initial_parameters.items() if name != "bn1.bias"}
    assert of_pair(having(a, initial_parameters=fewer), b) == ["parameter bn1.bias: only in residual18-A-s0"]
    assert of_pair(a, having(b, initial_parameters=fewer)) == ["parameter bn1.bias: only in plain18-s0"]


@pytest.mark.parametrize("member", [0, 1])
def test_either_member_may_have_gone_on_elsewhere(write: Write, member: int) -> None:
    pair = [write("plain18"), write("residual18-A")]
    run = pair[member].run
    elsewhere = run.environment.model_copy(update={"numpy": "3.0"})
    session = Resumption(iteration=9, started="then", environment=elsewhere, arithmetic=run.arithmetic)
    pair[member] = having(pair[member], resumed=[session])
    assert of_pair(*pair) == [f"{pair[member].name} went on from iteration 9 with numpy 3.0, not 2.9.9"]


def test_threads_count_unless_both_members_are_on_gpus(write: Write) -> None:
    a, b = write("plain18"), having(write("residual18-A"), arithmetic__threads=7)
    assert of_pair(a, b) == ["threads: 2 against 7"]
    on_gpu = [having(one, environment__device="cuda") for one in (a, b)]
    assert of_pair(*on_gpu) == []
    assert of_pair(a, on_gpu[1]) == ["device: cpu against cuda", "threads: 2 against 7"]
    assert of_pair(having(on_gpu[0], arithmetic__devices=2), on_gpu[1]) == ["devices: 2 against 1"]


def test_what_is_studied_may_differ_and_nothing_else(write: Write) -> None:
    a, b = write("plain18"), write("residual18-A")
    other = having(b, configuration__weight_decay=0.5, configuration__momentum=0.5)
    decay, momentum = "weight_decay: 0.0001 against 0.5", "momentum: 0.9 against 0.5"
    assert of_pair(a, other) == [momentum, decay]
    assert of_pair(a, other, {"weight_decay"}) == [momentum]
    split = having(b, configuration__split="45k/5k", dataset__validation_name="test")
    assert of_pair(a, split, {"split"}) == []
    assert of_pair(a, having(b, dataset__validation_name="test")) == [
        "data set, validation_name: validation against test"
    ]


def test_a_leaders_plateau_and_the_replay_of_its_rates_are_one_schedule(write: Write) -> None:
    a, b = (having(write(name), configuration__schedule="plateau") for name in ("plain18", "residual18-A"))
    assert of_pair(a, having(b, configuration__schedule="replay")) == []
    assert of_pair(a, having(b, configuration__schedule="step")) == ["schedule: plateau against step"]


def test_costs_are_compared_where_option_a_promises_equal_ones(write: Write) -> None:
    plain, shortcuts = write("plain18"), write("residual18-A")
    words = "multiply-adds: 18,000,000 against 7, though option A has none of its own"
    assert of_pair(plain, having(shortcuts, multiply_adds=7)) == [words]
    assert of_pair(plain, having(write("residual18-B"), multiply_adds=7)) == []
    assert of_pair(plain, having(write("residual34-A"), multiply_adds=7)) == []
    changed = {"configuration__modification": "zero_gamma"}
    assert of_pair(having(plain, **changed), having(shortcuts, **changed, multiply_adds=7)) == []
    stated = having(shortcuts, parameters=7)
    (line,) = of_pair(plain, stated)
    assert line == f"parameters: {plain.run.parameters:,} against 7, though option A has none of its own"


def test_initial_values_of_another_shape_differ_between_networks_of_the_same_layers(write: Write) -> None:
    a, b = write("plain18"), write("residual18-A")
    wider = b.run.initial_parameters | {"fc.weight": "11x64:0000", "conv1.weight": "16x3x3x3:0000"}
    assert of_pair(a, having(b, initial_parameters=wider)) == [
        "initial values of conv1.weight and of 1 others differ"
    ]
    deeper = write("residual50-B")  # bottlenecks: names are shared, shapes are not
    wide = having(deeper, initial_parameters=deeper.run.initial_parameters | {"fc.weight": "10x2048:0000"})
    assert "fc.weight" not in shared_parameters(a, wide)
    assert [line for line in of_pair(a, wide) if line.startswith("initial values")] == []


# ---- runs of unequal length ------------------------------------------------------------------------------


def so_far(record: Record, row: int, **changed: str) -> Record:
    """Change what a row of ``metrics.csv`` says was consumed by then; 0 is the first."""
    lines = record.folder.metrics.read_text(encoding="utf-8").splitlines()
    *cells, consumed = lines[row + 1].split(",")
    parts = dict(part.split(":") for part in consumed.split("/"))
    assert changed.keys() <= parts.keys()
    lines[row + 1] = ",".join([*cells, "/".join(f"{name}:{value}" for name, value in (parts | changed).items())])
    record.folder.metrics.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return record


def test_a_longer_run_is_compared_where_both_are_known_last(write: Write) -> None:
    """With budgets studied, evaluations 1 to 5 of both are at the same iterations here; the second run is cut."""
    a, b = write("plain18"), write("residual18-A")
    assert b.final
    lines = b.folder.metrics.read_text(encoding="utf-8").splitlines()
    b.folder.metrics.write_text("\n".join(lines[:4]) + "\n", encoding="utf-8")
    b = ending(b, iteration=269)
    assert of_pair(a, b) == ["iterations: 449 against 269"]
    assert of_pair(a, b, {"iterations"}) == of_pair(a, b, {"epochs"}) == []
    assert of_pair(a, ending(b, outcome="diverged")) == []
    # Only the last row that both have counts, which is the third; what came before is part of its hashes.
    assert of_pair(so_far(a, 3, indices="0000"), b, {"epochs"}) == []
    assert of_pair(so_far(a, 1, indices="0000"), b, {"epochs"}) == []
    assert of_pair(so_far(a, 2, indices="0000"), b, {"epochs"}) == [
        "what was consumed until iteration 269 differs"
    ]
    so_far(b, 2, indices="0000")
    assert of_pair(a, b, {"epochs"}) == []
    assert of_pair(so_far(a, 2, evaluated_validation="0000"), b, {"epochs"}) == [
        "validation images of the evaluations differ (evaluated_validation)"
    ]


def test_the_evaluations_between_which_consumption_began_to_differ_are_said(write: Write) -> None:
    a, b = write("plain18"), write("residual18-A")
    assert b.final
    for row in (2, 3, 4):
        so_far(b, row, crops="0000")
    b = ending(b, consumed=b.final.consumed | {"crops": "0000"})
    assert of_pair(a, b) == ["crops differ (crops, first between iterations 180 and 269)"]
    so_far(b, 0, crops="0000")
    assert of_pair(a, b) == ["crops differ (crops, first between iterations 0 and 90)"]


# ---- learning rates --------------------------------------------------------------------------------------


def test_rates_differ_from_the_first_iteration_on_at_which_one_was_applied(write: Write) -> None:
    a, b = write("plain18"), write("residual18-A")

    def rates(first: Any, second: Any, **studied: Any) -> list[str]:
        return of_pair(ending(a, learning_rates=first), ending(b, learning_rates=second), **studied)

    assert rates([(0, 0.1), (100, 0.01)], [(0, 0.1), (100, 0.01), (200, 0.01)]) == []
    assert rates([(0, 0.1), (100, 0.01)], [(0, 0.1), (101, 0.01)]) == [
        "learning rate differs first at iteration 100: 0.01 against 0.1"
    ]
    assert rates([(0, 0.1)], [(0, 0.1), (448, 0.01)]) == [
        "learning rate differs first at iteration 448: 0.1 against 0.01"
    ]
    assert rates([(0, 0.1)], [(0, 0.1), (449, 0.01)]) == []  # of which no step was taken
    assert rates([(0, 0.1)], [(5, 0.1)]) == ["learning rate differs first at iteration 0: 0.1 against none"]
    for field in ("learning_rate", "warm_up_iterations", "schedule", "drops", "epochs", "iterations"):
        assert rates([(0, 0.1)], [(0, 0.2)], studied={field}) == [], field
    assert rates([(0, 0.1)], [(0, 0.2)], studied={"momentum"}) != []


def test_a_warm_up_is_excused_where_depth_alone_decides_it_and_no_longer_than_it_lasts(write: Write) -> None:
    plain, deep = write("cifar-plain20", setting="cifar10"), write("cifar-plain110", setting="cifar10")
    assert deep.final
    assert deep.final.learning_rates[:2] == [(0, pytest.approx(0.01)), (400, 0.1)]
    assert of_pair(plain, deep) == of_pair(deep, plain) == []
    late = ending(deep, learning_rates=[(0, 0.01), (401, 0.1), *deep.final.learning_rates[2:]])
    assert of_pair(plain, late) == ["learning rate differs first at iteration 400: 0.1 against 0.01"]
    both = write("cifar-residual110-A", setting="cifar10")
    assert both.final
    without = ending(both, learning_rates=[(0, 0.1), *both.final.learning_rates[2:]])
    assert of_pair(deep, without) == ["learning rate differs first at iteration 0: 0.01 against 0.1"]


# ---- pairs -----------------------------------------------------------------------------------------------


def test_a_check_counts_the_parameters_of_the_smaller_member(tmp_path: Path) -> None:
    names = "plain18", "residual18-B"
    for name in names:
        write_run(tmp_path, "digits", name, 0)
    claim = Claim("B", {names[0]: 1, names[1]: -1}, above=0.5)
    experiment = Experiment("Pair", "none", (), {"digits": names}, (claim,), name="pair")
    recorded = read_runs(tmp_path, "digits")
    (check,) = verify(recorded, experiment)
    counts = [len(record.run.initial_parameters) for record in recorded.records]
    assert counts == [17 * 3 + 2, 17 * 3 + 2 + 1]  # B has a projection more in what is made up
    assert (check.parameters, check.shared_parameters) == (counts[0], counts[0])
    assert (check.runs, check.differences) == (("plain18-s0", "residual18-B-s0"), ())
