"""Verdicts: differences paired by seed, t intervals as by hand and in scipy, levels, divergence, missing runs."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from plain_vs_residual.evidence.decision import FAILS, HOLDS, NOT_COMPARABLE, UNDECIDED, Verdict
from plain_vs_residual.evidence.divergence import counted
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.evidence.power import assurance, new_seeds, power
from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.settings import SETTINGS
from tests.made_up_records import judged, read_json, read_runs, reseal, write_run

ONE_IMAGE = 100 / (45 * 32)  # in a tenth of 449 iterations of 32 images
DEEPER = {"plain34": 1, "plain18": -1}
ABOVE = Claim("deeper is worse", contrast=DEEPER, above=0.5, primary=True)
BELOW = Claim("deeper is not worse", contrast=DEEPER, below=0.5, primary=True)


def write_errors(results: Path, errors: Mapping[str, Sequence[float]]) -> None:
    """Write runs on digits with the given training errors by network and seed, and twice those in validation."""
    for network, values in errors.items():
        for seed, value in enumerate(values):
            write_run(results, "digits", network, seed, errors=lambda *_, value=value: (value, 2 * value))


def experiment(*claims: Claim, name: str = "made-up", **changes: Any) -> Experiment:
    networks = tuple(dict.fromkeys(network for claim in claims for network in claim.contrast))
    return Experiment("Made up", "none", ("final_errors",), {"digits": networks}, claims, name=name, **changes)


def verdict_on(claim: Claim, results: Path, errors: Mapping[str, Sequence[float]]) -> Verdict:
    write_errors(results, errors)
    return judged(read_runs(results, "digits"), [experiment(claim)])[0]


@pytest.mark.parametrize(
    ("claim", "differences", "expected"),
    [
        (ABOVE, (2.0, 2.1, 2.2), HOLDS),
        (ABOVE, (-1.0, -1.1, -1.2), FAILS),
        (ABOVE, (0.1, 0.2, 0.3), FAILS),
        (ABOVE, (0.0, 0.5, 1.2), UNDECIDED),
        (BELOW, (0.0, 0.1, -0.1), HOLDS),
        (BELOW, (-5.0, -5.1, -5.2), HOLDS),
        (BELOW, (2.0, 2.1, 2.2), FAILS),
        (BELOW, (0.0, 0.5, 1.2), UNDECIDED),
    ],
)
def test_the_verdict_is_where_the_interval_lies_against_the_margin(
    tmp_path: Path, claim: Claim, differences: Sequence[float], expected: str
) -> None:
    verdict = verdict_on(claim, tmp_path, {"plain34": [10 + d for d in differences], "plain18": [10.0] * 3})
    assert verdict.outcome == expected
    assert list(verdict.measurement.values.values()) == pytest.approx(list(differences))
    low, high = verdict.measurement.interval
    assert (low <= 0.5 <= high) == (expected == UNDECIDED)
    assert bool(verdict.reason) == (expected != HOLDS)


@pytest.mark.parametrize(
    ("claim", "differences", "reason", "described"),
    [
        (ABOVE, (-1.0, -1.1, -1.2), "the effect is opposite", "disagrees"),
        (ABOVE, (0.1, 0.2, 0.3), "smaller than the margin, its direction open", "falls short"),
        (ABOVE, (0.25, 0.26, 0.27), "in the direction claimed, but smaller than the margin", "falls short"),
        (Claim("lower", DEEPER, below=-0.5), (2.0, 2.1, 2.2), "the effect is opposite", "disagrees"),
        (
            Claim("lower", DEEPER, below=-0.5),
            (-0.25, -0.26, -0.27),
            "in the direction claimed, but smaller than the margin",
            "falls short",
        ),
        (BELOW, (2.0, 2.1, 2.2), "by more than the margin allows", "disagrees"),
        (Claim("zero", DEEPER, above=0), (-1.0, -1.1, -1.2), "the effect is opposite", "disagrees"),
        (Claim("alike", DEEPER, within=0.5), (2.0, 2.1, 2.2), "they differ by more than the margin", "disagrees"),
        (
            Claim("alike", DEEPER, within=0.5),
            (-2.0, -2.1, -2.2),
            "they differ by more than the margin",
            "disagrees",
        ),
        (Claim("alike", DEEPER, within=0.5), (0.1, -0.1, 0.05), "", "agrees"),
        (
            Claim("alike", DEEPER, within=0.5),
            (-0.4, -0.6, -0.2),
            "the interval reaches farther than 0.5 from 0",
            "open",
        ),
    ],
)
def test_it_is_said_in_which_way_a_claim_does_not_hold(
    tmp_path: Path, claim: Claim, differences: Sequence[float], reason: str, described: str
) -> None:
    write_errors(tmp_path, {"plain34": [10 + d for d in differences], "plain18": [10.0] * 3})
    recorded = read_runs(tmp_path, "digits")
    for primary in (True, False):
        one = replace(claim, primary=primary)
        verdict = judged(recorded, [experiment(one)])[0]
        words = {"agrees": HOLDS, "open": UNDECIDED}.get(described, FAILS) if primary else described
        assert (verdict.outcome, verdict.reason) == (words, reason)


def test_the_interval_is_that_of_one_two_three_by_hand() -> None:
    half = 4.302653 / math.sqrt(3)
    interval = Measurement({0: 1.0, 1: 2.0, 2: 3.0}, level=0.95, floor=0.0).interval
    assert interval == pytest.approx((2 - half, 2 + half), abs=1e-5)


@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_the_interval_is_that_of_scipy(level: float) -> None:
    values = [0.3, 1.7, 2.9, 0.4, 1.1]
    expected = stats.ttest_1samp(values, 0.5).confidence_interval(level)
    measured = Measurement(dict(enumerate(values)), level, floor=0.0)
    assert measured.interval == pytest.approx((expected.low, expected.high))


def test_equal_differences_are_believed_to_spread_by_one_image(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [12.0] * 3, "plain18": [10.0] * 3})
    half = 4.302653 * ONE_IMAGE / math.sqrt(3)
    assert verdict.measurement.interval == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert verdict.outcome == HOLDS


def test_an_equal_difference_of_one_image_decides_nothing(tmp_path: Path) -> None:
    claim = Claim("any difference", contrast=DEEPER, above=0.0, primary=True)
    verdict = verdict_on(claim, tmp_path, {"plain34": [10 + ONE_IMAGE] * 3, "plain18": [10.0] * 3})
    assert verdict.outcome == UNDECIDED
    low, high = verdict.measurement.interval
    assert low < 0 < high


def test_the_floor_is_an_image_of_the_claims_own_runs(tmp_path: Path) -> None:
    """Runs of another experiment lie before them, ten times as long."""
    write_run(tmp_path, "digits", "plain18", 0, study=Study("long", {"iterations": 4490}))
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [12.0] * 3, "plain18": [10.0] * 3})
    assert verdict.measurement.deviation == pytest.approx(ONE_IMAGE)


def test_the_floor_of_validation_errors_is_an_image_of_the_smaller_set(tmp_path: Path) -> None:
    claim = Claim("in validation", contrast=DEEPER, column="validation_error", above=0.0)
    verdict = verdict_on(claim, tmp_path, {"plain34": [6.0] * 3, "plain18": [5.0] * 3})
    assert verdict.measurement.mean == pytest.approx(2)
    assert verdict.measurement.interval[1] - verdict.measurement.mean == pytest.approx(
        4.302653 * (100 / 360) / math.sqrt(3), abs=1e-5
    )


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_are_undecided_however_clear(tmp_path: Path, num_seeds: int) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [50.0] * num_seeds, "plain18": [1.0] * num_seeds})
    assert verdict.outcome == UNDECIDED
    assert verdict.reason == f"complete seeds: {num_seeds}, needed: 3"
    assert verdict.measurement.mean == pytest.approx(49)


def test_a_claim_without_any_run_is_undecided_and_has_no_numbers(tmp_path: Path) -> None:
    write_errors(tmp_path, {"residual18-A": [1.0] * 3})
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.outcome == UNDECIDED
    assert verdict.measurement.values == {}
    assert math.isnan(verdict.measurement.mean)


def test_a_claim_about_a_number_that_its_runs_do_not_record_is_undecided(tmp_path: Path) -> None:
    claim = Claim("on held-out images", contrast=DEEPER, column="test_error", above=0.5, primary=True)
    verdict = verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3})
    assert (verdict.outcome, verdict.reason) == (UNDECIDED, "complete seeds: 0, needed: 3")


def test_what_a_setting_cannot_decide_is_undecided_with_the_reason(tmp_path: Path) -> None:
    claim = Claim("deeper", contrast=DEEPER, above=0.5, primary=True, undecidable={"digits": "too few images"})
    verdict = verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3})
    assert (verdict.outcome, verdict.reason) == (UNDECIDED, "too few images")


def test_undecidable_elsewhere_is_decided_here(tmp_path: Path) -> None:
    claim = Claim("deeper", contrast=DEEPER, above=0.5, primary=True, undecidable={"cifar10": "too few images"})
    assert verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3}).outcome == HOLDS


@pytest.mark.parametrize(("classes", "chance"), [("0123456789", 90.0), ("ab", 50.0)])
def test_a_diverged_run_counts_as_chance_and_is_flagged(tmp_path: Path, classes: str, chance: float) -> None:
    for seed in range(3):
        outcome = "diverged" if seed == 1 else "finished"
        for network in DEEPER:
            write_run(
                tmp_path,
                "digits",
                network,
                seed,
                classes=tuple(classes),
                outcome=outcome if network == "plain34" else "finished",
                errors=lambda *_: (10.0, 10.0),
            )
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.measurement.values == pytest.approx({0: 0.0, 1: chance - 10, 2: 0.0})
    assert verdict.diverged == 1


def test_a_diverged_run_without_responses_leaves_the_claim_undecided_and_is_named(tmp_path: Path) -> None:
    claim = Claim("smaller", {"plain18": 1, "residual18-A": -1}, "mean_response", above=0.0, primary=True)
    for seed in range(4):
        for network in claim.contrast:
            outcome = "diverged" if (network, seed) == ("plain18", 3) else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=outcome)
    (verdict,) = judged(read_runs(tmp_path, "digits"), [experiment(claim)])
    assert list(verdict.measurement.values) == [0, 1, 2]
    assert verdict.measurement.interval[0] > 0
    assert verdict.outcome == UNDECIDED
    assert verdict.reason == "diverged runs without mean response: 1"


def test_a_missing_run_leaves_out_its_own_seed_alone(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [5.0, 6.0, 7.0, 8.0], "plain18": [1.0, 1.0, 1.0]})
    write_run(tmp_path, "digits", "plain18", 3, finished=False)
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.measurement.values == pytest.approx({0: 4.0, 1: 5.0, 2: 6.0})


def test_a_network_of_another_claim_leaves_out_no_seed(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [5.0] * 3, "plain18": [1.0] * 3, "residual34-A": [1.0]})
    both = experiment(ABOVE, Claim("other", {"plain34": 1, "residual34-A": -1}, above=0.0))
    first, *_, second = judged(read_runs(tmp_path, "digits"), [both])
    assert (first.measurement.num, second.measurement.num) == (3, 1)


def test_runs_are_paired_by_seed(tmp_path: Path) -> None:
    """If the same errors are assigned to other seeds, the mean stays the same but the interval does not."""
    deep, shallow = [11.0, 21.1, 31.2], [10.0, 20.0, 30.0]
    paired = verdict_on(ABOVE, tmp_path / "paired", {"plain34": deep, "plain18": shallow})
    shuffled = verdict_on(ABOVE, tmp_path / "shuffled", {"plain34": deep, "plain18": shallow[::-1]})
    assert paired.measurement.mean == pytest.approx(shuffled.measurement.mean)
    assert (paired.outcome, shuffled.outcome) == (HOLDS, UNDECIDED)
    widths = [high - low for low, high in (shuffled.measurement.interval, paired.measurement.interval)]
    assert widths[0] > 100 * widths[1]


def test_the_order_of_the_folders_does_not_count(tmp_path: Path) -> None:
    runs = [("plain34", seed, 10.0 + seed**2) for seed in range(11)] + [("plain18", s, 1.0) for s in range(11)]
    random.Random(0).shuffle(runs)
    for network, seed, value in runs:
        write_run(tmp_path, "digits", network, seed, errors=lambda *_, value=value: (value, value))
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.measurement.values == pytest.approx({seed: 9.0 + seed**2 for seed in range(11)})


def test_the_headline_is_a_difference_of_differences(tmp_path: Path) -> None:
    contrast = {"plain34": 1, "plain18": -1, "residual34-A": -1, "residual18-A": 1}
    claim = Claim("headline", contrast=contrast, above=0.5)
    errors = {
        "plain34": [9.0, 9.5, 9.0],
        "plain18": [2.0, 2.0, 2.0],
        "residual34-A": [1.5, 1.0, 1.0],
        "residual18-A": [3.0, 3.0, 3.0],
    }
    assert verdict_on(claim, tmp_path, errors).measurement.values == pytest.approx({0: 8.5, 1: 9.5, 2: 9.0})


def primaries(**changes: Any) -> list[Experiment]:
    """Return three experiments with a primary claim each; one also has a descriptive claim."""
    pairs = ({"plain34": 1, "plain18": -1}, {"plain34": 1, "residual34-A": -1}, {"plain34": 1, "residual34-B": -1})
    claims = [Claim(f"claim {number}", pair, above=0.0, primary=True) for number, pair in enumerate(pairs)]
    described = Claim("descriptive", pairs[0], above=0.0)
    others = (experiment(claim, name="b", **changes) for claim in claims[1:])
    return [experiment(claims[0], described, name="a"), *others]


def levels(verdicts: Sequence[Verdict]) -> dict[str, float]:
    return {verdict.claim.statement: verdict.measurement.level for verdict in verdicts}


def test_what_decides_is_the_interval_at_the_level_for_all_primary_claims_of_the_setting(tmp_path: Path) -> None:
    """Differences 3, 4, 5 decide alone (p = 0.02), but not as one of three primary claims."""
    write_errors(tmp_path, {"plain34": [50.0] * 3, "plain18": [47.0, 46.0, 45.0]})
    primary, *beside, described = judged(read_runs(tmp_path, "digits"), primaries())[:4]
    assert primary.measurement.level == pytest.approx(1 - 0.05 / 3)
    half = float(stats.t.ppf(1 - 0.05 / 6, 2)) / math.sqrt(3)
    assert primary.measurement.interval == pytest.approx((4 - half, 4 + half))
    assert (primary.outcome, primary.reason) == (UNDECIDED, "the interval holds the margin 0")
    assert [verdict.claim.column for verdict in beside] == ["training_error", "validation_error"]
    assert {verdict.measurement.level for verdict in (*beside, described)} == {0.95}
    assert described.outcome == "agrees"


def test_claims_of_experiments_on_request_are_a_family_of_their_own(tmp_path: Path) -> None:
    write_errors(tmp_path, {name: [50.0] * 3 for name in ("plain34", "plain18", "residual34-A", "residual34-B")})
    found = levels(judged(read_runs(tmp_path, "digits"), primaries(on_request=("digits",))))
    assert found["claim 0"] == 0.95
    assert found["claim 1"] == found["claim 2"] == 0.975


def test_what_only_describes_is_never_said_in_the_words_of_a_verdict(tmp_path: Path) -> None:
    claims = [
        Claim("above", DEEPER, above=0.5),
        Claim("below", DEEPER, below=0.5),
        Claim("about", DEEPER, column="validation_error", above=4.0),
    ]
    write_errors(tmp_path, {"plain34": [12.0, 12.1, 12.2], "plain18": [10.0] * 3})
    outcomes = [verdict.outcome for verdict in judged(read_runs(tmp_path, "digits"), [experiment(*claims)])]
    assert outcomes == ["agrees", "disagrees", "open"]


def test_a_margin_can_be_the_settings_own(tmp_path: Path) -> None:
    claim = Claim("deeper", DEEPER, above={"digits": 0.5, "cifar10": 9.0}, primary=True)
    assert verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3}).margin == 0.5
    assert set(MARGINS) == set(SETTINGS)
    assert all(setting.margin == MARGINS[name] and setting.margin_reason for name, setting in SETTINGS.items())


@pytest.mark.parametrize(
    ("diverges", "outcome"), [("plain34", UNDECIDED), ("plain18", FAILS)], ids=["helps", "hurts"]
)
def test_a_claim_that_holds_only_because_a_run_diverged_is_undecided(
    tmp_path: Path, diverges: str, outcome: str
) -> None:
    """All three seeds diverge to chance, 90 %; without them, no seed is left to decide."""
    for seed in range(3):
        for network in DEEPER:
            ends = "diverged" if network == diverges else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=ends, errors=lambda *_: (10.0, 10.0))
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert abs(verdict.measurement.mean) == pytest.approx(80)
    assert verdict.outcome == outcome
    assert verdict.diverged == 3


@pytest.mark.parametrize(
    ("diverges", "outcome"), [("plain18", UNDECIDED), ("plain34", FAILS)], ids=["helps", "hurts"]
)
def test_a_claim_to_stay_below_is_helped_by_what_it_subtracts(tmp_path: Path, diverges: str, outcome: str) -> None:
    """The deeper network less the shallower one: guessing by the shallower one, 90 %, makes it -80."""
    for seed in range(3):
        for network in DEEPER:
            ends = "diverged" if network == diverges else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=ends, errors=lambda *_: (10.0, 10.0))
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(BELOW)])
    assert verdict.measurement.mean == pytest.approx(-80 if diverges == "plain18" else 80)
    assert verdict.outcome == outcome
    reasons = {
        UNDECIDED: "does not hold without the seeds in which a run diverged (3)",
        FAILS: "by more than the margin allows",
    }
    assert verdict.reason == reasons[outcome]


def test_diverged_runs_of_incomplete_seeds_are_not_counted(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [12.0, 12.1, 12.2], "plain18": [10.0] * 3})
    write_run(tmp_path, "digits", "plain34", 3, outcome="diverged")
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert (verdict.measurement.num, verdict.diverged) == (3, 0)


def test_the_mean_is_no_median_and_every_divergence_counts_as_chance(tmp_path: Path) -> None:
    assert Measurement({0: 1.0, 1: 2.0, 2: 9.0}, 0.95, 0.0).mean == 4
    write_run(tmp_path, "imagenet", "plain18", 0, outcome="diverged", classes=tuple("abcd"))
    folder = write_run(tmp_path, "imagenet", "plain34", 0, outcome="diverged", classes=tuple("0123456789"))
    crops = {"ten_crop_error": 1.0, "ten_crop_top5_error": 1.0}
    write_json(folder.final, read_json(folder.final) | crops)
    reseal(folder)
    few, many = counted(read_runs(tmp_path, "imagenet")).to_dict("records")
    assert (few["training_error"], few["validation_top5_error"]) == (75, 0)  # five guesses at four classes
    assert (many["training_error"], many["validation_top5_error"]) == (90, 50)
    assert (many["ten_crop_error"], many["ten_crop_top5_error"]) == (90, 50)
    assert math.isnan(many["mean_response"])


def test_the_change_of_the_ratio_is_lost_where_a_run_diverged_even_if_it_is_a_number(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "digits", "residual18-A", 0)
    write_json(folder.final, read_json(folder.final) | {"outcome": "diverged"})
    reseal(folder)
    (row,) = counted(read_runs(tmp_path, "digits")).to_dict("records")
    for column in ("ratio_change", "mean_ratio", "mean_response"):
        assert math.isnan(row[column])
        assert math.isnan(row[f"{column}_estimated"])
    assert math.isnan(row["small_responses_estimated"])
    assert not math.isnan(row["initial_mean_ratio"])


def test_the_floor_of_held_out_test_images_is_one_of_those_that_were_looked_at(tmp_path: Path) -> None:
    held_out = Study("held-out", {"split": "45k/5k"})
    contrast = {f"{network}@held-out": weight for network, weight in DEEPER.items()}
    claim = Claim("on test images", contrast=contrast, column="test_error", above=0.5)
    for network in DEEPER:
        for seed in range(3):
            write_run(tmp_path, "digits", network, seed, study=held_out)
    made_up = Experiment(
        "E", "none", (), {"digits": tuple(DEEPER)}, (claim,), {"digits": (held_out,)}, name="mine"
    )
    (verdict,) = judged(read_runs(tmp_path, "digits"), [made_up])
    assert set(verdict.measurement.values.values()) == {0.0}
    assert verdict.measurement.deviation == pytest.approx(100 / 180)  # the made-up confusion matrix has 180 images


def test_the_power_of_few_seeds_counts_both_ends_of_the_interval() -> None:
    """Far beyond the margin the power is 1, at the margin a half of what the level leaves."""
    assert power(0.0, 1.0, 5, 0.95) == pytest.approx(0.025)
    assert power(0.0, 1.0, 5, 0.9) == pytest.approx(0.05)
    assert power(50.0, 1.0, 5, 0.95) == pytest.approx(1)


def test_claims_of_the_seminar_are_a_family_of_their_own(tmp_path: Path) -> None:
    write_errors(tmp_path, {name: [50.0] * 3 for name in ("plain34", "plain18", "residual34-A", "residual34-B")})
    first, *seminar = primaries(seminar=True)  # which waits to be named, as one on request does
    experiments = [replace(first, on_request=("digits",)), *seminar]
    found = levels(judged(read_runs(tmp_path, "digits"), experiments))
    assert found["claim 0"] == 0.95
    assert found["claim 1"] == found["claim 2"] == 0.975


def test_a_claim_that_holds_without_the_diverged_seeds_stays(tmp_path: Path) -> None:
    for seed in range(4):
        for network in DEEPER:
            ends = "diverged" if (network, seed) == ("plain34", 3) else "finished"
            error = 80.0 + 0.01 * seed if network == "plain34" else 10.0
            write_run(tmp_path, "digits", network, seed, outcome=ends, errors=lambda *_, e=error: (e, e))
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert (verdict.outcome, verdict.diverged) == (HOLDS, 1)


def test_runs_that_are_no_pairs_decide_nothing(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3, "residual34-A": [1.0] * 3})
    folder = RunFolder(tmp_path / "digits" / "plain18-s1")
    record = read_json(folder.run)
    record["configuration"]["batch_size"] = 33
    write_json(folder.run, record)
    reseal(folder)
    other = Claim("other", {"plain34": 1, "residual34-A": -1}, above=0.0)
    first, *_, second = judged(read_runs(tmp_path, "digits"), [experiment(ABOVE, other)])
    assert first.outcome == NOT_COMPARABLE
    assert "plain18-s0 and plain18-s1: batch_size: 32 against 33" in first.reason
    assert second.outcome == "agrees"  # it does without plain-18


# ---- how many seeds ------------------------------------------------------------------------------------------


def test_the_power_is_that_of_a_simulation() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(2.0, 1.5, (20_000, 6))
    half = stats.t.ppf(0.975, 5) * values.std(axis=1, ddof=1) / math.sqrt(6)
    assert power(2.0, 1.5, 6, 0.95) == pytest.approx(float((values.mean(axis=1) - half > 0).mean()), abs=0.01)


def test_the_new_seeds_are_the_fewest_with_the_assurance(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [12.5, 13.5, 12.0, 13.0], "plain18": [10.0] * 4})
    undecided = replace(verdict, outcome=UNDECIDED)
    found = new_seeds(undecided, 0.975)
    assert found.number is not None

    def assured(num: int) -> float:
        return assurance(verdict.measurement, ABOVE, 0.5, num, 0.975)

    assert assured(found.number) >= 0.8 > assured(found.number - 1)
    assert found.power > found.assurance  # which also weighs the means and spreads that four seeds leave open
    assert f"heads for it; {found.number} new seeds would decide it alone" in found.line()


def test_the_assurance_is_the_share_of_new_means_that_decide() -> None:
    """Drawn one by one, by another way: Student's t for the mean, chi-square for the spread."""
    measured = Measurement(dict(enumerate((1.0, 3.0, 2.0, 4.0))), 0.95, 0.0)
    drawn = np.random.default_rng(5)
    decided = 0
    for _ in range(4_000):
        spread = measured.deviation * math.sqrt(3 / sum(drawn.standard_normal(3) ** 2))
        values = drawn.normal(drawn.normal(2.5, spread / 2), spread, 6)
        half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
        decided += values.mean() - half > 0.5
    assert assurance(measured, ABOVE, 0.5, 6, 0.95) == pytest.approx(decided / 4_000, abs=0.025)
    mirrored = Measurement({seed: -value for seed, value in measured.values.items()}, 0.95, 0.0)
    below = Claim("below", DEEPER, below=-0.5)
    assert assurance(mirrored, below, -0.5, 6, 0.95) == pytest.approx(decided / 4_000, abs=0.025)


