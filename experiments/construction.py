"""The paper's thought experiment, run: build the solution that depth should not be able to miss, and train on.

He et al. (Sec. 1): "There exists a solution by construction to the deeper model: the added layers are identity
mapping, and the other layers are copied from the learned shallower model." So a deeper model should not have a
higher training error. Here plain-56 is built from a trained plain-20: six blocks are added at the end of each
stage, whose convolutions pass every channel on and whose BN layers undo themselves. It computes what plain-20
computes.

Predict: the recipe starts again from there. Does plain-56 keep the error that it was given?

What to look for: on the left the training error of plain-56, from what it was given (the dot at iteration 0) to
the end of the recipe. Plain-20 itself trains on beside it, because the restart at the full learning rate hurts by
itself. On the right ResNet-56, built from ResNet-20 likewise: there, an added block is an identity as soon as its
last BN scales F(x) to 0. A grown network has had two trainings: dashed is its control, plain-56 from drawn
weights, trained as long as one and as long as both together. What the grown one is ahead by is owed to where it
began, and not to shortcuts, which neither has. In the second figure, the same at a tenth of the rate; and before
training, the identities mixed with what would have been drawn in their place: how wide is the valley that the
solution lies in?

    bash run_all.sh construction

Cost: seven runs per seed, 2 minutes on 2 cores (`fashion`), in addition to those shared with fig6_cifar_depth.

Exercise: in make_identity_of_plain, leave BN's scale at 1 and its shift at 0, with mean 0 and variance 1 as
running statistics. What does the built plain-56 err by running statistics, and what in the first step of
training?

Solution: by running statistics nothing changes, since BN then passes on what it gets. In training it normalises
by the batch: in trials on `digits` 17 to 20 % were wrong, instead of under 1 %. The first step would start
elsewhere.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction, Study
from plain_vs_residual.settings import SETTINGS

SHALLOW = ("cifar-plain20", "cifar-residual20-A")
DEEP = ("cifar-plain56", "cifar-residual56-A")
PLAIN = {"cifar-plain20": "cifar-plain20", "cifar-plain56": "cifar-plain20"}
RESIDUAL = {"cifar-residual20-A": "cifar-residual20-A", "cifar-residual56-A": "cifar-residual20-A"}
KEPT_SLOWLY = "whether the construction is kept at a tenth of the rate"
TWICE = "as many iterations as plain-20 and the network that is grown from it have together"
WHERE = ("fashion", "digits", "cifar10", "cifar10-short")


def _twice(setting: str) -> dict[str, int]:
    budget = "epochs" if SETTINGS[setting].iterations is None else "iterations"
    return {budget: 2 * getattr(SETTINGS[setting], budget)}


EXPERIMENT = Experiment(
    title="The solution by construction",
    paper="Sec. 1 and 3.1",
    figures=("construction", "construction_valley"),
    networks=dict.fromkeys(WHERE, (*SHALLOW, *DEEP)),
    studies={
        setting: (
            Study(),
            Study(
                "grown", grown_from=PLAIN | RESIDUAL, reason="networks that are grown from trained shallower ones"
            ),
            Study(
                "grown-slow",
                {"learning_rate": SETTINGS[setting].learning_rate / 10},
                reason=KEPT_SLOWLY,
                networks=tuple(PLAIN),
                grown_from=PLAIN,
            ),
            Study("twice", _twice(setting), reason=TWICE, networks=("cifar-plain56",)),
        )
        for setting in WHERE
    },
    seminar=True,
    code=("growth.py:make_identity_of_plain", "growth.py:make_identity_of_residual"),
    measurement="construction",
    claims=(
        Claim(
            "Plain-56 does not keep the error that it was given: trained on, it ends above plain-20 trained on",
            contrast={"cifar-plain56@grown": 1, "cifar-plain20@grown": -1},
            column="training_error",
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "Before that, plain-56 as built errs as trained plain-20 does, but for a tenth of a point",
            contrast={"cifar-plain56@grown": 1, "cifar-plain20": -1},
            column="error_as_built",
            below=0.1,
            reason="it computes the same; an image or two may fall on the other side by rounding",
        ),
        Claim(
            "On its way it loses the solution: at its worst it errs over 5 points more than plain-20 trained on",
            contrast={"cifar-plain56@grown": 1, "cifar-plain20@grown": -1},
            column="worst_training_error",
            above=5,
            reason="five times what plain-20 differs by between two trial seeds",
        ),
        Claim(
            "Even so it is a better start than drawn weights: plain-56 from scratch ends higher",
            contrast={"cifar-plain56": 1, "cifar-plain56@grown": -1},
            column="training_error",
            above=MARGINS,
        ),
        Claim(
            "So it does with as many iterations as both trainings of the grown one",
            contrast={"cifar-plain56@twice": 1, "cifar-plain56@grown": -1},
            column="training_error",
            above=MARGINS,
        ),
        Claim(
            "ResNet-56 keeps what it was given: trained on, it ends less than the margin above ResNet-20",
            contrast={"cifar-residual56-A@grown": 1, "cifar-residual20-A@grown": -1},
            column="training_error",
            below=MARGINS,
        ),
    ),
    prediction=Prediction(
        "Plain-56 is built so that it computes what trained plain-20 computes. Both train on. Where does plain-56 "
        "end, against plain-20?",
        claim="Plain-56 does not keep the error that it was given: trained on, it ends above plain-20 trained on",
        limits=(-2, 2, 20),
        answers=(
            "more than 2 points below it: depth pays at last",
            "where plain-20 ends, but for 2 points",
            "2 to 20 points above it",
            "more than 20 points above it",
        ),
    ),
)
