"""Settings and what is said of them: one that was changed drops what no longer holds, and says what changed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.executors.description import describe
from plain_vs_residual.settings import CIFAR10, CIFAR10_SHORT, DIGITS, FASHION, IMAGENET, SETTINGS, Setting
from plain_vs_residual.settings.publications import PUBLICATIONS

# Written down by hand, so that no default and no setting changes without a second hand that does so on purpose.
SHARED = {
    **{"momentum": 0.9, "weight_decay": 1e-4, "clip_norm": None, "modification": "none", "split": "test"},
    **{"pixel_range": "0..1", "subtract_mean": True, "enlarge_to": None, "probe_iterations": 0},
    **{"norm_batch": None, "warm_up_iterations": 0, "warm_up_depth": 110, "epochs": None, "iterations": None},
}
CIFAR = {
    **{"data": "cifar10", "image_size": 32, "stem": "3x3", "stem_width": 64, "batch_size": 128},
    **{"learning_rate": 0.1, "schedule": "step", "drops": (0.5, 0.75), "warm_up_iterations": 400},
    **{"crop_padding": 4, "flip": True},
}
BY_HAND: dict[str, tuple[dict[str, object], int, float]] = {
    "fashion": (
        {
            **{"data": "fashion", "image_size": 14, "stem": "3x3", "stem_width": 16, "batch_size": 32},
            **{"iterations": 350, "learning_rate": 0.01, "schedule": "linear", "drops": ()},
            **{"crop_padding": 2, "flip": True, "evaluations": 5},
        },
        5,
        2.0,
    ),
    "digits": (
        {
            **{"data": "digits", "image_size": 16, "stem": "3x3", "stem_width": 16, "batch_size": 32},
            **{"epochs": 10, "learning_rate": 0.02, "schedule": "linear", "drops": ()},
            **{"crop_padding": 1, "flip": False, "evaluations": 5},
        },
        3,
        0.5,
    ),
    "cifar10": (CIFAR | {"iterations": 64_000, "evaluations": 20}, 3, 0.5),
    "cifar10-short": (CIFAR | {"iterations": 8_000, "evaluations": 8}, 3, 0.5),
    "cifar100": (CIFAR | {"data": "cifar100", "iterations": 64_000, "evaluations": 20}, 3, 0.5),
    "cifar100-coarse": (CIFAR | {"data": "cifar100-coarse", "iterations": 64_000, "evaluations": 20}, 3, 0.5),
    "imagenet": (
        {
            **{"data": "imagenet", "image_size": 224, "stem": "7x7", "stem_width": 64, "batch_size": 256},
            **{"norm_batch": 32, "epochs": 90, "learning_rate": 0.1, "schedule": "step"},
            **{"drops": (1 / 3, 2 / 3), "crop_padding": 0, "flip": True, "evaluations": 20},
        },
        1,
        0.5,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_number_of_every_setting_is_the_one_that_is_written_here(name: str) -> None:
    recipe, seeds, margin = BY_HAND[name]
    setting = SETTINGS[name]
    expected = SHARED | recipe
    assert {field: getattr(setting, field) for field in expected} == expected
    assert (setting.seeds, setting.margin) == (seeds, margin)
    assert setting.num_ghost_batches == (8 if name == "imagenet" else 1)
    assert setting.input_size == setting.image_size


def test_every_setting_has_its_numbers_written_here() -> None:
    assert BY_HAND.keys() == SETTINGS.keys()


def test_every_setting_is_published_and_every_publication_is_of_a_setting() -> None:
    assert PUBLICATIONS.keys() == SETTINGS.keys()
    for setting in SETTINGS.values():
        assert setting.changed == {}
        assert setting.departures == tuple(one.text for one in setting.publication.departures)
        assert (setting.caveat, setting.expected) == (setting.publication.caveat, setting.publication.expected)


def test_departures_are_about_fields_that_a_setting_has() -> None:
    for publication in PUBLICATIONS.values():
        about = {field for one in publication.departures for field in one.about}
        assert about <= {*Setting.model_fields, "budget"}


# Each sentence, by its beginning, and the fields by whose change it becomes wrong.
SENTENCES = {
    "4,000 images": "images image_size",
    "350 iterations": "budget batch_size learning_rate schedule crop_padding",
    "18/34 have a 3x3": "stem stem_width",
    "1,797 real": "images image_size split",
    "10 epochs": "budget batch_size learning_rate schedule",
    "Shifts of 1 px": "crop_padding flip",
    "110 layers": "warm_up_iterations warm_up_depth",
    "One GPU normalises": "norm_batch",
    "Trained on all": "images split",
    "Pixels scaled": "pixel_range subtract_mean",
    "18/34 are the ImageNet": "stem",
    "CIFAR-100": "images",
    "The learning rate drops": "budget schedule drops",
    "Validation by one": "image_size",
    "The mean and standard": "",
    "BN normalises over 32": "norm_batch batch_size",
    "An eighth": "budget schedule drops",
    "Weights are drawn": "",
    "Weight decay": "weight_decay",
    "Evaluated with": "",
}


def test_every_sentence_becomes_wrong_by_the_fields_that_are_written_here() -> None:
    found = {one for publication in PUBLICATIONS.values() for one in publication.departures}
    begun = {start: [one for one in found if one.text.startswith(start)] for start in SENTENCES}
    assert {start: [set(one.about) for one in ones] for start, ones in begun.items()} == {
        start: [set(fields.split())] for start, fields in SENTENCES.items()
    }
    assert len(found) == len(SENTENCES)


def test_a_trial_says_its_own_budget_and_not_the_settings() -> None:
    trial = DIGITS.with_changes({"iterations": 8, "evaluations": 1})
    assert trial.caveat == "8 iterations instead of 10 epochs"
    assert trial.departures[-1] == "Changed: budget 8 iterations instead of 10 epochs."
    told = " ".join([trial.expected, *trial.departures[:-1]])
    assert "epochs" not in told
    assert "1,797" in told  # the images are still these
    assert CIFAR10.with_changes({"iterations": 500}).caveat == "500 iterations instead of 64,000 iterations"


def test_other_images_take_the_place_of_the_words_about_the_settings_own() -> None:
    own = DIGITS.with_changes({"images": "mixed"})
    assert "1,797" not in " ".join(own.departures)
    assert own.departures[-1] == (
        "Changed: images mixed, in colour and scaled to 16 px instead of digits (scikit-learn)."
    )
    assert own.caveat == DIGITS.caveat
    assert own.margin_reason == "it was chosen for digits (scikit-learn), not for these images"
    assert own.recipe() == DIGITS.recipe()


@pytest.mark.parametrize(
    ("setting", "changes", "gone", "said"),
    [
        (FASHION, {"learning_rate": 0.1}, "350 iterations", "learning rate 0.1 instead of 0.01"),
        (FASHION, {"batch_size": 64}, "350 iterations", "batch size 64 instead of 32"),
        (FASHION, {"schedule": "plateau"}, "350 iterations", "schedule plateau instead of linear"),
        (FASHION, {"crop_padding": 4}, "350 iterations", "crop padding 4 instead of 2"),
        (FASHION, {"stem_width": 8}, "widths 16 to 128", "stem width 8 instead of 16"),
        (DIGITS, {"batch_size": 64}, "10 epochs", "batch size 64 instead of 32"),
        (DIGITS, {"flip": True}, "a mirrored digit", "flip True instead of False"),
        (DIGITS, {"crop_padding": 2}, "a mirrored digit", "crop padding 2 instead of 1"),
        (CIFAR10, {"split": "45k/5k"}, "nothing is selected", "split 45k/5k instead of test"),
        (CIFAR10, {"clip_norm": 1.0}, "no sentence", "clip norm 1.0 instead of none"),
        (IMAGENET, {"drops": (0.5,)}, "30 and 60 of 90", "drops 0.5 instead of 0.333333, 0.666667"),
    ],
)
def test_what_no_longer_holds_is_dropped(
    setting: Setting, changes: dict[str, object], gone: str, said: str
) -> None:
    changed = setting.with_changes(changes)
    *held, last = changed.departures
    assert last == f"Changed: {said}."
    assert gone not in " ".join(held)
    assert held == [text for text in setting.departures if gone not in text]
    assert changed.expected == ""


def test_a_setting_made_of_another_inherits_its_recipe_and_not_its_words() -> None:
    mine = DIGITS.with_changes({"name": "mine", "iterations": 8})
    assert (mine.caveat, mine.expected, mine.departures) == ("", "", ())
    assert CIFAR10_SHORT.caveat == "short: 8,000 of 64,000 iterations"


def test_a_run_on_other_images_records_no_words_about_the_settings_own(
    make_suite: Any, tiny_setting: Setting, image_folder: Path
) -> None:
    suite = make_suite("plain18", dataset=load_dataset(tiny_setting, image_folder))
    (job,) = suite.plan()
    described = describe(job, suite.dataset_of(job), torch.device("cpu"))
    assert "1,797" not in " ".join(described.departures)
    assert (
        "images images, in colour and scaled to 8 px instead of digits (scikit-learn)" in described.departures[-1]
    )
