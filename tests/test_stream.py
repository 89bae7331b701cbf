"""The stream of batches: it makes whole passes, is the same after a restart, and depends on seed and pass."""

from functools import partial

import pytest
import torch

from plain_vs_residual.data.stream import DataStream, draws_of
from plain_vs_residual.randomness import keyed_generator
from plain_vs_residual.settings import CIFAR10, IMAGENET


def stream(num_images: int = 50, batch_size: int = 8, seed: int = 0) -> DataStream:
    return DataStream(num_images, batch_size, seed, draws_of(CIFAR10))


def test_every_pass_shows_every_image_once_and_batches_run_across_passes() -> None:
    indices = stream().segment(0, 25)["indices"].flatten()
    assert len(indices) == 200
    for number in range(4):
        assert sorted(indices[number * 50 : (number + 1) * 50].tolist()) == list(range(50))
    assert not torch.equal(indices[:50], indices[50:100])


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (5, 8), (6, 7), (12, 31)])
def test_a_segment_is_the_same_wherever_one_begins(start: int, stop: int) -> None:
    whole, part = stream().segment(0, 40), stream().segment(start, stop)
    assert whole.keys() == part.keys() == {"indices", "crops", "flips"}
    assert all(torch.equal(whole[name][start:stop], part[name]) for name in whole)


def test_seeds_see_other_orders_crops_and_flips() -> None:
    one, other = stream(seed=0).segment(0, 6), stream(seed=1).segment(0, 6)
    assert all(not torch.equal(one[name], other[name]) for name in one)


def test_each_draw_of_a_pass_has_a_generator_of_its_own() -> None:
    drawn = DataStream(50, 50, 7, draws_of(CIFAR10)).segment(1, 2)
    of = partial(keyed_generator, 7)
    assert drawn["indices"][0].tolist() == torch.randperm(50, generator=of("order", 1)).tolist()
    assert drawn["crops"][0].tolist() == torch.randint(0, 9, (50, 2), generator=of("crops", 1)).tolist()
    assert drawn["flips"][0].tolist() == torch.randint(0, 2, (50,), generator=of("flips", 1)).bool().tolist()


def test_each_draw_for_imagenet_has_a_generator_of_its_own_too() -> None:
    drawn = DataStream(50, 50, 7, draws_of(IMAGENET)).segment(1, 2)
    of = partial(keyed_generator, 7)
    assert drawn.keys() == {"indices", "crops", "flips", "sides", "colours"}
    assert torch.equal(drawn["indices"][0], torch.randperm(50, generator=of("order", 1)))
    assert torch.equal(drawn["crops"][0], torch.rand((50, 2), generator=of("crops", 1)))
    assert torch.equal(drawn["flips"][0], torch.randint(0, 2, (50,), generator=of("flips", 1)).bool())
    assert torch.equal(drawn["sides"][0], torch.randint(256, 481, (50,), generator=of("sides", 1)))
    assert torch.equal(drawn["colours"][0], 0.1 * torch.randn((50, 3), generator=of("colours", 1)))


def test_the_global_random_state_has_no_influence() -> None:
    torch.manual_seed(1)
    first = stream().segment(0, 3)
    torch.manual_seed(2)
    assert all(torch.equal(first[name], values) for name, values in stream().segment(0, 3).items())


def test_crops_cover_all_offsets_and_flips_are_even() -> None:
    drawn = stream(num_images=20_000, batch_size=1000).segment(0, 20)
    assert set(drawn["crops"].flatten().tolist()) == set(range(9))
    assert drawn["flips"].float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert not DataStream(50, 8, 0, draws_of(CIFAR10.with_changes({"flip": False}))).segment(0, 6)["flips"].any()


def test_imagenet_draws_the_shorter_side_between_256_and_480() -> None:
    sides = DataStream(5000, 100, 0, draws_of(IMAGENET)).segment(0, 50)["sides"]
    assert (sides.min().item(), sides.max().item()) == (256, 480)


def test_64000_iterations_are_164_passes_over_50000_images() -> None:
    assert pytest.approx(163.84) == 64_000 * 128 / 50_000
    last = DataStream(50_000, 128, 0, {}).segment(63_999, 64_000)["indices"]
    assert last.shape == (1, 128)
