"""Does the signal vanish on its way forward through a deep plain network?

He et al. (Sec. 4.1) say it does not: BN gives every layer's output variance 1, so "neither forward nor backward
signals vanish". Brock et al. (2021, Sec. 2) draw the variance block by block: in a plain network it is the same
everywhere, in a residual network each block adds to it, and so the share of each further block shrinks.

Predict: plain-56 has a variance of 0.34 after its first block. After its ninth? After its last? And ResNet-56?

What to look for: plain networks stay at the theory's line, (1 - 1/pi) / 2 for a ReLU of normally distributed
values. Residual ones climb; where a stage begins, option A's channels of zeros halve the mean over channels, but
nothing resets the sum. The last panel is the variance of a block's last convolution before BN, near 1 - 1/pi in
plain and residual networks alike: BN has to make it 1 again, and the gradient grows by as much on its way back
(gradient_norms). On small images the zeros around them cost a part of it.

    bash run_all.sh signal_propagation

Cost: 2 seconds per network and seed, in addition to the runs shared with fig6_cifar_depth.

Exercise: why does the variance of ResNet-56 drop where a stage begins, if nothing resets the sum?

Solution: option A appends as many channels of zeros as there were channels. The mean over channels halves, the
channels that were there go on as before.
"""

from plain_vs_residual.experiment import Claim, Experiment

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="The signal on its way forward",
    paper="Sec. 4.1; Brock et al. (2021), Sec. 2",
    figures=("signal_propagation",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/signal_propagation.py:signal",),
    measurement="signal_propagation",
    claims=(
        Claim(
            "Before training, the variance at the end of stage 1 is over 1 larger in ResNet-56 than in plain-56",
            contrast={"cifar-residual56-A": 1, "cifar-plain56": -1},
            column="stage1_variance",
            above=1,
            reason="three times the variance that plain networks have",
            primary=True,
        ),
        Claim(
            "In plain-56 it is not smaller than 0.25 there: the signal has not vanished on a third of its way",
            contrast={"cifar-plain56": 1},
            column="stage1_variance",
            above=0.25,
            reason="three quarters of the theory's 0.34; small images lose a part of it at their edges",
        ),
    ),
)
