"""What was claimed before the runs decides: later claims, margins and seeds are named and decide nothing."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from plain_vs_residual.evidence.decision import FAILS, HOLDS, UNDECIDED, Verdict
from plain_vs_residual.evidence.levels import holm, p_value
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.registering import register, register_more_seeds
from plain_vs_residual.evidence.registration import departures_from_plan, runs_of_a_lost_registration
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.records.registered import NAME, read_registrations
from plain_vs_residual.records.store import sealed
from plain_vs_residual.settings import find_setting
from tests.made_up_records import read_json, read_runs, write_run

CLAIM = Claim("deeper is worse", {"plain34": 1, "plain18": -1}, above=2.0, reason="a reason", primary=True)
OTHER = Claim("another column", {"plain34": 1, "plain18": -1}, "validation_error", above=2.0)
EXPERIMENT = Experiment("Mine", "none", (), {"digits": ("plain34", "plain18")}, (CLAIM, OTHER), name="mine")


def selection(experiment: Experiment, seeds: Sequence[int], variant: str = "") -> Selection:
    return Selection((experiment,), find_setting("digits"), seeds, images_variant=variant)


def train(results: Path, seeds: Sequence[int], differences: Sequence[float], variant: str = "") -> None:
    """Write both runs of each seed, a training error apart that is given."""
    for seed, difference in zip(seeds, differences, strict=True):
        for network, error in (("plain34", 10 + difference), ("plain18", 10.0)):
            write_run(results, "digits", network, seed, variant=variant, errors=lambda *_, e=error: (e, e + 1))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of three planned seeds, which differ by 3, 3.1 and 3.2 points."""
    register(selection(EXPERIMENT, range(3)), [EXPERIMENT], tmp_path)
    train(tmp_path, range(3), (3.0, 3.1, 3.2))
    return tmp_path


def primary(results: Path, experiment: Experiment = EXPERIMENT) -> list[Verdict]:
    return [one for one in judge(read_runs(results, "digits"), [experiment]) if one.claim.primary]


def departures(results: Path, experiment: Experiment = EXPERIMENT) -> list[str]:
    return departures_from_plan(read_runs(results, "digits"), experiment)


def with_claims(*claims: Claim) -> Experiment:
    return replace(EXPERIMENT, claims=claims)


def test_what_is_registered_is_each_claim_with_its_margin_reason_family_and_seeds(results: Path) -> None:
    (one,) = read_registrations(results / "digits")
    assert (one.family, one.seeds, one.error_rate, one.num_primary) == ("by default", [0, 1, 2], 0.05, 1)
    first, second = one.claims
    assert first.model_dump() == {
        "experiment": "mine",
        "statement": "deeper is worse",
        "contrast": {"plain34": 1.0, "plain18": -1.0},
        "column": "running_training_error",
        "side": "above",
        "margin": 2.0,
        "reason": "a reason",
        "primary": True,
        "undecidable": "",
    }
    assert (second.primary, second.column) == (False, "validation_error")


def test_registered_claims_on_registered_seeds_decide(results: Path) -> None:
    (verdict,) = primary(results)
    assert (verdict.outcome, verdict.reason, verdict.decides) == (HOLDS, "", True)
    assert departures(results) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(CLAIM, above=4.0), "its margin was registered as 2 and is 4 now"),
        (replace(CLAIM, statement="worse"), "is worded otherwise now: 'worse'"),
        (replace(CLAIM, primary=False), "was registered as primary and is not any more"),
        (replace(CLAIM, undecidable={"digits": "no"}), "whether digits can decide it was registered otherwise"),
    ],
    ids=["margin", "sentence", "primary", "undecidable"],
)
def test_what_a_claim_says_afterwards_is_named_and_decides_nothing(
    results: Path, changed: Claim, named: str
) -> None:
    experiment = with_claims(changed, OTHER)
    (verdict,) = primary(results, experiment)
    assert (verdict.outcome, verdict.margin, verdict.statement) == (HOLDS, 2.0, "deeper is worse")
    (said,) = departures(results, experiment)
    assert named in said


