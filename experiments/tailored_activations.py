"""A plain-56 that trains without shortcuts and without BN: the slope of its leaky ReLU is chosen for its depth.

In a deep ReLU network with random weights any two images look more alike from layer to layer. The cosine between
them follows a law, the C map: from 0 (nothing in common) it rises to 0.32 behind one layer and to 0.99 behind 55,
and the last layers cannot tell images apart. A leaky ReLU bends less, and its cosine rises more slowly. Zhang et
al. (2022) choose the slope for the depth: the one at which 0 becomes 0.9 and no more. For 55 layers it is 0.452.

Predict: this plain-56 has biases instead of BN, orthogonal weights, no shortcut. Does it train as badly as
plain-56 with BN, as well as ResNet-56, or half way between?

What to look for: three columns, a dot per seed. The one in the middle has neither of the two things that are said
to make deep networks trainable, and still trains better than the left one: depth as such is no obstacle, and what
an image has become after 55 layers is one. It does not reach the right one.

    bash run_all.sh tailored_activations

Its learning rate is its own, the best of trials (docs/choices.md), as plain-56 and ResNet-56 have theirs.
Elsewhere than in `fashion` nothing was tried.

Cost: one run per seed, half a minute on one core (`fashion`), in addition to those shared with fig6_cifar_depth.

Exercise: what slope would 1 be? And why not take 0.9, whatever the depth?

Solution: with a slope of 1 the network is linear: cosines stay as they are, and depth buys nothing. Near that it
is nearly linear. The tailored slope spends on each layer as much bending as the depth allows, and no more.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
TAILORED = f"{PLAIN}@tailored"
# The best of trials in fashion, which the others are given as well.
RATES = dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), 0.005)


EXPERIMENT = Experiment(
    title="Tailored activations: plain-56 without BN and without shortcuts",
    paper="Sec. 4.1; Zhang et al. (2022), TAT",
    figures=("tailored_activations",),
    networks=dict.fromkeys(RATES, (PLAIN, RESIDUAL)),
    studies={
        setting: (
            Study(),
            Study(
                "tailored",
                {"modification": "tailored", "learning_rate": rate},
                reason="leaky ReLU tailored to the depth, no BN",
                networks=(PLAIN,),
            ),
        )
        for setting, rate in RATES.items()
    },
    seminar=True,
    code=("tailored.py:cosine_after", "tailored.py:slope_for", "tailored.py:TailoredBlock"),
    claims=(
        Claim(
            "Plain-56 with tailored activations and without BN errs less than plain-56 with BN",
            contrast={PLAIN: 1, TAILORED: -1},
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "It closes half of the gap between plain-56 and ResNet-56",
            contrast={PLAIN: 0.5, RESIDUAL: 0.5, TAILORED: -1},
            above=0,
            reason="half of the gap",
        ),
        Claim(
            "ResNet-56 errs less than plain-56 with tailored activations",
            contrast={TAILORED: 1, RESIDUAL: -1},
            above=MARGINS,
        ),
    ),
)
