"""Which learning rate? The trials behind the setting `fashion`, on seeds from 100 on.

A rate that suits residual networks best could make plain ones look worse than they are. The rule is therefore the
one that is kindest to deep plain networks: the rate at which *they* train best.

Predict: is the rate at which plain-56 trains best smaller than that of ResNet-56, or the same?

What to look for: in the table, for each rate, the training error of plain-34 and plain-56.

    bash run_all.sh rate_trials --setting fashion --first-seed 100 --seeds 2 --results results/trials

Cost: about 5 minutes per seed on 2 cores. Trained only when it is named.

Exercise: why are these trials not made on the seeds of the report, which would save their time?

Solution: of several rates, the one that looks best on certain seeds owes part of that to luck on those seeds. A
claim that is judged by the same seeds is judged by numbers that were chosen.
"""

from plain_vs_residual.experiment import Experiment, Study

DEPTHS = ("18", "34")
FAMILY = ("20", "56")

EXPERIMENT = Experiment(
    title="Trials of the learning rate",
    paper="no figure of the paper",
    figures=(),
    networks={
        "fashion": (
            *(name for depth in DEPTHS for name in (f"plain{depth}", f"residual{depth}-A")),
            *(name for depth in FAMILY for name in (f"cifar-plain{depth}", f"cifar-residual{depth}-A")),
        )
    },
    studies={
        "fashion": tuple(
            Study(f"lr{rate}", {"learning_rate": rate}, reason="trials of the learning rate")
            for rate in (0.005, 0.01, 0.02)
        )
    },
    on_request=("fashion",),
    claims=(),
)
