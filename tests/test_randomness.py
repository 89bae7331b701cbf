"""Keys of random generators: no two of a planned suite come to the same stream of torch's CPU generator."""

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import nn

from plain_vs_residual.data.stream import draws_of
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.networks import abstract
from plain_vs_residual.plan import Selection
from plain_vs_residual.randomness import keyed_generator, seed_of
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.run import Run
from plain_vs_residual.seminar import lesions, loss_landscape, path_lengths, shattered_gradients
from plain_vs_residual.settings import SETTINGS, Setting
from plain_vs_residual.training.schedule import num_iterations

NUM_TRAINING = {"fashion": 3000, "digits": 1437, "imagenet": 1_281_167}
NUM_TRAINING |= dict.fromkeys(("cifar10", "cifar100", "cifar100-coarse"), 50_000)
RECORDED_SEEDS = range(25)  # those of results/reference, from 0 to 24, and the default ones
Key = tuple[object, ...]


def planned(setting: Setting) -> list[Run]:
    experiments = tuple(one for one in load_experiments().values() if setting.name in one.networks)
    return Selection(experiments, setting, [0]).plan()


def keys_of_networks(runs: list[Run], setting: Setting) -> Iterator[Key]:
    channels, num_classes, *_ = IMAGE_KINDS[setting.data]
    for architecture in {run.architecture for run in runs}:
        network = abstract(architecture, setting, channels=channels, num_classes=num_classes)
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                yield from ((f"{name}.{parameter}",) for parameter, _ in module.named_parameters())
                yield ("orthogonal", name)


def keys_of_data(runs: list[Run], setting: Setting) -> Iterator[Key]:
    num = NUM_TRAINING[setting.data]
    for run in runs:
        consumed = num_iterations(run.setting, num) * run.setting.batch_size
        yield from product(("order", *draws_of(run.setting)), range(-(-consumed // num)))


def keys_of_the_seminar() -> Iterator[Key]:
    yield from [("noise",), ("pairs",), ("plane", 0), ("plane", 1)]
    yield from (("direction", number) for number in range(loss_landscape.DIRECTIONS))
    yield from (("projection", line) for line in range(shattered_gradients.LINES))
    for kind in ("removed", "exchanged"):
        yield from product((kind,), lesions.NUMBERS, range(lesions.DRAWS))
    yield from product(("path",), range(54 + 1), range(path_lengths.DRAWS))


@pytest.mark.parametrize("name", SETTINGS)
def test_no_two_keys_of_a_planned_suite_share_a_stream(name: str) -> None:
    setting, seminar = SETTINGS[name], set(keys_of_the_seminar())
    runs = planned(setting)
    keys = {*keys_of_networks(runs, setting), *keys_of_data(runs, setting), *seminar}
    assert len(keys) > 100 + len(seminar)
    streams: dict[int, Key] = {seed_of(0, "checksum weights") % 2**32: (0, "checksum weights")}
    for key in product(RECORDED_SEEDS, keys):
        full = (key[0], *key[1])
        assert streams.setdefault(seed_of(*full) % 2**32, full) == full


def test_torch_keeps_the_lowest_32_bits_of_a_seed() -> None:
    """Where it comes to keep more, the line in randomness.py is to go, and numbers do not change."""
    low = seed_of(7, "order", 3) % 2**32
    first = torch.randint(0, 2**31, (8,), generator=torch.Generator().manual_seed(low))
    assert torch.equal(first, torch.randint(0, 2**31, (8,), generator=keyed_generator(7, "order", 3)))
