"""Why do deep plain networks train so slowly? The gradient, layer by layer.

He et al. (Sec. 4.1) argue that vanishing gradients are not the reason: BN keeps them healthy. Yang et al. (2019)
show that BN and ReLU make the gradient of a plain network grow by a constant factor per layer towards the input,
up to 1.21 in wide networks, and that the shortcut takes most of that away.

Predict: by which factor is the gradient of the second layer larger than that of the last one, in 20 and in 56
layers? And after ten iterations?

What to look for: at initialisation the line of plain-56 is straight on a logarithmic axis, which means
exponential growth: about three powers of ten, where ResNet-56 has one at most. The first steps throw its early
layers far away, and soon their gradients are among the smallest (middle, right): the smallest of all in some
seeds, in others those of a layer further on. BN explains a part: it makes the output independent of the size of
the weights, so that weights ten times as long have gradients a tenth as large. In these runs that is the smaller
part: the first 3x3 layer's weights became some ten times as long, its gradient 400 to 5,400 times as small, by
seed. The lengths are among the measured numbers (``weights`` in
gradient_norms.csv of each run): take them out, and ask what is left.

    bash run_all.sh gradient_norms

Cost: 20 seconds per network and seed (`fashion`, one core), in addition to the runs shared with
fig6_cifar_depth: every run is trained once more, to look at it from outside.

Exercise: the gradient at the outputs grows by about 1.20, 1.16 and 1.13 per layer in the three stages of
plain-56, each of 18 layers. How much larger is the gradient of the second layer than that of the last one?

Solution: 1.20, 1.16 and 1.13 to the power of 17 are 22, 12 and 8; their product is 2,200. Measured at the
weights, in trials, it was 500 to 1,640: the shapes differ between stages, so that only the order of magnitude
carries over.
"""

from plain_vs_residual.experiment import Claim, Experiment, Prediction

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="The gradient, layer by layer",
    paper="Sec. 4.1; Yang et al. (2019)",
    figures=("gradient_norms",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/gradient_norms.py:growth_per_layer",),
    measurement="gradient_norms",
    claims=(
        Claim(
            "Before training, the gradient grows towards the input ten times as much in plain-56 as in ResNet-56",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="log10_gradient_ratio",
            above=1,
            reason="a factor of ten, a decade of the logarithmic axis",
            primary=True,
        ),
        Claim(
            "In plain-56 it grows by more than 15 % per layer of stage 1; theory says up to 21 % in wide networks",
            contrast={"cifar-plain56": 1},
            column="gradient_growth_in_stage_1",
            above=1.15,
            reason="three quarters of the theory's 21 %; small images lose a part of it at their edges",
        ),
        Claim(
            "After ten iterations little of that is left in plain-56 (a ratio under 3.2)",
            contrast={"cifar-plain56": 1},
            column="log10_gradient_ratio_at_iteration_10",
            below=0.5,
            reason="half a decade",
        ),
    ),
    prediction=Prediction(
        "Before training: the gradient of the second layer over that of the last one. How many times as large is "
        "this ratio in plain-56 as in ResNet-56?",
        claim="Before training, the gradient grows towards the input ten times as much in plain-56 as in "
        "ResNet-56",
        limits=(0, 1, 3),
        answers=("less than once", "1 to 10 times", "10 to 1,000 times", "more than 1,000 times"),
    ),
)
