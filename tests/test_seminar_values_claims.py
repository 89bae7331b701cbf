"""The seminar's claims: each sentence is true of the numbers it is told of here, and false of the others."""

import pytest

from plain_vs_residual.evidence.measurement import beyond
from plain_vs_residual.experiment import load_experiments

EXPERIMENTS = {name: experiment for name, experiment in load_experiments().items() if experiment.seminar}
PLAIN, SHALLOW = "cifar-plain56", "cifar-plain20"
RESIDUAL, SHALLOW_RESIDUAL = "cifar-residual56-A", "cifar-residual20-A"
CURES = ("warm-up", "clipped", "delta-orthogonal", "dirac", "looks-linear")
ABLATIONS = ("zero-gamma", "pre-activation", "skip-init")
# By experiment and place of the claim in fashion: the column; numbers of which the sentence is true,
# and numbers of the same members of which it is not. The margin of errors is 2 points.
Numbers = dict[str, float]
TWICE = f"{PLAIN}@twice"
GROWN = (f"{PLAIN}@grown", f"{SHALLOW}@grown")
# Studies of plain-56 and ResNet-56 under an optimizer: each at its best rate.
MUON, ADAMW = ("muon-lr0.1", "muon-lr0.01"), ("adamw-lr0.003", "adamw-lr0.003")
TOLD: dict[tuple[str, int], tuple[str, Numbers, Numbers]] = {
    ("construction", 0): ("training_error", {GROWN[0]: 30, GROWN[1]: 20}, {GROWN[0]: 21, GROWN[1]: 20}),
    ("construction", 1): ("error_as_built", {GROWN[0]: 20.05, SHALLOW: 20}, {GROWN[0]: 20.2, SHALLOW: 20}),
    ("construction", 2): ("worst_training_error", {GROWN[0]: 60, GROWN[1]: 50}, {GROWN[0]: 54, GROWN[1]: 50}),
    ("construction", 3): ("training_error", {PLAIN: 50, GROWN[0]: 30}, {PLAIN: 30, GROWN[0]: 50}),
    ("construction", 4): ("training_error", {TWICE: 50, GROWN[0]: 30}, {TWICE: 30, GROWN[0]: 50}),
    ("construction", 5): (
        "training_error",
        {f"{RESIDUAL}@grown": 21, f"{SHALLOW_RESIDUAL}@grown": 20},
        {f"{RESIDUAL}@grown": 23, f"{SHALLOW_RESIDUAL}@grown": 20},
    ),
    # The gap is from 20 to 50, so that half of it is closed at 35.
    **{
        ("cures", place): (
            "running_training_error",
            {PLAIN: 50, RESIDUAL: 20, f"{PLAIN}@{cure}": 34},
            {PLAIN: 50, RESIDUAL: 20, f"{PLAIN}@{cure}": 36},
        )
        for place, cure in enumerate(CURES)
    },
    **{
        ("cures", place): (
            "running_training_error",
            {RESIDUAL: 20, f"{RESIDUAL}@{ablation}": 21},
            {RESIDUAL: 20, f"{RESIDUAL}@{ablation}": 23},
        )
        for place, ablation in enumerate(ABLATIONS, start=len(CURES))
    },
    ("folding", 0): (
        "folded_training_error",
        {PLAIN: 77, f"{PLAIN}@foldable": 27},
        {PLAIN: 28, f"{PLAIN}@foldable": 27},
    ),
    ("folding", 1): ("folded_logit_difference", {f"{PLAIN}@foldable": 2e-5}, {f"{PLAIN}@foldable": 2e-4}),
    ("folding", 2): (
        "folded_training_error",
        {f"{PLAIN}@foldable": 27, RESIDUAL: 28},
        {f"{PLAIN}@foldable": 24, RESIDUAL: 27},
    ),
    ("gradient_norms", 0): ("log10_gradient_ratio", {PLAIN: 3, RESIDUAL: 1}, {PLAIN: 1.5, RESIDUAL: 1}),
    ("gradient_norms", 1): ("gradient_growth_in_stage_1", {PLAIN: 1.2}, {PLAIN: 1.1}),
    ("gradient_norms", 2): ("log10_gradient_ratio_at_iteration_10", {PLAIN: 0.3}, {PLAIN: 3}),
    # At each one's best rate plain networks lose 30 points with depth, and residual ones 1, or 29.
    ("learning_rate_and_depth", 0): (
        "running_training_error",
        {
            f"{PLAIN}@lr0.01": 50,
            f"{SHALLOW}@lr0.05": 20,
            f"{RESIDUAL}@lr0.02": 22,
            f"{SHALLOW_RESIDUAL}@lr0.05": 21,
        },
        {
            f"{PLAIN}@lr0.01": 50,
            f"{SHALLOW}@lr0.05": 20,
            f"{RESIDUAL}@lr0.02": 50,
            f"{SHALLOW_RESIDUAL}@lr0.05": 21,
        },
    ),
    ("learning_rate_and_depth", 1): (
        "running_training_error",
        {f"{PLAIN}@lr0.01": 50, f"{SHALLOW}@lr0.05": 20},
        {f"{PLAIN}@lr0.01": 20, f"{SHALLOW}@lr0.05": 50},
    ),
    ("lesions", 0): (
        "lesion_share",
        {SHALLOW: 0.8, SHALLOW_RESIDUAL: 0.2},
        {SHALLOW: 0.4, SHALLOW_RESIDUAL: 0.2},
    ),
    ("lesions", 1): (
        "lesion_share_estimated",
        {SHALLOW: 0.8, SHALLOW_RESIDUAL: 0.2},
        {SHALLOW: 0.4, SHALLOW_RESIDUAL: 0.2},
    ),
    ("lesions", 2): ("lesion_median", {RESIDUAL: 0.5}, {RESIDUAL: 3}),
    ("loss_landscape", 0): ("rise", {PLAIN: 0.5, RESIDUAL: 0.1}, {PLAIN: 0.1, RESIDUAL: 0.5}),
    ("loss_landscape", 1): ("rise_estimated", {PLAIN: 0.5, RESIDUAL: 0.1}, {PLAIN: 0.1, RESIDUAL: 0.5}),
    # ResNet-56 as it is errs 30; each of the sentences has a margin of 2 points.
    ("optimizers", 0): (
        "running_training_error",
        {f"{PLAIN}@{MUON[0]}": 50, f"{RESIDUAL}@{MUON[1]}": 30},
        {f"{PLAIN}@{MUON[0]}": 31, f"{RESIDUAL}@{MUON[1]}": 30},
    ),
    ("optimizers", 1): (
        "running_training_error",
        {f"{PLAIN}@{ADAMW[0]}": 50, f"{RESIDUAL}@{ADAMW[1]}": 30},
        {f"{PLAIN}@{ADAMW[0]}": 30, f"{RESIDUAL}@{ADAMW[1]}": 50},
    ),
    ("optimizers", 2): ("running_training_error", {PLAIN: 70, RESIDUAL: 30}, {PLAIN: 31, RESIDUAL: 30}),
    ("scaled_branches", 0): (
        "running_training_error",
        {f"{RESIDUAL}@lr0.05": 37, f"{RESIDUAL}@scaled-lr0.05": 28},
        {f"{RESIDUAL}@lr0.05": 37, f"{RESIDUAL}@scaled-lr0.05": 36},
    ),
    ("scaled_branches", 1): (
        "running_training_error",
        {f"{RESIDUAL}@scaled-lr0.05": 28, f"{SHALLOW_RESIDUAL}@scaled-lr0.05": 28},
        {f"{RESIDUAL}@scaled-lr0.05": 31, f"{SHALLOW_RESIDUAL}@scaled-lr0.05": 28},
    ),
    ("scaled_branches", 2): (
        "running_training_error",
        {f"{SHALLOW_RESIDUAL}@scaled-lr0.05": 28, f"{SHALLOW_RESIDUAL}@lr0.05": 27},
        {f"{SHALLOW_RESIDUAL}@scaled-lr0.05": 30, f"{SHALLOW_RESIDUAL}@lr0.05": 27},
    ),
    **{
        ("shortcut_scale", place): (
            "running_training_error",
            {f"{RESIDUAL}@shortcut-{factor}": 33, RESIDUAL: 30},
            {f"{RESIDUAL}@shortcut-{factor}": 31, RESIDUAL: 30},
        )
        for place, factor in enumerate(("0.5", "0.9"))
    },
    **{
        ("shortcut_scale", place): (
            "running_training_error",
            {f"{RESIDUAL}@{kind}-streams": 31, RESIDUAL: 30},
            {f"{RESIDUAL}@{kind}-streams": 33, RESIDUAL: 30},
        )
        for place, kind in enumerate(("doubly-stochastic", "free"), start=2)
    },
    ("shortcut_scale", 4): (
        "largest_shortcut_gain",
        {f"{RESIDUAL}@free-streams": 2},
        {f"{RESIDUAL}@free-streams": 1},
    ),
    ("shortcut_scale", 5): (
        "largest_shortcut_gain",
        {f"{RESIDUAL}@doubly-stochastic-streams": 1.001},
        {f"{RESIDUAL}@doubly-stochastic-streams": 1.2},
    ),
    # The gap is from 20 to 50, so that half of it is closed at 35.
    ("tailored_activations", 0): (
        "running_training_error",
        {PLAIN: 50, f"{PLAIN}@tailored": 40},
        {PLAIN: 41, f"{PLAIN}@tailored": 40},
    ),
    ("tailored_activations", 1): (
        "running_training_error",
        {PLAIN: 50, RESIDUAL: 20, f"{PLAIN}@tailored": 34},
        {PLAIN: 50, RESIDUAL: 20, f"{PLAIN}@tailored": 36},
    ),
    ("tailored_activations", 2): (
        "running_training_error",
        {f"{PLAIN}@tailored": 40, RESIDUAL: 20},
        {f"{PLAIN}@tailored": 21, RESIDUAL: 20},
    ),
    ("path_lengths", 0): ("mean_path_share", {RESIDUAL: 0.7}, {RESIDUAL: 0.9}),
    ("path_lengths", 1): ("mean_path_share_change", {RESIDUAL: -0.1}, {RESIDUAL: 0.1}),
    ("residual_functions", 0): ("ratio_change_estimated", {RESIDUAL: -0.1}, {RESIDUAL: 0.1}),
    ("residual_functions", 1): ("ratio_change", {RESIDUAL: -0.1}, {RESIDUAL: 0.1}),
    ("residual_functions", 2): ("ratio_change_estimated", {f"{RESIDUAL}@lr0.1": 0.1}, {f"{RESIDUAL}@lr0.1": -0.1}),
    ("shattered_gradients", 0): ("gradient_correlation", {RESIDUAL: 0.7, PLAIN: 0}, {RESIDUAL: 0, PLAIN: 0.7}),
    ("shattered_gradients", 1): ("gradient_correlation", {SHALLOW: 0.4, PLAIN: 0}, {SHALLOW: 0, PLAIN: 0.4}),
    ("signal_propagation", 0): ("stage1_variance", {RESIDUAL: 3, PLAIN: 0.3}, {RESIDUAL: 1, PLAIN: 0.3}),
    ("signal_propagation", 1): ("stage1_variance", {PLAIN: 0.3}, {PLAIN: 0.2}),
}
CLAIMS = {
    (name, place): claim
    for name, experiment in EXPERIMENTS.items()
    for place, claim in enumerate(experiment.claims_in("fashion"))
}


