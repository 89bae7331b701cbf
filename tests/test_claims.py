"""Verdicts: differences paired by seed, t intervals as by hand and in scipy, Holm, divergence, missing runs."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from scipy import stats

from plain_vs_residual.evidence.verdicts import (
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    Verdict,
    _holm,
    judge,
    t_test,
)
from plain_vs_residual.experiment import Claim, Experiment
from tests.made_up_records import read_runs, write_run

ONE_IMAGE = 100 / 1_437
DEEPER = {"plain34": 1, "plain18": -1}
ABOVE = Claim("deeper is worse", contrast=DEEPER, above=0.5)
BELOW = Claim("deeper is not worse", contrast=DEEPER, below=0.5)


def write_errors(results: Path, errors: Mapping[str, Sequence[float]]) -> None:
    """Write runs on digits with the given training errors by network and seed, and twice those in validation."""
    for network, values in errors.items():
        for seed, value in enumerate(values):
            write_run(results, "digits", network, seed, errors=lambda *_, value=value: (value, 2 * value))


def experiment(*claims: Claim, name: str = "made-up") -> Experiment:
    networks = tuple(dict.fromkeys(network for claim in claims for network in claim.contrast))
    return Experiment("Made up", "none", ("final_errors",), {"digits": networks}, claims, name=name)


def verdict_on(claim: Claim, results: Path, errors: Mapping[str, Sequence[float]]) -> Verdict:
    write_errors(results, errors)
    (verdict,) = judge(read_runs(results, "digits"), [experiment(claim)])
    return verdict


def p_of_three(mean: float, sd: float, margin: float) -> float:
    """Compute the two-sided p-value of three values; Student's t with two degrees of freedom has a closed form."""
    t = abs(mean - margin) / (sd / math.sqrt(3))
    return 1 - t / math.sqrt(t**2 + 2)


@pytest.mark.parametrize(
    ("claim", "differences", "expected"),
    [
        (ABOVE, (2.0, 2.1, 2.2), REPRODUCED),
        (ABOVE, (-1.0, -1.1, -1.2), NOT_REPRODUCED),
        (ABOVE, (0.1, 0.2, 0.3), NOT_REPRODUCED),
        (ABOVE, (0.0, 0.5, 1.2), UNDECIDED),
        (BELOW, (0.0, 0.1, -0.1), REPRODUCED),
        (BELOW, (-5.0, -5.1, -5.2), REPRODUCED),
        (BELOW, (2.0, 2.1, 2.2), NOT_REPRODUCED),
        (BELOW, (0.0, 0.5, 1.2), UNDECIDED),
    ],
)
def test_the_verdict_is_where_the_interval_lies_against_the_margin(
    tmp_path: Path, claim: Claim, differences: Sequence[float], expected: str
) -> None:
    verdict = verdict_on(claim, tmp_path, {"plain34": [10 + d for d in differences], "plain18": [10.0] * 3})
    assert verdict.outcome == expected
    assert list(verdict.values.values()) == pytest.approx(list(differences))
    assert (verdict.low <= 0.5 <= verdict.high) == (expected == UNDECIDED)
    assert bool(verdict.reason) == (expected == UNDECIDED)


def test_the_interval_is_that_of_one_two_three_by_hand() -> None:
    low, high, p = t_test([1.0, 2.0, 3.0], margin=0.0, floor=0.0)
    half = 4.302653 / math.sqrt(3)
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert p == pytest.approx(p_of_three(2, 1, 0))
    assert p == pytest.approx(0.0742, abs=1e-4)


def test_the_interval_is_that_of_scipy() -> None:
    values, margin = [0.3, 1.7, 2.9, 0.4, 1.1], 0.5
    test = stats.ttest_1samp(values, margin)
    expected = test.confidence_interval(0.95)
    assert t_test(values, margin, 0.0) == pytest.approx((expected.low, expected.high, test.pvalue))