@pytest.mark.parametrize(
    "changed",
    [
        replace(CLAIM, column="training_error"),
        replace(CLAIM, contrast={"plain34": 2, "plain18": -2}),
        replace(CLAIM, contrast={"plain34": 2, "plain18": -1}),
        replace(CLAIM, contrast={"plain34": 1, "plain18": -2}),
        replace(CLAIM, above=None, below=2.0),
    ],
    ids=["column", "weights", "first weight", "last weight", "side"],
)
def test_a_claim_that_measures_something_else_is_a_later_one(results: Path, changed: Claim) -> None:
    experiment = with_claims(changed, OTHER)
    later, registered = sorted(primary(results, experiment), key=lambda one: one.decides)
    assert (registered.outcome, registered.claim.column) == (HOLDS, "running_training_error")
    assert later.outcome in ("agrees", "disagrees")
    assert "not registered before its runs" in later.reason
    said = departures(results, experiment)
    assert "'deeper is worse' was added after its runs were registered: it decides nothing" in said
    assert "'deeper is worse' is not in the file any more: it is judged as it was registered" in said


def test_a_seed_that_was_not_planned_is_shown_and_decides_nothing(results: Path) -> None:
    train(results, [3], [-90.0])
    (verdict,) = primary(results)
    assert (verdict.outcome, verdict.measurement.num) == (HOLDS, 3)
    assert dict(verdict.others.values) == {3: pytest.approx(-90)}
    assert departures(results) == ["seeds there that were not planned, which decide nothing: 3"]


def test_a_planned_seed_that_is_missing_is_named(tmp_path: Path) -> None:
    register(selection(EXPERIMENT, range(5)), [EXPERIMENT], tmp_path)
    train(tmp_path, [0, 1, 3], (3.0, 3.1, 3.2))
    assert departures(tmp_path) == ["seeds planned and not complete: 2, 4"]
    shutil.rmtree(tmp_path / "digits" / "plain34-s1")
    assert departures(tmp_path) == ["seeds planned and not complete: 1 to 2, 4"]
    assert dict(primary(tmp_path)[0].measurement.values).keys() == {0, 3}


def test_a_planned_seed_with_a_run_that_has_not_ended_is_not_complete(tmp_path: Path) -> None:
    register(selection(EXPERIMENT, range(3)), [EXPERIMENT], tmp_path)
    train(tmp_path, [0, 1], (3.0, 3.1))
    write_run(tmp_path, "digits", "plain34", 2)
    write_run(tmp_path, "digits", "plain18", 2, finished=False)
    assert departures(tmp_path) == ["seeds planned and not complete: 2"]


def test_what_was_trained_before_it_was_registered_decides_nothing(tmp_path: Path) -> None:
    train(tmp_path, range(3), (3.0, 3.1, 3.2))
    (before,) = primary(tmp_path)
    assert (before.outcome, before.reason) == ("agrees", "not registered before its runs")
    assert "nothing was registered before these runs" in departures(tmp_path)[0]
    register(selection(EXPERIMENT, range(4)), [EXPERIMENT], tmp_path)
    train(tmp_path, [3], [3.1])
    (verdict,) = primary(tmp_path)
    assert (verdict.outcome, dict(verdict.measurement.values)) == (UNDECIDED, {3: pytest.approx(3.1)})
    assert "seeds that had begun before they were registered, which decide nothing: 0 to 2" in departures(tmp_path)


def test_a_claim_on_old_and_new_runs_of_a_seed_is_decided_by_that_seed(results: Path) -> None:
    """The number of a seed was unknown as long as one of its runs had not begun."""
    slow = Study("slow", {"learning_rate": 0.01}, "slowly")
    contrast = {"plain34@slow": 1, "plain18@": -1}
    later = Experiment(
        "Later",
        "none",
        (),
        {"digits": ("plain34", "plain18")},
        (Claim("slow is worse", contrast, above=2.0, primary=True),),
        studies={"digits": (Study(), slow)},
        name="later",
    )
    register(selection(later, range(3)), [EXPERIMENT, later], results)
    for seed in range(3):
        errors = (15.0 + seed / 10,) * 2
        write_run(results, "digits", "plain34", seed, study=slow, errors=lambda *_, e=errors: e)
    (verdict,) = primary(results, later)
    assert (verdict.outcome, verdict.measurement.num) == (HOLDS, 3)
    assert verdict.registration
    assert verdict.registration.num_primary == 2  # of the whole family, as its level


