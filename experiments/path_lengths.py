"""How deep is ResNet-56, seen from the gradient?

Veit et al. (2016, Sec. 5) read a residual network of n blocks as 2^n paths: at each block the gradient comes
back through F or through the shortcut. Half of the blocks is the usual length, but long paths lose more on their
way, so that most of the gradient comes along shorter ones.

Predict: of 27 blocks, the average path passes 13.5 through F. And the average over paths weighted by the gradient
that they carry, before training and after it?

What to look for: on the left the gradient that comes back along one path, by its length: a straight line on the
logarithmic axis is a constant factor per block. On the right that number times the number of paths. The grey line
is the paths alone: what is left of it is what the gradient uses. Paths share weights and inputs, so this is not an
ensemble of independent networks.

    bash run_all.sh path_lengths

Cost: half a minute per network and seed on one core, in addition to the runs shared with fig6_cifar_depth.

Exercise: the gradient along a path shrinks by a factor f per block that it passes through F. Which length has
the path of an average bit of gradient, of 27 blocks? Compute it for f = 0.63 and f = 0.41.

Solution: the share of length k is C(27, k) times f to the power of k, a binomial distribution with p = f / (1 +
f). Its mean is 27 p: 10.4 and 7.9. Measured in trials: 10.9 untrained, 7.8 trained.
"""

from plain_vs_residual.experiment import Claim, Experiment

FAMILY = ("cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="How long the paths are that carry the gradient",
    paper="Veit et al. (2016), Sec. 5",
    figures=("path_lengths",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/path_lengths.py:OnePath",),
    measurement="path_lengths",
    claims=(
        Claim(
            "In trained ResNet-56 the gradient comes along paths shorter than four fifths of the average path",
            contrast={"cifar-residual56-A": 1},
            column="mean_path_share",
            below=0.8,
            reason="a fifth of the average path, which the figure shows",
            primary=True,
        ),
        Claim(
            "Training shortens them (trained minus untrained)",
            contrast={"cifar-residual56-A": 1},
            column="mean_path_share_change",
            below=0,
            reason="any shortening",
        ),
    ),
)
