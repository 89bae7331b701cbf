"""The loss around a trained network: beautiful, and the most easily misread picture of the seminar.

Li et al. (2018) cut through the loss around trained networks, along random directions whose filters are as long
as the network's own. Shortcuts hardly matter at 20 layers; at 56 and 110, without them, the surface turns
chaotic.

Predict: a quarter of the way out along a random direction, by how much does the loss of ResNet-56 rise? And that
of plain-56?

What to look for: left, the loss along ten random directions (median over them). Then the same with BN's
statistics estimated anew at every point: what is left is the weights' own doing. The maps are a plane through
each trained network; the last panel is the straight line from its initial to its trained weights.

Warnings. By running statistics (E, the authors' way) most of the rise is BN's: it divides by what the unmoved
network had. Random directions differ by a factor of ten and more. Plain-56 is no minimum after so few
iterations, so that its pit is shallow for a reason of its own. And a slice that looks convex proves nothing
about a million dimensions (Li et al., Sec. 6).

    bash run_all.sh loss_landscape

Cost: 40 seconds (20 layers) to 2 minutes (56) per run on one core, in addition to those shared with
fig6_cifar_depth.

Exercise: multiply all weights of the 3x3 convolutions by 10. What do the network's outputs do, and what would
the picture show if directions were not scaled filter by filter?

Solution: with statistics estimated anew the outputs stay the same, since BN divides the factor away. A step of
fixed length would then be a tenth as large against the weights: the same picture, stretched to ten times its
width, with a hundredth of the curvature, of the same network."""

from plain_vs_residual.experiment import Claim, Experiment

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")
# How far the loss rises around a network says something of its minimum only if it is near one.
NO_MINIMUM = dict.fromkeys(
    ("fashion", "digits", "cifar10-short"), "after so few iterations plain-56 is at no minimum of the loss"
)

EXPERIMENT = Experiment(
    title="The loss around trained networks",
    paper="Li et al. (2018)",
    figures=("loss_landscape",),
    networks=dict.fromkeys(("fashion", "digits", "cifar10", "cifar10-short"), FAMILY),
    seminar=True,
    code=("seminar/loss_landscape.py:random_direction",),
    measurement="loss_landscape",
    claims=(
        Claim(
            "A quarter of the way out, the loss of plain-56 has risen over 0.2 nats more than that of ResNet-56 "
            "(median over directions, E)",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="rise",
            above=0.2,
            reason="about a tenth of the loss of guessing among ten classes, 2.3 nats",
            undecidable=NO_MINIMUM,
            primary=True,
        ),
        Claim(
            "So it has by statistics that are estimated anew (R)",
            contrast={"cifar-plain56": 1, "cifar-residual56-A": -1},
            column="rise_estimated",
            above=0.2,
            reason="as with running statistics",
            undecidable=NO_MINIMUM,
        ),
    ),
)