def test_every_claim_of_the_seminar_is_told_of() -> None:
    assert set(TOLD) == set(CLAIMS)


@pytest.mark.parametrize(("experiment", "place"), TOLD)
def test_a_claim_holds_where_its_sentence_is_true_and_nowhere_else(experiment: str, place: int) -> None:
    claim = CLAIMS[experiment, place]
    column, *cases = TOLD[experiment, place]
    assert claim.column == column
    for numbers, true in zip(cases, (True, False), strict=True):
        assert set(numbers) == set(claim.contrast)
        value = sum(weight * numbers[member] for member, weight in claim.contrast.items())
        margin = claim.margin_in("fashion")
        assert (beyond(claim.side, value, margin) > 0) is true, claim.statement


@pytest.mark.parametrize("setting", ["fashion", "digits", "cifar10", "cifar10-short"])
def test_best_rates_are_rates_that_were_tried_and_each_setting_has_its_own(setting: str) -> None:
    experiment = EXPERIMENTS["learning_rate_and_depth"]
    rates = {study.name: study.changes["learning_rate"] for study in experiment.studies[setting]}
    assert all(name == f"lr{rate}" for name, rate in rates.items())
    depth, plain = experiment.claims_in(setting)
    best = dict(member.split("@") for member in depth.contrast)
    assert set(best) == {PLAIN, SHALLOW, RESIDUAL, SHALLOW_RESIDUAL}
    assert set(best.values()) <= set(rates)
    assert dict(plain.contrast) == {f"{PLAIN}@{best[PLAIN]}": 1, f"{SHALLOW}@{best[SHALLOW]}": -1}
    signs = {member.partition("@")[0]: weight for member, weight in depth.contrast.items()}
    assert signs == {PLAIN: 1, SHALLOW: -1, RESIDUAL: -1, SHALLOW_RESIDUAL: 1}


def test_each_cure_changes_what_its_name_says() -> None:
    studies = {study.name: study for study in EXPERIMENTS["cures"].studies["fashion"] if study.name}
    assert set(studies) == {*CURES, *ABLATIONS}
    for name, study in studies.items():
        assert study.networks == ((PLAIN,) if name in CURES else (RESIDUAL,))
        if name not in ("warm-up", "clipped"):
            assert study.changes["modification"] == name
    # One epoch of 4,000 images, less the 1,000 that are not trained on, in batches of 32.
    assert studies["warm-up"].changes == {"warm_up_iterations": 94, "warm_up_depth": 0, "learning_rate": 0.1}
    assert set(studies["clipped"].changes) == {"clip_norm", "learning_rate"}
    # In fashion each has a rate of its own, the best of those that were tried on trial seeds.
    assert all("learning_rate" in study.changes for study in studies.values())
