"""Does training make F(x) small? Block by block and moment by moment.

He et al. (Sec. 4.2, Fig. 7) find small responses after training, and take it as support for their motivation: an
optimal function is closer to the identity than to zero. De and Smith (2020) find F(x) small against x from the
start: x accumulates, so that the ratio falls like 1 over the root of the number of blocks, before any training.

Predict: does the ratio of F(x) to x grow or shrink through training? In the first blocks? In the last ones?

What to look for: each row of the map is a block, and its colour says by how much the ratio has changed since the
start: red has grown, blue has shrunk. The same network at a rate of 0.1, five times the recipe's or more, is
beside it: the sign depends on the recipe, so one recipe proves nothing about residual functions as such. Read
the maps from iteration 50 on: in the first twenty or so, BN's running statistics are still mostly those it was
built with, and nearly every block looks larger than it is.

Not all of this was new: the change of the ratio in these seeds had been printed with Fig. 7 before it became the
claim of this experiment, with the margin that trials on other data had given.

    bash run_all.sh residual_functions

Cost: the runs at the other rate, and 20 seconds per run on one core (`fashion`) in addition to those shared with
fig6_cifar_depth: every run is trained once more, to look at it from outside.

Exercise: on the left, the ratio jumps up at the first block of each stage. By which factor, and why?

Solution: by up to the root of 2. The shortcut's second half is zeros (option A), so that the RMS of x falls by
the root of 2 while F(x) has its usual size.
"""

from plain_vs_residual.experiment import Claim, Experiment, Study

HIGH_RATE = Study("lr0.1", {"learning_rate": 0.1}, reason="whether the sign of the change depends on the rate")
ON_CPU = ("fashion", "digits")

EXPERIMENT = Experiment(
    title="F(x) against x through training",
    paper="Sec. 4.2 and Fig. 7; De and Smith (2020)",
    figures=("residual_functions",),
    networks=dict.fromkeys((*ON_CPU, "cifar10", "cifar10-short"), ("cifar-residual56-A",)),
    studies=dict.fromkeys(ON_CPU, (Study(), HIGH_RATE)),
    seminar=True,
    code=("seminar/residual_functions.py:measure",),
    measurement="residual_functions",
    claims=(
        Claim(
            "Training makes F(x) smaller against x in ResNet-56 (mean ratio over blocks, trained minus untrained, "
            "statistics estimated anew)",
            contrast={"cifar-residual56-A": 1},
            column="ratio_change_estimated",
            below=-0.02,
            reason="given by trials on other data, before these runs",
            primary=True,
        ),
        Claim(
            "So it does by running statistics",
            contrast={"cifar-residual56-A": 1},
            column="ratio_change",
            below=-0.02,
            reason="likewise",
        ),
        Claim(
            "At the rate 0.1 it becomes larger (statistics estimated anew)",
            contrast={"cifar-residual56-A@lr0.1": 1},
            column="ratio_change_estimated",
            above=0.02,
            reason="likewise",
        ),
    ),
)
