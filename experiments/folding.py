"""The plain network that SGD does not find, found: train with identities, then fold them away.

Plain-56 trains badly. Is that because no good plain-56 exists? Ding et al. (2021, RepVGG) train a network in which
an identity passes each convolution by: BN(conv(x)) + x wherever shapes agree, then ReLU. Both are linear in x, and
the ReLU comes after the sum. So once the network is trained, BN's scale goes into the kernel, its shift into a
bias, and the identity into the centre of the kernel: what is left is plain-56 again, with biases in the place of
its 55 BN layers, and nothing else. It computes the same.

    bash run_all.sh describe cifar-plain56 --folded --compare cifar-plain56

Predict: the folded network has no shortcut, no BN, and the convolutions of plain-56. How many percent of its
training images does it get wrong: as many as plain-56, as many as ResNet-56, or half way between?

What to look for: the two columns on the left are one architecture. On the left it was trained as it is; in the
middle its kernels were found with identities around them. A ring is the error before folding: dot and ring lie on
each other. This is the paper's solution by construction in its strongest form: a plain-56 that fits its training
images exists, and SGD on plain-56 does not find it. What it does not say: the folded network computes the same by
running statistics only, and training it further is another matter.

    bash run_all.sh folding

Cost: one run per seed, half a minute on one core (`fashion`), and as long for measuring all three networks, in
addition to the runs shared with fig6_cifar_depth.

Exercise: a ResNet's shortcut passes two convolutions by, and the ReLU between them. Why does it not fold? And what
becomes of the logits if fold in plain_vs_residual/folding.py forgets eps?

Solution: relu(W1 x) is not linear in x, so that no kernel computes x + W2 relu(W1 x) for every x; DiracNet and
RepVGG therefore pass one convolution by. Without eps every kernel grows by the factor sqrt(1 + eps / variance): a
channel that hardly varies is scaled wrongly, layer upon layer, and logits differ by more than rounding.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction, Study

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
FOLDED = f"{PLAIN}@foldable"
WHERE = ("fashion", "digits", "cifar10", "cifar10-short")

EXPERIMENT = Experiment(
    title="Folding: the plain network that SGD does not find",
    paper="Sec. 1; Ding et al. (2021), RepVGG",
    figures=("folding",),
    networks=dict.fromkeys(WHERE, (PLAIN, RESIDUAL)),
    studies=dict.fromkeys(
        WHERE,
        (
            Study(),
            Study(
                "foldable",
                {"modification": "foldable"},
                reason="plain-56 with an identity around each convolution",
                networks=(PLAIN,),
            ),
        ),
    ),
    seminar=True,
    code=("folding.py:FoldableBlock", "folding.py:fold"),
    measurement="folding",
    claims=(
        Claim(
            "Plain-56 folded from a network with identities errs less than plain-56 trained as such",
            contrast={PLAIN: 1, FOLDED: -1},
            column="folded_training_error",
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "Folding changes no logit by more than rounding",
            contrast={FOLDED: 1},
            column="folded_logit_difference",
            below=1e-4,
            reason="single precision through 55 layers; in trials the largest difference was 2.1e-5",
        ),
        Claim(
            "The folded plain-56 errs as ResNet-56 does, but for the margin",
            contrast={FOLDED: 1, RESIDUAL: -1},
            column="folded_training_error",
            within=MARGINS,
        ),
    ),
    prediction=Prediction(
        "The folded network has no shortcut, no BN, and the convolutions of plain-56. How many of its training "
        "images does it get wrong?",
        claim="The folded plain-56 errs as ResNet-56 does, but for the margin",
        limits=(-2, 2, 20),
        answers=(
            "fewer than ResNet-56, by over 2 points",
            "as many as ResNet-56, but for 2 points",
            "2 to 20 points more than ResNet-56",
            "over 20 points more than ResNet-56",
        ),
    ),
)
