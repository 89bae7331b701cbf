"""Verdicts where an interval only touches its margin, and the seeds that a claim heading the other way needs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plain_vs_residual.evidence.decision import (
    FAILS,
    HOLDS,
    NOTHING,
    SMALL,
    SMALLER,
    UNDECIDED,
    Verdict,
    decide,
)
from plain_vs_residual.evidence.exceptions import failed_check
from plain_vs_residual.evidence.measurement import Measurement, measure
from plain_vs_residual.evidence.pairing import PairCheck
from plain_vs_residual.evidence.power import assurance, new_seeds
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Claim, Experiment
from plain_vs_residual.records.registered import Registration
from tests.made_up_records import read_runs, registered, write_run

PAIR = {"plain34": 1, "plain18": -1}
ABOVE, BELOW = Claim("more", PAIR, above=0.5), Claim("less", PAIR, below=0.5)
WITHIN, FALLS = Claim("alike", PAIR, within=0.5), Claim("falls", PAIR, below=-0.5)


def with_interval(low: float, high: float) -> Any:
    """Return what a verdict reads of a measurement; no spread of numbers gives an end exactly."""
    return SimpleNamespace(num=3, interval=(low, high))


@pytest.mark.parametrize(
    ("claim", "interval", "outcome", "reason"),
    [
        (ABOVE, (0.5, 1.0), UNDECIDED, None),
        (ABOVE, (0.0, 0.5), UNDECIDED, None),
        (ABOVE, (0.501, 1.0), HOLDS, ""),
        (ABOVE, (0.0, 0.499), FAILS, SMALL),
        (ABOVE, (0.001, 0.499), FAILS, SMALLER),
        (ABOVE, (-0.5, 0.0), FAILS, SMALL),
        (ABOVE, (-0.5, -0.001), FAILS, "the effect is opposite"),
        (BELOW, (0.0, 0.5), UNDECIDED, None),
        (BELOW, (0.5, 1.0), UNDECIDED, None),
        (FALLS, (-0.4, 0.0), FAILS, SMALL),
        (FALLS, (-0.4, -0.1), FAILS, SMALLER),
        (FALLS, (0.1, 0.4), FAILS, "the effect is opposite"),
        (WITHIN, (-0.499, 0.499), HOLDS, ""),
        (WITHIN, (-0.5, 0.4), UNDECIDED, None),
        (WITHIN, (-0.4, 0.5), UNDECIDED, None),
        (WITHIN, (0.5, 0.8), UNDECIDED, None),
        (WITHIN, (-0.8, -0.5), UNDECIDED, None),
        (WITHIN, (0.501, 0.8), FAILS, "they differ by more than the margin"),
        (WITHIN, (-0.8, -0.501), FAILS, "they differ by more than the margin"),
    ],
)
def test_an_interval_that_touches_its_margin_decides_nothing(
    claim: Claim, interval: tuple[float, float], outcome: str, reason: str | None
) -> None:
    margin = claim.margin_in("digits")
    found = decide(with_interval(*interval), claim, margin)
    assert found[0] == outcome
    if reason is not None:
        assert found[1] == reason


def test_seeds_that_head_against_a_claim_are_as_many_as_those_that_head_for_it() -> None:
    """Mirrored at the margin, the numbers decide against the claim as surely as they decided for it."""
    heading = Measurement(dict(enumerate((1.0, 3.0, 2.0, 4.0))), 0.95, 0.0)
    mirrored = Measurement({seed: 1 - value for seed, value in heading.values.items()}, 0.95, 0.0)
    by_it = assurance(heading, ABOVE, 0.5, 6, 0.95)
    assert 0.3 < by_it < 0.9
    assert assurance(mirrored, ABOVE, 0.5, 6, 0.95) == pytest.approx(by_it, abs=0.02)
    assert assurance(heading, BELOW, 0.5, 6, 0.95) == pytest.approx(by_it, abs=0.02)


def test_two_seeds_have_a_spread_and_one_has_none() -> None:
    two = Verdict("made-up", ABOVE, 0.5, "validation", Measurement({0: 9.0, 1: 9.1}, 0.95, 0.0), UNDECIDED)
    found = new_seeds(two, 0.95)
    assert found.number == 3
    assert "mean +9.05 ± 0.07 over 2 seeds, heads for it; 3 new seeds" in found.line()
    one = replace(two, measurement=Measurement({0: 9.0}, 0.95, 0.0))
    assert new_seeds(one, 0.95).line().endswith("1 complete seeds; a spread needs 2")


def test_every_margin_of_an_equivalence_is_a_distance() -> None:
    for wrong in (0, -0.5, {"digits": 0.5, "fashion": 0.0}, {"digits": -0.5, "fashion": 0.5}):
        with pytest.raises(ValueError, match="within is a distance from 0"):
            Claim("alike", PAIR, within=wrong)
    assert Claim("alike", PAIR, within={"digits": 0.5, "fashion": 0.1}).margin_in("fashion") == 0.1


def test_what_decides_is_printed_bold_and_what_more_seeds_took_over_from_is_not() -> None:
    registration = Registration(
        variant="",
        family="by default",
        seeds=[0],
        error_rate=0.05,
        num_primary=1,
        unread=[],
        claims=[],
        registered="now",
    )
    primary = Verdict("made-up", replace(ABOVE, primary=True), 0.5, "test", NOTHING, UNDECIDED, decides=False)
    assert primary.bold  # nothing was registered
    assert not replace(primary, registration=registration).bold
    assert replace(primary, registration=registration, decides=True).bold
    assert not replace(primary, claim=ABOVE, decides=True).bold
    assert replace(primary, claim=Claim("more validation error", PAIR, above=1)).statement == "more test error"


def test_the_first_check_that_failed_among_a_claims_own_runs_is_named(tmp_path: Path) -> None:
    for network in PAIR:
        for seed in range(2):
            write_run(tmp_path, "digits", network, seed)
    recorded = read_runs(tmp_path, "digits")
    experiment = Experiment("E", "none", (), {"digits": tuple(PAIR)}, (ABOVE,), name="mine")
    strange = PairCheck(("residual18-A-s0", "plain18-s0"), ("of another claim",))
    passed = PairCheck(("plain18-s0", "plain34-s0"), ())
    first = PairCheck(("plain18-s0", "plain34-s0"), ("this", "that"))
    second = PairCheck(("plain34-s1",), ("another",))

    def said(checks: list[PairCheck], seeds: set[int]) -> str:
        return failed_check(recorded, experiment, ABOVE, checks, seeds)

    assert said([first, second], {0, 1}) == "plain18-s0 and plain34-s0: this"
    assert said([strange, passed, second, first], {0, 1}) == "plain34-s1: another"
    assert said([first, second], {1}) == "plain34-s1: another"
    assert said([strange, passed], {0, 1}) == ""


def test_files_that_count_as_a_primary_claim_are_named_beside_primary_claims_alone(tmp_path: Path) -> None:
    for network in PAIR:
        for seed in range(3):
            write_run(tmp_path, "digits", network, seed)
    recorded = read_runs(tmp_path, "digits")
    claims = (replace(ABOVE, primary=True), replace(BELOW, column="validation_error"))
    experiment = Experiment("E", "none", (), {"digits": tuple(PAIR)}, claims, name="mine", left_out=("wrong.py",))

    def named(verdicts: list[Verdict]) -> dict[str, tuple[str, ...]]:
        return {one.claim.statement: one.counted_unread for one in verdicts if one.declared}

    assert named(judge(recorded, [experiment])) == {"more": ("wrong.py",), "less": ()}
    # What was registered stays, whatever is left out today.
    planned = registered(recorded, [experiment])
    assert named(judge(planned, [replace(experiment, left_out=())])) == {"more": ("wrong.py",), "less": ()}
    assert named(judge(planned, [replace(experiment, left_out=("a.py", "b.py"))]))["more"] == ("wrong.py",)


def test_a_claim_without_a_run_has_no_values_and_the_level_it_was_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "residual18-A", 0)
    experiment = Experiment("E", "none", (ABOVE,), {"digits": ("plain34", "plain18")}, (), name="mine")
    measured = measure(read_runs(tmp_path, "digits"), experiment, ABOVE, 0.9)
    assert (measured.values, measured.level, measured.num) == ({}, 0.9, 0)
