"""Depth 18 to 152, plain against residual (He et al., Table 3 and Sec. 4.1, "Deeper Bottleneck Architectures").

The paper builds networks of 50, 101 and 152 layers from bottleneck blocks (1x1, 3x3, 1x1), and they keep getting
better with depth. The 50-layer network costs about as much as the 34-layer one without bottlenecks, and even the
152-layer network costs less than VGG-19. The paper trains no plain networks of these depths; here they are trained
for comparison.

Predict: which is larger, ResNet-34 or ResNet-50? Which needs more multiply-adds?

What to look for: from 34 layers on, the residual line falls, or at least does not rise; the plain line rises.

    bash run_all.sh table3_depth

Cost: about 90 s per seed on 2 cores (`digits`: 34 and 50 layers). Except on `imagenet`, trained only when this
experiment is named.

Exercise: compute the weights of a block of two 3x3 convolutions with 64 channels, and of a bottleneck of 256
channels with 64 inside. Why would option C be costly in a bottleneck?

Solution: 2 * 9 * 64 * 64 = 73,728 against 256 * 64 + 9 * 64 * 64 + 64 * 256 = 69,632: a third layer and four
times the channels for about the same. A projection from 256 to 256 channels has 65,536 weights and would double
that, which is why the paper keeps the shortcuts of bottlenecks free of parameters.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment

DEPTHS = (18, 34, 50, 101, 152)
FAMILY = tuple(name for depth in DEPTHS for name in (f"plain{depth}", f"residual{depth}-B"))

EXPERIMENT = Experiment(
    title="Depth 18 to 152, plain vs residual",
    paper="Table 3",
    figures=("final_errors", "depth_curves"),
    networks={
        "digits": ("plain34", "plain50", "residual34-B", "residual50-B"),
        "cifar10": FAMILY,
        "cifar10-short": FAMILY,
        "imagenet": FAMILY,
    },
    on_request=("digits", "cifar10", "cifar10-short"),
    claims=(
        Claim(
            "Depth raises the training error of plain networks more than that of residual ones "
            "(50 against 34 layers)",
            contrast={"plain50": 1, "plain34": -1, "residual50-B": -1, "residual34-B": 1},
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "No degradation: the training error of ResNet-50 does not exceed that of ResNet-34",
            contrast={"residual50-B": 1, "residual34-B": -1},
            below=MARGINS,
        ),
        Claim(
            "ResNet-152 has a lower validation error than ResNet-34",
            contrast={"residual34-B": 1, "residual152-B": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
    ),
    paper_errors={
        "residual34-B": 24.52,
        "residual50-B": 22.85,
        "residual101-B": 21.75,
        "residual152-B": 21.43,
    },
    paper_data="ImageNet, top-1, 10-crop",
)
