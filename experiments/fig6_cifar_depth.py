"""The CIFAR family of 6n+2 layers, plain against residual (He et al., Figs. 1 and 6, Table 6).

The paper finds that plain networks of 20 to 56 layers get worse with depth, even on the training set, and that
plain-110 fails altogether (error above 60 %). Residual networks of the same depths, with exactly the same number
of parameters (option A), get better up to 110 layers.

Predict: how does the training error of a plain network change from 20 to 32, 44 and 56 layers? That of a
residual one?

What to look for: on the left (plain), the bold training curves of deeper networks end higher; on the right
(residual), they do not. On `fashion` the family ends at 56 layers, and on `digits` only the two depths of Fig. 1
are trained, 20 and 56.

    bash run_all.sh fig6_cifar_depth

Cost: about 2 minutes per seed on 2 cores (`fashion`).

Exercise: with `bash run_all.sh describe NETWORK`, compare the parameters of plain-56, of ResNet-56
with option A, and with option B (cifar-plain56, cifar-residual56-A, cifar-residual56-B). Why does the paper use
A here?

Solution: for CIFAR-10, plain-56 and ResNet-56 A have 853,018 parameters each, option B has 2,752 more: two 1x1
convolutions, with their BN. With A a pair differs in nothing but the additions, so that nobody can say that the
residual network was better because it was larger.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction

DEPTHS = (20, 32, 44, 56, 110)
FAMILY = tuple(name for depth in DEPTHS for name in (f"cifar-plain{depth}", f"cifar-residual{depth}-A"))

EXPERIMENT = Experiment(
    title="The CIFAR family: 20 to 110 layers, plain vs residual",
    paper="Figs. 1 and 6, Table 6",
    figures=("cifar_curves", "training_and_test", "final_errors"),
    networks={
        "fashion": FAMILY[:-2],
        "digits": ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A"),
        "cifar10": FAMILY,
        "cifar10-short": FAMILY,
        "cifar100": FAMILY,
        "cifar100-coarse": FAMILY,
    },
    claims=(
        Claim(
            "Depth raises the training error of plain networks more than that of residual ones "
            "(56 against 20 layers)",
            contrast={
                "cifar-plain56": 1,
                "cifar-plain20": -1,
                "cifar-residual56-A": -1,
                "cifar-residual20-A": 1,
            },
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "Degradation: plain-56 has a higher training error than plain-20",
            contrast={"cifar-plain56": 1, "cifar-plain20": -1},
            above=MARGINS,
        ),
        Claim(
            "No degradation: the training error of ResNet-56 does not exceed that of ResNet-20",
            contrast={"cifar-residual56-A": 1, "cifar-residual20-A": -1},
            below=MARGINS,
        ),
        Claim(
            "ResNet-56 has a lower validation error than plain-56",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="validation_error",
            above=MARGINS,
        ),
        Claim(
            "Deeper is better: ResNet-56 has a lower validation error than ResNet-20",
            contrast={"cifar-residual20-A": 1, "cifar-residual56-A": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
        Claim(
            "ResNet-110 has a lower validation error than ResNet-20",
            contrast={"cifar-residual20-A": 1, "cifar-residual110-A": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
        Claim(
            "Plain-110 fails: its validation error is above 60 %",
            contrast={"cifar-plain110": 1},
            column="validation_error",
            above=60.0,
            reason="the paper's number",
            settings=("cifar10", "cifar10-short"),
        ),
    ),
    paper_errors={
        "cifar-residual20-A": 8.75,
        "cifar-residual32-A": 7.51,
        "cifar-residual44-A": 7.17,
        "cifar-residual56-A": 6.97,
        "cifar-residual110-A": 6.43,
    },
    paper_data="CIFAR-10",
    prediction=Prediction(
        "Plain networks of 20 and of 56 layers: where does the training error of the deeper one end?",
        claim="Degradation: plain-56 has a higher training error than plain-20",
        limits=(0, 2, 20),
        answers=(
            "below that of plain-20",
            "at most 2 points above it",
            "2 to 20 points above it",
            "more than 20 points above it",
        ),
    ),
)
