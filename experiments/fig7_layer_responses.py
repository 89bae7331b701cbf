"""Layer responses and the size of F(x) (He et al., Fig. 7).

The paper looks at the outputs of the 3x3 layers, after BN and before ReLU or addition. Their standard deviations
are generally smaller in residual networks than in plain ones, and smaller still in deeper residual networks. This
suggests that residual functions are closer to zero than other functions: a block changes its input only a little.

What to look for: the top panel shows the layers in order, and the one below shows the same values sorted. The
last panel shows, for every residual block, the ratio of the RMS of F(x) to that of x, before and after training.
Even before training the ratio falls from block to block, because x accumulates; the distance between the two lines
is the effect of training.

On `digits`, this experiment trains a study of its own at learning rate 0.1. At the 0.02 of the other experiments,
the scales of BN hardly move in 450 iterations, and every response stays near 1. Ten epochs keep the whole suite
within ten minutes. Longer training gives larger differences (change `epochs` below and rerun).

    bash run_all.sh fig7_layer_responses

Cost: about a minute per seed on 2 cores (`digits`); nothing on `cifar10`, as fig6_cifar_depth has the same runs.
"""

from plain_vs_residual.experiment import Claim, Experiment, Study

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="Layer responses, and how small F(x) is",
    paper="Fig. 7",
    figures=("layer_responses",),
    table=("responses",),
    networks={
        "fashion": FAMILY,
        "digits": FAMILY,
        "cifar10": (*FAMILY, "cifar-residual110-A"),
        "cifar10-short": (*FAMILY, "cifar-residual110-A"),
        "imagenet": ("plain18", "plain34", "residual18-A", "residual34-A"),
    },
    studies={
        "digits": (
            Study(
                "high-rate",
                changes={"learning_rate": 0.1, "epochs": 10},
                reason="learning rate 0.1 for 10 epochs: at 0.02, the scales of BN hardly move",
            ),
        )
    },
    claims=(
        Claim(
            "Layer responses of ResNet-20 are smaller than those of plain-20 (mean over the 3x3 layers)",
            contrast={"cifar-plain20": 1, "cifar-residual20-A": -1},
            column="mean_response",
            above=0.0,
            primary=True,
        ),
        Claim(
            "Layer responses of ResNet-56 are smaller than those of plain-56",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="mean_response",
            above=0.0,
        ),
        Claim(
            "Layer responses of ResNet-56 are smaller than those of ResNet-20",
            contrast={"cifar-residual20-A": 1, "cifar-residual56-A": -1},
            column="mean_response",
            above=0.0,
        ),
        Claim(
            "Layer responses of ResNet-110 are smaller than those of ResNet-56",
            contrast={"cifar-residual56-A": 1, "cifar-residual110-A": -1},
            column="mean_response",
            above=0.0,
        ),
        Claim(
            "Layer responses of ResNet-34 are smaller than those of plain-34",
            contrast={"plain34": 1, "residual34-A": -1},
            column="mean_response",
            above=0.0,
        ),
    ),
)
