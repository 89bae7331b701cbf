"""The checks of the notebook's exercises: each says of wrong answers that they are wrong, and in which way."""

from fractions import Fraction
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from plain_vs_residual.blocks import PlainBlock, ResidualBlock
from plain_vs_residual.evidence.measurement import Measurement
from plain_vs_residual.exercises import (
    check_block,
    check_contrast,
    check_direction,
    check_number,
    check_prediction,
)
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
COLUMN = "training_error"


@pytest.fixture(scope="module")
def reference() -> RecordedRuns:
    (found,) = load_recorded_runs(REPOSITORY / "results" / "reference", "fashion")
    return found


def test_an_answer_that_is_not_given_yet_is_no_mistake(reference: RecordedRuns) -> None:
    class Unfinished(ResidualBlock):
        def forward(self, x: Tensor) -> Any:
            return ...

    found = (
        check_number(..., 0),
        check_prediction({PLAIN: 70, RESIDUAL: ...}, reference, COLUMN),
        check_direction(..., 1, 2, within=0.5),
        check_contrast(..., reference, "fig4_depth"),
        check_block(Unfinished),
    )
    for checked in found:
        assert checked.right is None
        assert repr(checked).startswith("No answer yet: ")
        assert "in the place of" in checked.why


def test_a_number_is_right_or_not() -> None:
    assert repr(check_number(0, 0)) == "Right. You say 0; it is 0."
    assert repr(check_number(3, 0)) == "Not so. You say 3; it is 0."
    assert repr(check_number(Fraction(1, 2), 0.5)) == "Right. You say 0.5; it is 0.5."


def test_a_prediction_is_right_where_one_more_seed_is_expected(reference: RecordedRuns) -> None:
    finals = reference.finals[reference.finals["study"] == ""]
    values = finals[finals["network"] == PLAIN].set_index("seed")[COLUMN]
    low, high = Measurement(dict(values.items()), level=0.95, floor=0.0).next_seed  # type: ignore[arg-type]
    for value, right, word in (
        (low, True, "within"),
        (high, True, "within"),
        (low - 0.01, False, "below"),
        (high + 0.01, False, "above"),
    ):
        checked = check_prediction({PLAIN: value}, reference, COLUMN)
        assert checked.right == right
        assert f"lies {word} {low:.2g} to {high:.2g} (5 seeds)" in checked.why


def test_each_network_is_told_of_and_one_wrong_prediction_is_wrong(reference: RecordedRuns) -> None:
    checked = check_prediction({PLAIN: torch.tensor(70.0), RESIDUAL: 70}, reference, COLUMN)
    assert not checked.right
    assert [line.split(" to ")[0] for line in checked.why.split("\n")[1:]] == [
        "  cifar-plain56: 70 lies within 58",
        "  cifar-residual56-A: 70 lies above 22",
    ]


@pytest.mark.parametrize(
    ("predicted", "column", "message"),
    [
        ({PLAIN: "70 %"}, COLUMN, "'70 %' is no number; accepted are numbers alone"),
        ({PLAIN: True}, COLUMN, "True is no number"),
        ({PLAIN: float("nan")}, COLUMN, "nan is no number"),
        ({PLAIN: None}, COLUMN, "None is no number"),
        ({PLAIN: 70}, "training_eror", r"no column 'training_eror' is recorded \(did you mean training_error"),
        (
            {"cifar-plain26": 70},
            COLUMN,
            "'cifar-plain26' is not recorded; it is of cifar-plain20,",
        ),
        ({PLAIN: 1}, "mean_path_share", "'mean_path_share' of 'cifar-plain56' is not recorded"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    reference: RecordedRuns, predicted: Any, column: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_prediction(predicted, reference, column)


@pytest.mark.parametrize(
    ("before", "after", "found"), [(20, 30, "more"), (30, 20, "less"), (20, 20.5, "equal"), (20, 19.5, "equal")]
)
def test_a_direction_is_what_the_errors_say(before: float, after: float, found: str) -> None:
    for word in ("more", "less", "equal"):
        checked = check_direction(word, before, after, within=0.5)
        assert checked.right == (word == found)
        assert f"From {before:.1f} % to {after:.1f} %: {found}" in checked.why
    with pytest.raises(ValueError, match='\'worse\' is no direction; accepted are "more", "less" and "equal"'):
        check_direction("worse", before, after, within=0.5)


def test_a_contrast_is_compared_with_what_decides_the_claim(reference: RecordedRuns) -> None:
    finals = reference.finals[reference.finals["study"] == ""]
    errors = finals.pivot_table(index="seed", columns="network", values="running_training_error")
    plain, residual = errors["plain34"] - errors["plain18"], errors["residual34-A"] - errors["residual18-A"]

    def check(answer: Any) -> Any:
        return check_contrast(answer, reference, "fig4_depth")

    assert check(plain - residual).right
    assert check(dict(plain - residual)).right
    for answer, why in (
        (residual - plain, "the other sign"),
        (plain, "Seed 10: 12.32; the claim is decided by 12.68"),
        ((plain - residual).iloc[1:], "for each of the seeds 10, 11, 12, 13, 14"),
        (pd.Series(dtype=float), "for each of the seeds 10"),
    ):
        checked = check(answer)
        assert checked.right is False
        assert why in checked.why
    decisive = plain - residual
    seed = decisive.index[-1]
    checked = check((decisive + 5e-7).where(decisive.index != seed, decisive + 2e-6))
    assert checked.right is False
    assert checked.why.startswith(f"Seed {seed}: ")


# ---- a block of one's own --------------------------------------------------------------------------------


class Half(ResidualBlock):
    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + 0.5 * self.shortcut(x))


class WithParameter(Half):
    def __init__(self, layers: Any, shortcut: nn.Module) -> None:
        super().__init__(layers, shortcut)
        self.scale = nn.Parameter(torch.ones(1))


class DrawnAnew(Half):
    def __init__(self, layers: Any, shortcut: nn.Module) -> None:
        super().__init__(layers, shortcut)
        nn.init.zeros_(self.bn2.weight)


class Useless(ResidualBlock):
    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) + 0 * self.shortcut(x))


class Broken(ResidualBlock):
    def forward(self, x: Tensor) -> Tensor:
        return relu(self.residual_function(x) / 0)


def test_a_block_that_keeps_the_parameters_and_acts_is_right() -> None:
    checked = check_block(Half)
    assert checked.right
    assert checked.why == "All 59 parameters are plain-20's, and the logits are its own."


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (ResidualBlock, "but so are the logits: this is the ordinary ResNet-20"),
        (Useless, "but so are the logits: this is plain-20"),
        (
            WithParameter,
            "Only in one of plain-20 and yours: layer1.0.scale, layer1.1.scale, layer1.2.scale and 6",
        ),
        (DrawnAnew, "Of other shape or value before training: layer1.0.bn2.weight, "),
        (Broken, "The logits are not finite."),
    ],
)
def test_a_block_that_breaks_the_pair_or_does_nothing_is_told_so(block: type[ResidualBlock], why: str) -> None:
    checked = check_block(block)
    assert checked.right is False
    assert why in checked.why


@pytest.mark.parametrize("block", [PlainBlock, "ResidualBlock", lambda layers, shortcut: None])
def test_what_is_no_such_block_is_refused(block: Any) -> None:
    with pytest.raises(ValueError, match="is no block with a shortcut; accepted is class Mine"):
        check_block(block)