def test_an_experiment_that_was_never_planned_says_so_once(results: Path) -> None:
    other = replace(EXPERIMENT, name="other")
    assert departures(results, other) == [
        "it was not planned before these runs: what came out describes, and decides nothing"
    ]


def test_nothing_is_registered_twice_and_seeds_outside_the_plan_are_said(results: Path) -> None:
    before = (results / "digits" / NAME).read_bytes()
    assert register(selection(EXPERIMENT, range(3)), [EXPERIMENT], results) == []
    (said,) = register(selection(EXPERIMENT, range(1, 5)), [EXPERIMENT], results)
    assert said.startswith("note: seeds 3 to 4 are not among those registered before the first run (0 to 2)")
    assert (results / "digits" / NAME).read_bytes() == before


def test_other_images_and_budgets_are_registered_by_themselves(results: Path) -> None:
    (said,) = register(selection(EXPERIMENT, range(7, 9), "mine"), [EXPERIMENT], results)
    assert "on seeds 7 to 8" in said
    assert [one.seeds for one in read_registrations(results / "digits", "mine")] == [[7, 8]]
    assert [one.seeds for one in read_registrations(results / "digits", "")] == [[0, 1, 2]]


def test_more_seeds_decide_by_themselves(results: Path) -> None:
    recorded = read_runs(results, "digits")
    register_more_seeds(recorded, [("mine", CLAIM)], range(5, 9), results / "digits")
    train(results, range(5, 9), (-3.0, -3.1, -3.2, -2.9))
    old, new = primary(results)
    assert (old.outcome, old.reason, old.decides) == ("agrees", "more seeds took over", False)
    assert (new.outcome, new.reason, new.decides) == (FAILS, "the effect is opposite", True)
    assert sorted(new.measurement.values) == [5, 6, 7, 8]
    assert new.registration
    assert new.registration.family == "more seeds 1"
    assert departures(results) == []


def test_a_registration_that_was_changed_is_one_that_no_run_knows(results: Path) -> None:
    path = results / "digits" / NAME
    values = read_json(path)
    values["registrations"][0]["claims"][0]["margin"] = 0.5
    write_json(path, values)
    with pytest.raises(ValueError, match=r"registered\.json: damaged"):
        read_runs(results, "digits")
    write_json(path, sealed(values))
    recorded = read_runs(results, "digits")
    (lost,) = runs_of_a_lost_registration(recorded)
    assert "registered.json is not what it was when plain18-s0 and 5 others began" in lost
    (verdict,) = primary(results)
    assert (verdict.outcome, verdict.measurement.num) == (UNDECIDED, 0)
    path.unlink()
    assert len(runs_of_a_lost_registration(read_runs(results, "digits"))) == 1
    assert primary(results)[0].reason == "not registered before its runs"


def test_when_it_was_written_is_no_part_of_what_is_registered(results: Path) -> None:
    path = results / "digits" / NAME
    values = json.loads(path.read_text())
    values["registrations"][0] |= {"registered": "2001-01-01 00:00:00", "commit": "elsewhere"}
    write_json(path, sealed(values))
    assert runs_of_a_lost_registration(read_runs(results, "digits")) == []


# ---- levels ----------------------------------------------------------------------------------------------


def test_holms_turns_are_those_of_a_textbook() -> None:
    """Four claims: 0.001 < 0.05/4, 0.012 < 0.05/3, 0.03 > 0.05/2, so the third and the fourth stay undecided."""
    levels = holm([0.03, 0.001, 0.04, 0.012], num=4)
    assert levels == pytest.approx([1 - 0.05 / 2, 1 - 0.05 / 4, 1 - 0.05 / 2, 1 - 0.05 / 3])
    assert holm([0.001], num=4) == [1 - 0.05 / 4]  # the others have no number yet