def test_equal_differences_are_believed_to_spread_by_one_image(tmp_path: Path) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [12.0] * 3, "plain18": [10.0] * 3})
    half = 4.302653 * ONE_IMAGE / math.sqrt(3)
    assert (verdict.low, verdict.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert verdict.outcome == REPRODUCED


def test_an_equal_difference_of_one_image_decides_nothing(tmp_path: Path) -> None:
    claim = Claim("any difference", contrast=DEEPER, above=0.0)
    verdict = verdict_on(claim, tmp_path, {"plain34": [10 + ONE_IMAGE] * 3, "plain18": [10.0] * 3})
    assert verdict.outcome == UNDECIDED
    assert verdict.low < 0 < verdict.high


def test_the_floor_of_validation_errors_is_an_image_of_the_smaller_set(tmp_path: Path) -> None:
    claim = Claim("in validation", contrast=DEEPER, column="validation_error", above=0.0)
    verdict = verdict_on(claim, tmp_path, {"plain34": [6.0] * 3, "plain18": [5.0] * 3})
    assert verdict.mean == pytest.approx(2)
    assert verdict.high - verdict.mean == pytest.approx(4.302653 * (100 / 360) / math.sqrt(3), abs=1e-5)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_are_undecided_however_clear(tmp_path: Path, num_seeds: int) -> None:
    verdict = verdict_on(ABOVE, tmp_path, {"plain34": [50.0] * num_seeds, "plain18": [1.0] * num_seeds})
    assert verdict.outcome == UNDECIDED
    assert verdict.reason == f"complete seeds: {num_seeds}, needed: 3"
    assert verdict.mean == pytest.approx(49)


def test_a_claim_without_any_run_is_undecided_and_has_no_numbers(tmp_path: Path) -> None:
    write_errors(tmp_path, {"residual18-A": [1.0] * 3})
    (verdict,) = judge(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.outcome == UNDECIDED
    assert verdict.values == {}
    assert math.isnan(verdict.mean)


def test_what_a_setting_cannot_decide_is_undecided_with_the_reason(tmp_path: Path) -> None:
    claim = Claim("deeper", contrast=DEEPER, above=0.5, undecidable={"digits": "too few images"})
    verdict = verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3})
    assert (verdict.outcome, verdict.reason) == (UNDECIDED, "too few images")


def test_undecidable_elsewhere_is_decided_here(tmp_path: Path) -> None:
    claim = Claim("deeper", contrast=DEEPER, above=0.5, undecidable={"cifar10": "too few images"})
    assert verdict_on(claim, tmp_path, {"plain34": [20.0] * 3, "plain18": [1.0] * 3}).outcome == REPRODUCED


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
    (verdict,) = judge(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.values == pytest.approx({0: 0.0, 1: chance - 10, 2: 0.0})
    assert verdict.diverged == 1


def test_a_diverged_run_without_responses_leaves_the_claim_undecided_and_is_named(tmp_path: Path) -> None:
    claim = Claim("smaller", {"plain18": 1, "residual18-A": -1}, column="mean_response", above=0.0)
    for seed in range(4):
        for network in claim.contrast:
            outcome = "diverged" if (network, seed) == ("plain18", 3) else "finished"
            write_run(tmp_path, "digits", network, seed, outcome=outcome)
    (verdict,) = judge(read_runs(tmp_path, "digits"), [experiment(claim)])
    assert list(verdict.values) == [0, 1, 2]
    assert verdict.low > 0
    assert verdict.outcome == UNDECIDED
    assert verdict.reason == "diverged runs without mean response: 1"


def test_a_missing_run_leaves_out_its_own_seed_alone(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [5.0, 6.0, 7.0, 8.0], "plain18": [1.0, 1.0, 1.0]})
    write_run(tmp_path, "digits", "plain18", 3, finished=False)
    (verdict,) = judge(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.values == pytest.approx({0: 4.0, 1: 5.0, 2: 6.0})


def test_a_network_of_another_claim_leaves_out_no_seed(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [5.0] * 3, "plain18": [1.0] * 3, "residual34-A": [1.0]})
    both = experiment(ABOVE, Claim("other", {"plain34": 1, "residual34-A": -1}, above=0.0))
    first, second = judge(read_runs(tmp_path, "digits"), [both])
    assert (len(first.values), len(second.values)) == (3, 1)


def test_runs_are_paired_by_seed(tmp_path: Path) -> None:
    """If the same errors are assigned to other seeds, the mean stays the same but the interval does not."""
    deep, shallow = [11.0, 21.1, 31.2], [10.0, 20.0, 30.0]
    paired = verdict_on(ABOVE, tmp_path / "paired", {"plain34": deep, "plain18": shallow})
    shuffled = verdict_on(ABOVE, tmp_path / "shuffled", {"plain34": deep, "plain18": shallow[::-1]})
    assert paired.mean == pytest.approx(shuffled.mean)
    assert (paired.outcome, shuffled.outcome) == (REPRODUCED, UNDECIDED)
    assert shuffled.high - shuffled.low > 100 * (paired.high - paired.low)