def test_where_the_direction_is_open_no_number_of_seeds_is_promised(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [10.2, 11.2, 10.4], "plain18": [10.0] * 3})
    found = new_seeds(verdict, 0.95)
    assert (found.number, found.assurance < 0.8) == (None, True)
    assert "no number of new seeds has an assurance of 0.8" in found.line()


def test_equal_numbers_need_no_more_seeds_than_any_verdict(tmp_path: Path) -> None:
    claim = Claim("responses", DEEPER, column="mean_response", above=-9.0, primary=True)
    for network in DEEPER:
        for seed in range(3):
            write_run(tmp_path, "digits", network, seed)
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(claim)])
    assert verdict.measurement.deviation < 1e-6
    assert new_seeds(verdict, 0.95).number == 3


def test_more_seeds_do_not_help_where_runs_are_no_pairs(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [10.5, 12.5, 11.5], "plain18": [10.0] * 3})
    doubted = replace(verdict, outcome=NOT_COMPARABLE, reason="threads: 1 against 2", doubtful=True)
    assert new_seeds(doubted, 0.95).line() == "made-up: deeper is worse: not comparable, threads: 1 against 2"


def test_a_response_of_a_diverged_run_is_no_value_even_if_it_is_a_number(tmp_path: Path) -> None:
    claim = Claim("smaller", {"plain18": 1, "residual18-A": -1}, "mean_response", above=0.0, primary=True)
    for seed in range(4):
        for network in claim.contrast:
            ruined = (network, seed) == ("residual18-A", 3)
            folder = write_run(tmp_path, "digits", network, seed, outcome="diverged" if ruined else "finished")
            if ruined:
                final = read_json(folder.final)
                write_json(folder.final, final | {"mean_response": 0.01})
                reseal(folder)
    verdict, *_ = judged(read_runs(tmp_path, "digits"), [experiment(claim)])
    assert (verdict.outcome, verdict.reason) == (UNDECIDED, "diverged runs without mean response: 1")


def test_one_seed_has_no_spread_to_plan_with(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [10.5], "plain18": [10.0]})
    assert new_seeds(verdict, 0.95).line().endswith("1 complete seeds; a spread needs 2")


def test_only_claims_on_networks_of_the_setting_are_judged(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [2.0] * 3, "plain18": [1.0] * 3})
    elsewhere = Experiment("E", "none", (), {"cifar10": ("plain34", "plain18")}, (ABOVE,), name="elsewhere")
    partly = Experiment("P", "none", (), {"digits": ("plain34",)}, (ABOVE,), name="partly")
    assert judged(read_runs(tmp_path, "digits"), [elsewhere, partly]) == []


def test_a_claim_on_a_column_that_is_not_recorded_names_itself_and_the_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"claim 'typo'.*traning_error.*training_error"):
        verdict_on(Claim("typo", DEEPER, column="traning_error", above=0.0), tmp_path, {"plain34": [1.0]})
