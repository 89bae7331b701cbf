"""Layer responses and the size of F(x) (He et al., Fig. 7).

The paper looks at the outputs of the 3x3 layers, after BN and before ReLU or addition. Their standard deviations
are generally smaller in residual networks than in plain ones, and smaller still in deeper residual networks. This
suggests that residual functions are closer to zero than other functions: a block changes its input only a little.

The responses are measured twice. E is the evaluation mode, in which BN normalises by running statistics. R is the
same network, with statistics estimated anew on the images that are measured on, as before training; a layer's
response is then what the scales and shifts of its BN make it. Running statistics are averages over the last steps,
those of augmented images and of earlier weights: they lag behind as long as the weights move. By E, a response
tells of that lag as well, the more so the shorter the training.

Predict: with three times as many blocks, does each of them change its input more or less?

What to look for: the top row shows the layers in order, by E on the left and by R on the right. The weights are
the same: what only the left panel shows is a matter of the running statistics. The thin dashed line is the same
network before training, where BN puts every layer near 1. Filled marks are the last layer of a block, the one that
gives F(x); hollow ones are the layers inside. The second row shows the same values sorted. "Generally smaller" is
a matter of most layers: a few large responses move the mean, but not the median or the share of layers below 1.

The last row shows, for every residual block, the ratio of the RMS of F(x) to that of x, and the cosine between the
two, before training and after it (by R). Even before training the ratio falls from block to block, because x
accumulates: the distance between the two lines is the effect of training. At the first block of a stage it jumps
by up to the square root of 2, because option A pads half of the channels of x with zeros. A cosine below 0 means
that F(x) takes back a part of x.

The runs are those of fig6_cifar_depth. The few iterations of `fashion` and `digits` move the scales of BN little:
there the responses are shown, and nothing is decided from them.

    bash run_all.sh fig7_layer_responses

Cost: nothing beside fig6_cifar_depth, which has the same runs.

Exercise: before training, the ratio in the first block of ResNet-56 is 1.41, in the second 0.95. Where does 1.41
come from, and why does it fall?

Solution: BN gives F(x) a mean square of 1. The x of the first block has been through BN and ReLU, which leaves
half of it: the ratio is the square root of 1 / 0.5. Each addition makes the mean square of x larger by something
between a half and one, so after n blocks the ratio is about 1 / sqrt(n): small, before anything has been
learned.
"""

from plain_vs_residual.experiment import Claim, Experiment, Prediction

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")

A_TENTH = (
    "untrained, BN gives every layer a response of 1: a tenth of that is the least that is called a difference"
)
TOO_SHORT = dict.fromkeys(
    ("fashion", "digits"),
    "so few iterations leave BN's scales near the 1 from which they start; what is left to measure is the lag of "
    "the running statistics, and a few layers",
)

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
    claims=(
        Claim(
            "Layer responses of ResNet-56 are generally smaller than those of plain-56 "
            "(median over the 3x3 layers, statistics estimated anew)",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="median_response_estimated",
            above=0.1,
            reason=A_TENTH,
            primary=True,
            undecidable=TOO_SHORT,
        ),
        Claim(
            "The mean response of ResNet-56 is smaller than that of plain-56 (statistics estimated anew)",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="mean_response_estimated",
            above=0.1,
            reason=A_TENTH,
            undecidable=TOO_SHORT,
        ),
        Claim(
            "The mean response of ResNet-56 is smaller than that of plain-56 (running statistics)",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="mean_response",
            above=0.1,
            reason=A_TENTH,
            undecidable=TOO_SHORT,
        ),
        Claim(
            "A larger share of layers responds by less than 1 in ResNet-56 than in plain-56 "
            "(statistics estimated anew)",
            contrast={"cifar-residual56-A": 1, "cifar-plain56": -1},
            column="small_responses_estimated",
            above=0.1,
            reason="that is five or six of 55 layers: fewer say nothing of layers in general",
            undecidable=TOO_SHORT,
        ),
        Claim(
            "Layer responses of ResNet-20 are generally smaller than those of plain-20",
            contrast={"cifar-plain20": 1, "cifar-residual20-A": -1},
            column="median_response_estimated",
            above=0.1,
            reason=A_TENTH,
            undecidable=TOO_SHORT,
        ),
        Claim(
            "Layer responses of ResNet-56 are generally smaller than those of ResNet-20",
            contrast={"cifar-residual20-A": 1, "cifar-residual56-A": -1},
            column="median_response_estimated",
            above=0.1,
            reason=A_TENTH,
            undecidable=TOO_SHORT,
        ),
        Claim(
            "Layer responses of ResNet-110 are generally smaller than those of ResNet-56",
            contrast={"cifar-residual56-A": 1, "cifar-residual110-A": -1},
            column="median_response_estimated",
            above=0.1,
            reason=A_TENTH,
        ),
        Claim(
            "Training makes F(x) smaller against x in ResNet-56 "
            "(mean ratio, trained minus untrained, statistics estimated anew)",
            contrast={"cifar-residual56-A": 1},
            column="ratio_change_estimated",
            below=-0.02,
            reason="untrained, the ratio is 0.47 on average over the blocks: "
            "a twenty-fifth of that is the least that is called a change",
        ),
        Claim(
            "Layer responses of ResNet-34 are generally smaller than those of plain-34",
            contrast={"plain34": 1, "residual34-A": -1},
            column="median_response_estimated",
            above=0.1,
            reason=A_TENTH,
        ),
    ),
    prediction=Prediction(
        "ResNet-56 has three times the blocks of ResNet-20. Does a layer of it respond by more or by less "
        "(median over layers; before training every layer responds by 1)?",
        claim="Layer responses of ResNet-56 are generally smaller than those of ResNet-20",
        limits=(-0.1, 0.1, 0.5),
        answers=("by over 0.1 more", "as much, but for 0.1", "by 0.1 to 0.5 less", "by over 0.5 less"),
    ),
)
