"""Do gradients of deep plain networks still say anything? Shattered gradients.

Balduzzi et al. (2017) walk along a straight line from one image to another and compare the gradients on the way.
In a plain network the correlation of gradients at nearby points halves with every layer, until they resemble
white noise; in a residual network it falls far more slowly, like 1 over the square root of the depth. These are
gradients by the image, not by the weights.

Predict: two points of the line are 1/64 of it apart. How alike are the gradients there, before training, in 20
and in 56 layers, with and without shortcuts?

What to look for: on the left, before training, plain-56 lies at 0 even for the nearest points, while the
gradients of ResNet-56 are alike over a good part of the line. On the right the same networks after training.

    bash run_all.sh shattered_gradients

Cost: some seconds per network and seed, in addition to the runs shared with fig6_cifar_depth.

Exercise: take two arbitrary images instead of two points of one line. How alike are their gradients, in each of
the four networks?

Solution: not at all, 0.02 at the most in trials, with or without shortcuts. The difference between the networks
is how far the gradient by the image holds around the image where it was taken. SGD follows another one, by the
weights and of a whole batch; whether that one shatters too is not measured here.
"""

from plain_vs_residual.experiment import Claim, Experiment

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="Shattered gradients",
    paper="Balduzzi et al. (2017)",
    figures=("shattered_gradients",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/shattered_gradients.py:gradient_correlations",),
    measurement="shattered_gradients",
    claims=(
        Claim(
            "Before training, gradients at nearby images (1/64 of a line apart) are more alike in ResNet-56 "
            "than in plain-56",
            contrast={"cifar-residual56-A": 1, "cifar-plain56": -1},
            column="gradient_correlation",
            above=0.2,
            reason="a fifth of the correlation of equal gradients, which is 1",
            primary=True,
        ),
        Claim(
            "They are more alike in plain-20 than in plain-56",
            contrast={"cifar-plain20": 1, "cifar-plain56": -1},
            column="gradient_correlation",
            above=0.2,
            reason="as above",
        ),
    ),
)
