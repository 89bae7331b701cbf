"""What a run says of its own recipe, beside what setting and study say: each word of it counts or does not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.evidence import as_declared
from plain_vs_residual.evidence.as_declared import remarks, unlike_recipe
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.fingerprint import code, hash_of
from plain_vs_residual.records.store import Record, read_record, sealed
from plain_vs_residual.settings import DIGITS
from tests.made_up_records import read_json, read_runs, write_made_up_measurement, write_run

USUAL = 449  # iterations of digits


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return read_record(write_run(tmp_path, "digits", "plain18", 0))


def with_recipe(record: Record, departures: tuple[str, ...], **fields: Any) -> Record:
    run = record.run
    configuration = run.configuration.model_copy(update=fields)
    changed = run.model_copy(update={"configuration": configuration, "departures": list(departures)})
    return replace(record, run=changed)


def test_a_change_that_a_run_tells_of_is_none_from_its_setting_but_one_from_its_study(record: Record) -> None:
    told = DIGITS.with_changes({"learning_rate": 0.3}).departures[-1]
    changed = with_recipe(record, (told,), learning_rate=0.3)
    assert list(unlike_recipe(changed, Study())) == []
    study = Study("fast", {"learning_rate": 0.5})
    assert list(unlike_recipe(changed, study)) == ["learning_rate: 0.3, but 0.5 in its study"]
    untold = with_recipe(record, ("batch size 64 instead of 32",), learning_rate=0.3)
    assert list(unlike_recipe(untold, Study())) == [
        "learning_rate: 0.3, but 0.02 in setting digits, and the run does not say so"
    ]


def test_a_budget_is_told_of_by_its_own_words_and_never_against_a_study(record: Record) -> None:
    short = {"iterations": 100}
    said = [f"iterations: 100, but {USUAL} in its setting and study"]
    assert list(unlike_recipe(with_recipe(record, (), **short), Study())) == said
    assert (
        list(unlike_recipe(with_recipe(record, ("learning rate 0.3 instead of 0.02",), **short), Study())) == said
    )
    assert list(unlike_recipe(with_recipe(record, ("budget 1,000 iterations",), **short), Study())) == said
    told = with_recipe(record, ("no flips", "budget 100 iterations instead of 10 epochs"), **short)
    assert list(unlike_recipe(told, Study())) == []
    longer = Study("long", {"iterations": 900})
    assert list(unlike_recipe(told, longer)) == ["iterations: 100, but 900 in its setting and study"]


def test_recipes_of_their_own_are_counted_field_by_field(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "digits", "plain18", seed)
    recorded = read_runs(tmp_path, "digits")
    experiment = Experiment("E", "none", (), {"digits": ("plain18",)}, (), name="mine")
    own = "runs have a recipe of their own"
    assert not [line for line in remarks(recorded, [experiment]) if own in line]
    told = DIGITS.with_changes({"learning_rate": 0.3}).departures[-1]
    first, second, third = recorded.records
    changed = replace(
        recorded,
        records=(
            with_recipe(first, (told,), learning_rate=0.3, iterations=100),
            with_recipe(second, (told,), learning_rate=0.3, evaluations=3),
            with_recipe(third, (), momentum=0.5),  # not told: a fault of the run, and no remark
        ),
    )
    usual = DIGITS.evaluations
    assert [line for line in remarks(changed, [experiment]) if own in line] == [
        f"1 {own}: evaluations 3 instead of {usual} of the setting and study",
        f"1 {own}: iterations 100 instead of {USUAL} of the setting and study",
        f"2 {own}: learning_rate 0.3 instead of 0.02 of the setting and study",
    ]


@pytest.mark.parametrize(
    ("at_the_commit", "said"),
    [
        ("x = 1\n", "that of commit {commit} ("),
        ("x = 2\n", "that of commit {commit}, but for blocks.py, WHICH IS NOT THAT COMMIT'S ("),
        (None, "that of commit {commit}, which git does not know here ("),
    ],
    ids=["its own", "another", "unknown"],
)
def test_other_code_is_compared_with_that_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_the_commit: str | None, said: str
) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    recorded = read_runs(tmp_path, "digits")
    commit, path = f"commit-{len(said)}", "plain_vs_residual/blocks.py"
    run = recorded.records[0].run
    environment = run.environment.model_copy(update={"git_commit": commit})
    sources = {path: hash_of(code("x = 1\n"))}
    changed = run.model_copy(update={"environment": environment, "sources": sources})
    asked: list[tuple[str, ...]] = []

    def ask(*words: str) -> str | None:
        asked.append(words)
        return at_the_commit if words == ("show", f"{commit}:{path}") else None

    monkeypatch.setattr(as_declared, "ask_git", ask)
    records = (replace(recorded.records[0], run=changed),)
    (line,) = (one for one in remarks(replace(recorded, records=records), []) if "by other code" in one)
    assert line.startswith("1 runs were trained by other code than is here today, " + said.format(commit=commit))
    assert ("show", f"{commit}:{path}") in asked


def test_columns_that_are_not_computed_again_are_named_once(tmp_path: Path) -> None:
    experiment = Experiment(
        "E", "none", (), {"digits": ("plain18",)}, (), measurement="gradient_norms", name="mine"
    )
    folders = [write_run(tmp_path, "digits", "plain18", seed) for seed in range(2)]
    for folder in folders:
        write_made_up_measurement(folder, experiment)
    said = "not computed again"
    assert not [line for line in remarks(read_runs(tmp_path, "digits"), [experiment]) if said in line]
    for folder in folders:
        path = folder.measurement("gradient_norms")
        values = read_json(path)
        write_json(path, sealed(values | {"summary": values["summary"] | {"sharpness": 1.0, "age": 2.0}}))
    assert [line for line in remarks(read_runs(tmp_path, "digits"), [experiment]) if said in line] == [
        "not computed again from their tables: age (gradient_norms), sharpness (gradient_norms)"
    ]