def test_the_order_of_the_folders_does_not_count(tmp_path: Path) -> None:
    runs = [("plain34", seed, 10.0 + seed**2) for seed in range(11)] + [("plain18", s, 1.0) for s in range(11)]
    random.Random(0).shuffle(runs)
    for network, seed, value in runs:
        write_run(tmp_path, "digits", network, seed, errors=lambda *_, value=value: (value, value))
    (verdict,) = judge(read_runs(tmp_path, "digits"), [experiment(ABOVE)])
    assert verdict.values == pytest.approx({seed: 9.0 + seed**2 for seed in range(11)})


def test_the_headline_is_a_difference_of_differences(tmp_path: Path) -> None:
    contrast = {"plain34": 1, "plain18": -1, "residual34-A": -1, "residual18-A": 1}
    claim = Claim("headline", contrast=contrast, above=0.5)
    errors = {
        "plain34": [9.0, 9.5, 9.0],
        "plain18": [2.0, 2.0, 2.0],
        "residual34-A": [1.5, 1.0, 1.0],
        "residual18-A": [3.0, 3.0, 3.0],
    }
    assert verdict_on(claim, tmp_path, errors).values == pytest.approx({0: 8.5, 1: 9.5, 2: 9.0})


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.2, 0.9, 0.5], [0.6, 1.0, 1.0]),
        ([0.02, math.nan], [0.04, math.nan]),
        ([math.nan, 0.01, 0.02], [math.nan, 0.03, 0.04]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_by_hand(raw: Sequence[float], corrected: Sequence[float]) -> None:
    assert _holm(raw) == pytest.approx(list(corrected), nan_ok=True)


def primaries() -> list[Experiment]:
    """Return three experiments with a primary claim each; one also has a descriptive claim."""
    pairs = ({"plain34": 1, "plain18": -1}, {"plain34": 1, "residual34-A": -1}, {"plain34": 1, "residual34-B": -1})
    claims = [Claim(f"claim {number}", pair, above=0.0, primary=True) for number, pair in enumerate(pairs)]
    described = Claim("descriptive", pairs[0], above=0.0)
    return [experiment(claims[0], described, name="a"), *(experiment(claim, name="b") for claim in claims[1:])]


def test_primary_claims_are_corrected_together_and_others_are_not(tmp_path: Path) -> None:
    errors = {
        "plain34": [50.0] * 3,
        "plain18": [49.0, 48.0, 47.0],  # differences from plain34: 1, 2, 3
        "residual34-A": [41.0, 40.0, 39.0],  # differences from plain34: 9, 10, 11
        "residual34-B": [46.0, 45.0, 44.0],  # differences from plain34: 4, 5, 6
    }
    write_errors(tmp_path, errors)
    verdicts = judge(read_runs(tmp_path, "digits"), primaries())
    raw = [p_of_three(mean, 1, 0) for mean in (2, 10, 5)]
    assert [verdict.p for verdict in verdicts] == pytest.approx([raw[0], raw[0], 3 * raw[1], 2 * raw[2]])
    assert [verdict.outcome for verdict in verdicts] == [UNDECIDED, UNDECIDED, REPRODUCED, REPRODUCED]


def test_the_correction_can_take_a_verdict_back(tmp_path: Path) -> None:
    """A p of 0.02 decides alone; with two more primary claims without runs, it becomes 0.06 and does not."""
    write_errors(tmp_path, {"plain34": [50.0] * 3, "plain18": [47.0, 46.0, 45.0]})  # differences: 3, 4, 5
    verdicts = judge(read_runs(tmp_path, "digits"), primaries())
    raw = p_of_three(4, 1, 0)
    assert raw < 0.05 < 3 * raw
    assert verdicts[0].low > 0
    assert [verdict.p for verdict in verdicts[:2]] == pytest.approx([3 * raw, raw])
    assert [verdict.outcome for verdict in verdicts[:2]] == [UNDECIDED, REPRODUCED]
    assert "corrected" in verdicts[0].reason
    assert all(math.isnan(verdict.p) for verdict in verdicts[2:])


def test_only_claims_on_networks_of_the_setting_are_judged(tmp_path: Path) -> None:
    write_errors(tmp_path, {"plain34": [2.0] * 3, "plain18": [1.0] * 3})
    elsewhere = Experiment("E", "none", (), {"cifar10": ("plain34", "plain18")}, (ABOVE,), name="elsewhere")
    partly = Experiment("P", "none", (), {"digits": ("plain34",)}, (ABOVE,), name="partly")
    assert judge(read_runs(tmp_path, "digits"), [elsewhere, partly]) == []


def test_a_claim_on_a_column_that_is_not_recorded_names_itself_and_the_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"claim 'typo'.*traning_error.*training_error"):
        verdict_on(Claim("typo", DEEPER, column="traning_error", above=0.0), tmp_path, {"plain34": [1.0]})
