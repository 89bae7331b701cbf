"""Take out one block of a trained network. What is left?

Veit et al. (2016, Sec. 4) deleted single blocks of trained networks: VGG then guesses, while ResNet-110 hardly
errs more. A shortcut leaves 2^n paths through n blocks, and one block less cuts only half of them; a plain
network has one path, and it passes every block.

Predict: ResNet-20 loses one of its nine blocks. Does it err 1, 10 or 60 percent? And plain-20?

What to look for: a stem per block that was taken out, up from the error with all blocks (dashed). Plain-20 errs
most of the time, whichever it loses; but it erred a third to a half of the time before, and nobody errs more than
by guessing (dashed, too). The claims therefore measure the rise against what was left to lose: (error - intact) /
(chance - intact). Here BN normalises the rest by running statistics (E) of the whole network, which were not made
for it; in the second figure, lower row, they were estimated anew (R) on training images, which heals most of what
residual networks lost. Plain blocks that change the shape cannot be taken out, so that its median is over seven
blocks and that of ResNet-20 over nine; and plain-56 errs so much intact that it shows nothing: ResNet-56 is here
for the comparison of 9 with 27 blocks.

    bash run_all.sh lesions

Cost: under a minute per network and seed on one core, in addition to the runs shared with fig6_cifar_depth.

Exercise: which blocks of ResNet-56 cost most when they are gone, and why these? Look at residual_functions, left
panel, and at signal_propagation before you answer.

Solution: the first ones. There x is still small, and F(x) is as large as x or larger; further on x has
accumulated, and one more F(x) is a small part of it.
"""

from plain_vs_residual.experiment import Claim, Experiment, Prediction

FAMILY = ("cifar-plain20", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="Lesions: a trained network without some of its blocks",
    paper="Veit et al. (2016), Sec. 4",
    figures=("lesions", "further_lesions"),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/lesions.py:without",),
    measurement="lesions",
    claims=(
        Claim(
            "Without one of its blocks plain-20 loses over a quarter more of what it can than ResNet-20 does "
            "(rise of the error over its distance from guessing, median over blocks)",
            contrast={"cifar-plain20": 1, "cifar-residual20-A": -1},
            column="lesion_share",
            above=0.25,
            reason="a quarter of the way from the intact network to guessing is seen without a ruler",
            primary=True,
        ),
        Claim(
            "So it does where the statistics of BN are estimated anew after the block is gone",
            contrast={"cifar-plain20": 1, "cifar-residual20-A": -1},
            column="lesion_share_estimated",
            above=0.25,
            reason="as with running statistics",
        ),
        Claim(
            "Without one of its 27 blocks ResNet-56 errs no more than a point more than before",
            contrast={"cifar-residual56-A": 1},
            column="lesion_median",
            below=1,
            reason="Veit et al. see next to nothing; one point is half of the margin of errors in `fashion`",
        ),
    ),
    prediction=Prediction(
        "After training, plain-20 and ResNet-20 lose one block, each that can be taken out in turn. Which of them "
        "moves farther from its own error towards guessing (median over blocks)?",
        claim="Without one of its blocks plain-20 loses over a quarter more of what it can than ResNet-20 does "
        "(rise of the error over its distance from guessing, median over blocks)",
        limits=(-0.25, 0.25, 0.75),
        answers=(
            "ResNet-20, by over a quarter of the way",
            "both alike, but for a quarter of the way",
            "plain-20, by a quarter to three quarters",
            "plain-20, by more: it guesses, and ResNet-20 hardly errs more",
        ),
    ),
)