def test_a_claim_is_decided_if_and_only_if_its_p_value_is_below_its_turn() -> None:
    values = {0: 2.2, 1: 3.0, 2: 2.6, 3: 3.1, 4: 2.4}
    by_scipy = stats.ttest_1samp(list(values.values()), 2.0).pvalue
    measured = Measurement(values, 0.95, 0.0)
    assert p_value(measured, 2.0, "above") == p_value(measured, 2.0, "below") == pytest.approx(by_scipy)
    for level in (1 - by_scipy * 1.01, 1 - by_scipy * 0.99):
        low, _ = Measurement(values, level, 0.0).interval
        assert (low > 2.0) == (by_scipy < 1 - level)


def test_the_p_value_of_an_equivalence_is_that_of_the_nearer_margin() -> None:
    values = {0: 0.3, 1: -0.2, 2: 0.5, 3: 0.1}
    measured = Measurement(values, 0.95, 0.0)
    nearer = 2 * stats.ttest_1samp(list(values.values()), 1.0, alternative="less").pvalue
    assert p_value(measured, 1.0, "within") == pytest.approx(nearer)
    outside = Measurement({seed: value - 5 for seed, value in values.items()}, 0.95, 0.0)
    beyond = 2 * stats.ttest_1samp(list(outside.values.values()), -1.0, alternative="less").pvalue
    assert p_value(outside, 1.0, "within") == pytest.approx(beyond)
    assert p_value(measured.without([0, 1]), 1.0, "within") == 1.0


def test_the_clearest_claim_of_a_family_is_decided_first(tmp_path: Path) -> None:
    """Two claims: at 97.5 % both would be undecided by Bonferroni's level but the first; the second at 95 %."""
    clear = Experiment("A", "none", (), {"digits": ("plain34", "plain18")}, (CLAIM,), name="clear")
    contrast = {"residual34-A": 1, "residual18-A": -1}
    unclear = Experiment(
        "B",
        "none",
        (),
        {"digits": ("residual34-A", "residual18-A")},
        (Claim("less clear", contrast, above=2.0, primary=True),),
        name="unclear",
    )
    both = [clear, unclear]
    chosen = Selection(tuple(both), find_setting("digits"), range(3))
    register(chosen, both, tmp_path)
    train(tmp_path, range(3), (9.0, 9.1, 9.2))
    for seed, difference in enumerate((2.4, 2.7, 3.1)):
        for network, error in (("residual34-A", 10 + difference), ("residual18-A", 10.0)):
            write_run(tmp_path, "digits", network, seed, errors=lambda *_, e=error: (e, e))
    first, second = (one for one in judge(read_runs(tmp_path, "digits"), both) if one.claim.primary)
    assert [first.measurement.level, second.measurement.level] == pytest.approx([0.975, 0.95])
    by_scipy = stats.ttest_1samp([2.4, 2.7, 3.1], 2.0).pvalue
    assert p_value(second.measurement, 2.0, "above") == pytest.approx(by_scipy) == pytest.approx(0.0687, abs=1e-4)
    assert (first.outcome, second.outcome) == (HOLDS, UNDECIDED)


def test_a_claim_that_cannot_be_decided_passes_no_turn_on(tmp_path: Path) -> None:
    barred = replace(CLAIM, undecidable={"digits": "too few images"})
    experiments = [with_claims(barred), replace(EXPERIMENT, claims=(replace(CLAIM, above=2.5),), name="second")]
    register(Selection(tuple(experiments), find_setting("digits"), range(3)), experiments, tmp_path)
    train(tmp_path, range(3), (3.0, 3.1, 3.2))
    recorded: RecordedRuns = read_runs(tmp_path, "digits")
    levels = [one.measurement.level for one in judge(recorded, experiments) if one.claim.primary]
    assert levels == pytest.approx([0.95, 0.975])
