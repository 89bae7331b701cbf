"""The learning rate one iteration before and after every change."""

import pytest

from plain_vs_residual.recipe import WATCHING
from plain_vs_residual.schedules import FIXED
from plain_vs_residual.settings import CIFAR10, CIFAR10_SHORT, DIGITS, IMAGENET
from plain_vs_residual.training.schedule import num_iterations, schedule_of


@pytest.mark.parametrize("depth", [18, 20, 56])
def test_cifar10_drops_at_32k_and_48k(depth: int) -> None:
    rate = schedule_of(CIFAR10, depth, num_iterations(CIFAR10, 50_000))
    assert num_iterations(CIFAR10, 50_000) == 64_000
    assert [rate(i) for i in (0, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rel=1e-12
    )


def test_110_layers_warm_up_for_400_iterations_and_come_back() -> None:
    rate = schedule_of(CIFAR10, 110, num_iterations(CIFAR10, 50_000))
    seen = [rate(i) for i in (0, 399, 400, 31_999, 32_000, 48_000)]
    assert seen == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01, 0.001], rel=1e-12)


def test_the_short_setting_scales_the_drops() -> None:
    rate = schedule_of(CIFAR10_SHORT, 20, num_iterations(CIFAR10_SHORT, 50_000))
    assert [rate(i) for i in (3_999, 4_000, 5_999, 6_000)] == pytest.approx([0.1, 0.01, 0.01, 0.001], rel=1e-12)


def test_imagenet_drops_at_30_and_60_of_90_epochs() -> None:
    rate = schedule_of(IMAGENET, 34, num_iterations(IMAGENET, 1_281_167))
    epoch, iterations = 1_281_167 / 256, num_iterations(IMAGENET, 1_281_167)
    assert iterations == round(90 * epoch)
    for number, third in enumerate((1, 2)):
        drop = round(iterations * third / 3)
        assert drop == pytest.approx(30 * third * epoch, abs=1)
        assert (rate(drop - 1), rate(drop)) == pytest.approx((0.1 / 10**number, 0.01 / 10**number), rel=1e-12)


def test_digits_fall_linearly_to_zero() -> None:
    rate = schedule_of(DIGITS, 20, num_iterations(DIGITS, 1_437))
    assert num_iterations(DIGITS, 1_437) == 449
    assert rate(0) == 0.02
    assert rate(448) == pytest.approx(0.02 / 449)
    assert rate(100) - rate(101) == pytest.approx(0.02 / 449)


def test_the_split_of_the_paper_changes_nothing_but_the_passes() -> None:
    split = CIFAR10.with_changes({"split": "45k/5k"})
    assert num_iterations(split, 45_000) == num_iterations(CIFAR10, 50_000)
    rates = [schedule_of(setting, 56, 64_000) for setting in (split, CIFAR10)]
    assert [rates[0](iteration) for iteration in range(64_000)] == [
        rates[1](iteration) for iteration in range(64_000)
    ]


def test_a_replay_without_rates_is_refused() -> None:
    replayed = CIFAR10.with_changes({"schedule": "replay", "drops": (), "warm_up_iterations": 0})
    with pytest.raises(ValueError, match="it needs a leader"):
        schedule_of(replayed, 56, 64_000)
    rate = schedule_of(replayed, 56, 64_000, [(0, 0.5), (10, 0.25)])
    assert [rate(iteration) for iteration in (0, 9, 10, 63_999)] == [0.5, 0.5, 0.25, 0.25]


def test_drops_belong_to_the_schedule_that_has_them() -> None:
    with pytest.raises(ValueError, match="with schedule linear; only step has drops"):
        CIFAR10.with_changes({"schedule": "linear"})


@pytest.mark.parametrize("schedule", ["plateau", "replay"])
def test_a_schedule_that_is_not_fixed_beforehand_cannot_be_warmed_up(schedule: str) -> None:
    with pytest.raises(ValueError, match="only step and linear can be warmed up"):
        CIFAR10.with_changes({"schedule": schedule, "drops": ()})


def test_every_schedule_that_a_recipe_can_name_has_its_rates() -> None:
    with pytest.raises(ValueError, match="schedule cannot be 'cosine': accepted are ") as refused:
        CIFAR10.with_changes({"schedule": "cosine"})
    named = set(str(refused.value).partition("accepted are ")[2].split(", "))
    # plateau watches its own run, and replay repeats what that run applied.
    assert named == FIXED.keys() | {"plateau", "replay"}
    assert set(WATCHING) == {"plateau", "replay"}


def test_a_schedule_without_rates_is_refused_by_its_name() -> None:
    cosine = CIFAR10.model_copy(update={"schedule": "cosine"})
    with pytest.raises(
        ValueError, match="schedule cosine: its rates are not fixed beforehand; those of step, linear"
    ):
        schedule_of(cosine, 20, 100)


def test_a_linear_schedule_is_warmed_up_by_the_same_depth_and_length() -> None:
    warm = DIGITS.with_changes({"iterations": 100, "warm_up_iterations": 10, "warm_up_depth": 56})
    deep, shallow = (schedule_of(warm, depth, 100) for depth in (56, 55))
    assert [deep(i) for i in (0, 9, 10, 99)] == pytest.approx([0.002, 0.00182, 0.018, 0.0002])
    assert [shallow(i) for i in (0, 9, 10, 99)] == pytest.approx([0.02, 0.0182, 0.018, 0.0002])


def test_a_replay_takes_up_each_rate_at_its_own_iteration() -> None:
    recipe = DIGITS.with_changes({"schedule": "replay"})
    rate = schedule_of(recipe, 20, 100, [(0, 0.1), (40, 0.01), (41, 0.3)])
    assert [rate(i) for i in (0, 39, 40, 41, 99)] == [0.1, 0.1, 0.01, 0.3, 0.3]
