"""The suite skips, resumes and refuses runs; verify names how the training of a pair's members differed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from plain_vs_residual.cli.training import _check as check_as_told
from plain_vs_residual.data import feeds
from plain_vs_residual.data.stream import DataStream, Draws
from plain_vs_residual.evidence.pairing import PairCheck, summary_line, verify
from plain_vs_residual.experiment import Claim, Experiment, Study, load_experiments
from plain_vs_residual.ledger import Changed
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records import fingerprint
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.schedules import Schedule, step_decay
from plain_vs_residual.settings import SETTINGS
from plain_vs_residual.training import initial_network as run_module
from plain_vs_residual.training import session
from tests.conftest import Silent
from tests.made_up_records import read_json, reseal


def experiment_of(*networks: str, **changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "title": "Pair",
        "paper": "none",
        "figures": ("final_errors",),
        "networks": {"digits": networks},
        "claims": (Claim("a pair", {networks[0]: 1, networks[-1]: -1}, above=0.0),),
        "name": "pair",
    }
    return Experiment(**(values | changes))


def train(suite: Any) -> None:
    runs = suite.plan()
    suite.check(runs, rerun=False)
    suite.train(runs, Silent())


def checks(suite: Any) -> list[PairCheck]:
    (recorded,) = load_recorded_runs(suite.results, "digits")
    return verify(recorded, suite.experiments[0])


# ---- pairs -----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(make_suite: Any) -> Any:
    return make_suite(experiments=(experiment_of("plain18", "residual18-A"),))


def test_members_of_an_honest_pair_agree(pair: Any) -> None:
    train(pair)
    (check,) = checks(pair)
    assert check.differences == ()
    assert check.shared_parameters > 50
    assert summary_line([check]).startswith("all 1 pairs agree")


def test_a_shortcut_pair_shares_all_but_the_projections(make_suite: Any) -> None:
    suite = make_suite(experiments=(experiment_of("plain18", "residual18-C"),))
    train(suite)
    assert checks(suite)[0].differences == ()


def train_second_differently(pair: Any, tamper: Callable[[], None]) -> tuple[str, ...]:
    """Train the first member, tamper with the code, train the second; return the differences that verify finds."""
    first, second = pair.plan()
    pair.train([first], Silent())
    tamper()
    pair.train([second], Silent())
    (check,) = checks(pair)
    return check.differences


def test_two_swapped_samples_are_named(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = DataStream.segment

    def swapped(self: DataStream, start: int, stop: int) -> Draws:
        drawn = honest(self, start, stop)
        if start == 4:
            drawn["indices"][2, [0, 1]] = drawn["indices"][2, [1, 0]]
        return drawn

    found = train_second_differently(pair, lambda: monkeypatch.setattr(DataStream, "segment", swapped))
    assert any("order of the images" in text and "between iterations 4 and 8" in text for text in found)


def test_a_crop_shifted_by_one_pixel_is_named_even_behind_the_draws(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = feeds.crop_and_flip

    def shifted(padded: Any, mean: Any, indices: Any, crops: Any, flips: Any, size: int) -> Any:
        crops = crops.clone()
        crops[0, 1] = (crops[0, 1] + 1) % 3
        return honest(padded, mean, indices, crops, flips, size)

    found = train_second_differently(pair, lambda: monkeypatch.setattr(feeds, "crop_and_flip", shifted))
    assert len(found) == 1
    assert "augmented pixels differ" in found[0]


def test_a_shifted_crop_among_the_draws_is_named(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = DataStream.segment

    def shifted(self: DataStream, start: int, stop: int) -> Draws:
        drawn = honest(self, start, stop)
        drawn["crops"][0, 0, 0] = (drawn["crops"][0, 0, 0] + 1) % 3
        return drawn

    found = train_second_differently(pair, lambda: monkeypatch.setattr(DataStream, "segment", shifted))
    assert any(text.startswith("crops differ") for text in found)
    assert not any("order" in text for text in found)


@pytest.mark.parametrize("network_pair", [("plain18", "residual18-A")])
def test_a_drop_moved_by_one_iteration_is_named(
    make_suite: Any, tiny_setting: Any, monkeypatch: pytest.MonkeyPatch, network_pair: tuple[str, str]
) -> None:
    steps = tiny_setting.with_changes({"schedule": "step", "drops": (0.5,)})
    pair = make_suite(setting=steps, experiments=(experiment_of(*network_pair),))

    def moved(recipe: Recipe, *_: Any) -> Schedule:
        return step_decay(recipe.learning_rate, drops=(7,))

    found = train_second_differently(pair, lambda: monkeypatch.setattr(session, "schedule_of", moved))
    assert found == ("learning rate differs first at iteration 6: 0.002 against 0.02",)


def test_one_weight_drawn_anew_is_named(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run_module.build

    def anew(*arguments: Any, **named: Any) -> Any:
        network = honest(*arguments, **named)
        with torch.no_grad():
            network.get_submodule("layer2.0").conv1.weight[0, 0, 0, 0] += 1e-6
        return network

    found = train_second_differently(pair, lambda: monkeypatch.setattr(run_module, "build", anew))
    assert found == ("initial values of layer2.0.conv1.weight differ",)


def test_another_precision_and_another_data_set_are_named(make_suite: Any, tiny_dataset: Any) -> None:
    experiment = experiment_of("plain18", "residual18-A")
    suite = make_suite(experiments=(experiment,))
    first, second = suite.plan()
    suite.train([first], Silent())
    other = make_suite(experiments=(experiment,), precision="bf16")
    other.train([run for run in other.plan() if run.name == second.name], Silent())
    assert "precision: fp32 against bf16" in checks(suite)[0].differences


def test_a_warm_up_that_depth_alone_decides_is_no_difference(make_suite: Any, tiny_setting: Any) -> None:
    warm = tiny_setting.with_changes(
        {"warm_up_iterations": 3, "schedule": "step", "iterations": 4, "evaluations": 1}
    )
    suite = make_suite(setting=warm, experiments=(experiment_of("cifar-plain8", "cifar-plain110"),))
    train(suite)
    assert checks(suite)[0].differences == ()


def test_seeds_of_one_network_trained_by_different_code_are_named(make_suite: Any) -> None:
    suite = make_suite(experiments=(experiment_of("plain18", "residual18-A"),), seeds=2)
    train(suite)
    for run in suite.plan()[2:]:
        written = read_json(run.folder.run)
        written["sources"]["plain_vs_residual/blocks.py"] = "other"
        write_json(run.folder.run, written)
        reseal(run.folder)
    found = [check for check in checks(suite) if check.differences]
    assert {check.runs for check in found} == {
        ("plain18-12-iterations-s0", "plain18-12-iterations-s1"),
        ("residual18-A-12-iterations-s0", "residual18-A-12-iterations-s1"),
    }
    assert found[0].differences == ("plain_vs_residual/blocks.py: trained by different code",)


def test_what_a_diverged_member_consumed_is_compared_as_far_as_it_came(pair: Any) -> None:
    train(pair)
    _, run = pair.plan()
    final = read_json(run.folder.final)
    write_json(run.folder.final, final | {"outcome": "diverged", "iteration": 8})
    rows = run.folder.metrics.read_text().splitlines()
    run.folder.metrics.write_text("\n".join(rows[:3]) + "\n")
    reseal(run.folder)
    assert checks(pair)[-1].differences == ()
    run.folder.metrics.write_text("\n".join(rows[:3]).replace("indices:", "indices:0") + "\n")
    reseal(run.folder)
    assert checks(pair)[-1].differences == ("what was consumed until iteration 8 differs",)
    damaged = "\n".join(rows[:3]).replace("evaluated_training:", "evaluated_training:0")
    run.folder.metrics.write_text(damaged + "\n")
    reseal(run.folder)
    words = "training images of the evaluations differ (evaluated_training)"
    assert checks(pair)[-1].differences == (words,)


def test_two_budgets_are_compared_as_far_as_both_came(make_suite: Any) -> None:
    """What the longer run had evaluated by then is not what the shorter one had: it evaluated less often."""
    studies = (Study(), Study("longer", {"iterations": 36}, "three times"))
    experiment = experiment_of(
        "plain18",
        "residual18-A",
        studies={"digits": studies},
        claims=(Claim("longer", {"plain18@longer": 1, "plain18@": -1, "residual18-A@": 0.5}, above=0.0),),
    )
    suite = make_suite(experiments=(experiment,))
    train(suite)
    found = checks(suite)
    assert len(found) == 3
    assert all(check.differences == () for check in found)


# ---- the suite -------------------------------------------------------------------------------------------


def test_finished_runs_are_skipped(make_suite: Any) -> None:
    suite = make_suite("plain18")
    train(suite)
    (run,) = suite.plan()
    before = run.folder.final.stat().st_mtime_ns
    train(suite)
    assert run.folder.final.stat().st_mtime_ns == before


def test_runs_that_experiments_share_are_trained_once(make_suite: Any) -> None:
    experiments = (
        experiment_of("plain18", "residual18-A"),
        experiment_of("plain18", "residual18-B", name="other"),
    )
    runs = make_suite(experiments=experiments).plan()
    assert [run.run.architecture.name for run in runs] == ["plain18", "residual18-A", "residual18-B"]
    assert runs[0].run.experiments == ("pair", "other")


def test_work_goes_seed_by_seed_and_18_34_comes_first(make_suite: Any) -> None:
    runs = make_suite(experiments=tuple(load_experiments().values()), seeds=2).plan()
    assert [run.run.architecture.name for run in runs[:4]] == [
        "plain18",
        "plain34",
        "residual18-A",
        "residual34-A",
    ]
    assert [run.run.seed for run in runs] == sorted(run.run.seed for run in runs)


def test_a_changed_setting_is_refused_with_what_differs(make_suite: Any, tiny_setting: Any) -> None:
    train(make_suite("plain18"))
    changed = make_suite("plain18", setting=tiny_setting.with_changes({"learning_rate": 0.5}))
    with pytest.raises(Changed, match=r"learning_rate: 0\.02 before, 0\.5 now"):
        changed.check(changed.plan(), rerun=False)
    with pytest.raises(ValueError, match=r"learning_rate: 0\.02 before, 0\.5 now.*--rerun.*--results"):
        check_as_told(changed.ledger, changed.placed(changed.plan()), rerun=False)


def test_changed_source_is_refused_and_rerun_sets_the_old_run_aside(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_suite("plain18")
    train(suite)
    old = read_json(suite.plan()[0].folder.final)
    hashes = fingerprint.code_hashes() | {"plain_vs_residual/blocks.py": "changed"}
    monkeypatch.setattr("plain_vs_residual.executors.description.code_hashes", lambda: hashes)
    runs = suite.plan()
    with pytest.raises(Changed, match=r"plain_vs_residual/blocks\.py: other code"):
        suite.check(runs, rerun=False)
    (aside,) = suite.check(runs, rerun=True)
    assert read_json(aside / "final.json") == old
    assert not runs[0].folder.path.exists()
    suite.train(runs, Silent())
    assert runs[0].folder.finished


def test_a_study_changes_the_setting_and_sets_its_runs_apart(make_suite: Any) -> None:
    study = Study("long", changes={"learning_rate": 0.5, "iterations": 20}, reason="longer")
    suite = make_suite(experiments=(experiment_of("plain18", "residual18-A", studies={"digits": (study,)}),))
    run = suite.plan()[0]
    assert run.name.startswith("plain18-long-")
    assert (run.run.setting.learning_rate, run.run.setting.iterations) == (0.5, 20)


def test_a_trial_counts_for_more_than_a_study(make_suite: Any) -> None:
    study = Study("long", changes={"iterations": 20, "evaluations": 8})
    experiments = (experiment_of("plain18", "residual18-A", studies={"digits": (study,)}),)
    trial = {"iterations": 450, "evaluations": 2}
    (run, _) = make_suite(
        experiments=experiments, setting=SETTINGS["digits"].with_changes(trial), trial=trial
    ).plan()
    assert (run.run.setting.iterations, run.run.setting.evaluations) == (450, 2)
    assert run.name == "plain18-long-450-iterations-s0"


def test_a_schedule_that_watches_its_evaluations_keeps_their_number(make_suite: Any) -> None:
    study = Study("watched", changes={"schedule": "plateau"}, leader="residual18-A")
    experiments = (experiment_of("plain18", "residual18-A", studies={"digits": (study,)}),)
    with pytest.raises(ValueError, match="--evaluations: pair lowers its learning rate by what its evaluations"):
        make_suite(experiments=experiments, trial={"evaluations": 2}).plan()


def test_other_data_splits_and_budgets_set_runs_apart(
    make_suite: Any, tiny_dataset: Any, tiny_setting: Any
) -> None:
    assert make_suite("plain18").variant == "12-iterations"
    own = tiny_setting.with_changes({"iterations": None, "epochs": 1, "split": "45k/5k"})
    assert make_suite("plain18", setting=own).variant == "45k-5k"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_experiment_can_be_planned_in_its_settings(make_suite: Any, name: str) -> None:
    experiments = tuple(e for e in load_experiments().values() if name in e.networks)
    runs = make_suite(experiments=experiments, setting=SETTINGS[name]).plan()
    assert runs
    for experiment in experiments:
        assert experiment.claims_in(name) or not experiment.claims  # trials claim nothing


def test_several_jobs_give_the_results_of_one(make_suite: Any, tmp_path: Any) -> None:
    networks = ("plain18", "residual18-A", "residual18-B")
    one, many = (make_suite(*networks, results=tmp_path / name) for name in ("one", "many"))
    heard: list[str] = []

    class Listens(Silent):
        def ended(self, run: Any, final: Any) -> None:
            heard.append(run.name)

    one.train(one.plan(), Silent())
    many.train(many.plan(), Listens(), at_once=2)
    assert sorted(heard) == sorted(run.name for run in many.plan())
    for alone, beside in zip(one.plan(), many.plan(), strict=True):
        first, second = (read_json(run.folder.final) for run in (alone, beside))
        for name in ("training_loss", "validation_loss", "consumed", "learning_rates", "mean_response"):
            assert first[name] == second[name]
        assert alone.folder.responses.read_bytes() == beside.folder.responses.read_bytes()


@pytest.mark.usefixtures("forked_workers")
def test_a_failing_job_ends_the_suite_with_its_error(make_suite: Any, tmp_path: Any) -> None:
    suite = make_suite("plain18", "residual18-A")
    for run in suite.plan():
        run.folder.path.parent.mkdir(parents=True, exist_ok=True)
        run.folder.path.write_text("a file where the run's folder should be")
    with pytest.raises(FileExistsError, match="-12-iterations-s0"):
        suite.train(suite.plan(), Silent(), at_once=2)


def test_two_studies_of_one_name_must_mean_the_same(make_suite: Any) -> None:
    one, other = (
        replace(
            experiment_of("plain18", "residual18-A"),
            name=name,
            studies={"digits": (Study("long", {"learning_rate": rate}),)},
        )
        for name, rate in (("one", 0.5), ("other", 0.6))
    )
    with pytest.raises(ValueError, match="plain18-long-12-iterations-s0: one and other want it with different"):
        make_suite(experiments=(one, other)).plan()
    assert len(make_suite(experiments=(one, replace(one, name="same"))).plan()) == 2
