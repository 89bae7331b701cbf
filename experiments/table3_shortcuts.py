"""Shortcut options A, B and C at 34 layers, compared with the plain network (He et al., Table 3).

The paper finds all three options considerably better than the plain network. B (projections where the shape
changes) is slightly better than A (zero padding), and C (projections everywhere) is marginally better than B. The
differences are small, so projections are not essential, and the paper avoids C because of its cost. That is a
claim of equivalence, of two one-sided tests each: neither better nor worse by more than the margin.

Predict: sort A, B, C and no shortcut by training error.

What to look for: compare the distance from plain-34 to any option with the distances between the options. The
table shows what each option costs: parameters, multiply-adds, and the speed measured in these runs.

    bash run_all.sh table3_shortcuts

Cost: about 40 s per seed on 2 cores (`fashion`), in addition to the runs shared with fig4_depth.

Exercise: option C has the most parameters, and in `fashion` the highest training error of the three: 37 % with
C, 29 with B and 26 with A (plain-34: 44). How can that be, and why did the paper not see it?

Solution: with C, no path through the network is without weights: each of the 16 shortcuts is a 1x1 convolution
that begins with drawn weights, so the signal and its gradient are mixed anew in every block, although by shorter
steps than in plain-34. Within 350 iterations that costs more than the parameters give; after the paper's 600,000
on ImageNet, C was ahead of A by 0.8 points.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction

NETWORKS = ("plain34", "residual34-A", "residual34-B", "residual34-C")

EXPERIMENT = Experiment(
    title="Shortcut options A, B and C",
    paper="Table 3",
    figures=("shortcut_options",),
    table=("costs",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short", "imagenet"), NETWORKS),
    claims=(
        Claim(
            "Projections are not essential: the training errors of C, with projections alone, and of A, without "
            "any, are equal but for the margin",
            contrast={"residual34-C": 1, "residual34-A": -1},
            within=MARGINS,
            primary=True,
        ),
        Claim(
            "Those of B and A are equal but for the margin",
            contrast={"residual34-B": 1, "residual34-A": -1},
            within=MARGINS,
        ),
        Claim(
            "Those of C and B are equal but for the margin",
            contrast={"residual34-C": 1, "residual34-B": -1},
            within=MARGINS,
        ),
        Claim(
            "Every option is better than the plain network in training error, even option C",
            contrast={"plain34": 1, "residual34-C": -1},
            above=MARGINS,
        ),
        Claim(
            "B is better than A in validation error",
            contrast={"residual34-A": 1, "residual34-B": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
        Claim(
            "C is better than B in validation error",
            contrast={"residual34-B": 1, "residual34-C": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
    ),
    paper_errors={"plain34": 28.54, "residual34-A": 25.03, "residual34-B": 24.52, "residual34-C": 24.19},
    paper_data="ImageNet, top-1, 10-crop",
    prediction=Prediction(
        "Option C has a projection with weights on every shortcut, option A has none. Where does the training "
        "error of ResNet-34 end with C?",
        claim="Projections are not essential: the training errors of C, with projections alone, and of A, without "
        "any, are equal but for the margin",
        limits=(-2, 2, 20),
        answers=(
            "more than 2 points below that with A",
            "as with A, but for 2 points",
            "2 to 20 points above that with A",
            "more than 20 points above that with A",
        ),
    ),
)
