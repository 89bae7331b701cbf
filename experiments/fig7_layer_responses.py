"""Layer responses and the size of F(x) (He et al., Fig. 7).

The paper: the output of every 3x3 layer, after BN and before ReLU or addition, has a smaller standard
deviation in residual networks than in plain ones, and a smaller one still in deeper residual networks.
Residual functions are closer to zero than other functions: a block changes its input only a little.

What to look for: top, the layers in order; below, the same sorted. The last panel shows for every residual
block the RMS of F(x) over that of x, before and after training. Before training the ratio falls from block
to block already, because x accumulates; what training adds is the distance between the two lines.

On `digits` this page trains a study of its own at learning rate 0.1: at the 0.02 of the other pages the scales
of BN hardly move in 450 iterations, and every response stays near 1. Ten epochs keep the whole suite within ten
minutes; the longer the training, the larger the differences (change `epochs` below and rerun).

    bash run_all.sh fig7_layer_responses

Cost: about a minute per seed on 2 cores (`digits`); nothing on `cifar10`: runs of fig6_cifar_depth.
"""

from plain_vs_residual.experiment import Claim, Experiment, Study

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

EXPERIMENT = Experiment(
    title="Layer responses, and how small F(x) is",
    paper="Fig. 7",
    figures=("layer_responses",),
    table=("responses",),
    networks={
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
                reason="learning rate 0.1 for 10 epochs: at 0.02 BN scales hardly move",
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
            "Deeper residual networks respond less: ResNet-56 below ResNet-20",
            contrast={"cifar-residual20-A": 1, "cifar-residual56-A": -1},
            column="mean_response",
            above=0.0,
        ),
        Claim(
            "And ResNet-110 below ResNet-56",
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
