"""The learning rate one step either side of every change."""

from dataclasses import replace

import pytest

from plain_vs_residual.settings import CIFAR10, CIFAR10_SHORT, DIGITS, IMAGENET
from plain_vs_residual.training.schedule import schedule_of


@pytest.mark.parametrize("depth", [18, 20, 56])
def test_cifar10_drops_at_32k_and_48k(depth: int) -> None:
    rate = schedule_of(CIFAR10, depth, 50_000)
    assert rate.iterations == 64_000
    assert [rate(i) for i in (0, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rel=1e-12
    )


def test_110_layers_warm_up_for_400_iterations_and_come_back() -> None:
    rate = schedule_of(CIFAR10, 110, 50_000)
    seen = [rate(i) for i in (0, 399, 400, 31_999, 32_000, 48_000)]
    assert seen == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01, 0.001], rel=1e-12)


def test_the_short_setting_scales_the_drops() -> None:
    rate = schedule_of(CIFAR10_SHORT, 20, 50_000)
    assert [rate(i) for i in (3_999, 4_000, 5_999, 6_000)] == pytest.approx([0.1, 0.01, 0.01, 0.001], rel=1e-12)


def test_imagenet_drops_at_30_and_60_of_90_epochs() -> None:
    rate = schedule_of(IMAGENET, 34, 1_281_167)
    epoch = 1_281_167 / 256
    assert rate.drops == pytest.approx((30 * epoch, 60 * epoch), abs=1)
    assert rate.iterations == round(90 * epoch)


def test_digits_fall_linearly_to_zero() -> None:
    rate = schedule_of(DIGITS, 20, 1_437)
    assert rate.iterations == 449
    assert rate(0) == 0.02
    assert rate(448) == pytest.approx(0.02 / 449)
    assert rate(100) - rate(101) == pytest.approx(0.02 / 449)


def test_the_split_of_the_paper_changes_nothing_but_the_passes() -> None:
    assert schedule_of(replace(CIFAR10, split="45k/5k"), 56, 45_000) == schedule_of(CIFAR10, 56, 50_000)
