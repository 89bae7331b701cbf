"""Does plain-56 merely need another learning rate? The fair objection, put to the test.

Li et al. (2018) had to train 56 layers without shortcuts at 0.01 instead of 0.1, and found no rate at which 156
trained; De and Smith (2020): BN in residual networks allows larger rates. A comparison at one rate could
therefore be one of rates. Here each network has its own best one.

Predict: how much of the difference between plain-56 and plain-20 is left, each at its best rate?

What to look for: the figure shows every rate that was tried. A valley that is narrow and lies further left is
what a network without shortcuts pays; what is left between the valleys' floors is the degradation that no rate
of the grid cures within the budget.

The rates were chosen on seeds 100 to 102 by the smallest mean training error (RATES below), before the seeds of
the report were trained, but for one thing: in `fashion`, plain-56's best rate is the recipe's own, with which
fig6_cifar_depth had already reported the same seeds. A network that diverged counts as guessing. The rates of
the large settings are those of Li et al.; nothing was tried there.

    bash run_all.sh learning_rate_and_depth

Cost: 24 runs per seed: 4 minutes per seed on 2 cores (`fashion`).

Exercise: somebody wants the degradation to look as large as possible, somebody else as small as possible. Which
common rate would each of them choose? What does that say about a comparison at one rate?

Solution: read the distance between plain-56 and plain-20 off at each rate: it is small at small rates, where
nothing is trained well, and large where plain-20 is at its best. One rate for all favours somebody; hence a
grid, a rule that was written down first, and seeds on which nothing was chosen.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction, Study

FAMILY = ("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A")
GRID = {
    "fashion": (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1),
    "digits": (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1),
    "cifar10": (0.01, 0.1),
    "cifar10-short": (0.01, 0.1),
}
# Of each network in the order of FAMILY: the best on seeds 100 to 102.
RATES = {
    "fashion": (0.05, 0.01, 0.05, 0.02),
    "digits": (0.05, 0.02, 0.05, 0.01),
    "cifar10": (0.1, 0.01, 0.1, 0.1),
    "cifar10-short": (0.1, 0.01, 0.1, 0.1),
}


def _at_its_best(setting: str, weights: dict[str, float]) -> dict[str, float]:
    rates = dict(zip(FAMILY, RATES[setting], strict=True))
    return {f"{network}@lr{rates[network]}": weight for network, weight in weights.items()}


EXPERIMENT = Experiment(
    title="Each network at its own best learning rate",
    paper="Sec. 4.1; Li et al. (2018)",
    figures=("learning_rates",),
    networks=dict.fromkeys(GRID, FAMILY),
    studies={
        setting: tuple(
            Study(f"lr{rate}", {"learning_rate": rate}, reason="each network at every rate of a grid")
            for rate in rates
        )
        for setting, rates in GRID.items()
    },
    seminar=True,
    claims=tuple(
        claim
        for setting in GRID
        for claim in (
            Claim(
                "Each at its best rate, depth still raises the training error of plain networks more than that of "
                "residual ones (56 against 20 layers)",
                contrast=_at_its_best(
                    setting,
                    {
                        "cifar-plain56": 1,
                        "cifar-plain20": -1,
                        "cifar-residual56-A": -1,
                        "cifar-residual20-A": 1,
                    },
                ),
                above=MARGINS,
                settings=(setting,),
                primary=True,
            ),
            Claim(
                "Each at its best rate, plain-56 has a higher training error than plain-20",
                contrast=_at_its_best(setting, {"cifar-plain56": 1, "cifar-plain20": -1}),
                above=MARGINS,
                settings=(setting,),
            ),
        )
    ),
    prediction=Prediction(
        "Each network at its own best learning rate: where does the training error of plain-56 end, against that "
        "of plain-20?",
        claim="Each at its best rate, plain-56 has a higher training error than plain-20",
        limits=(0, 2, 20),
        answers=(
            "below it: it was the rate",
            "at most 2 points above it",
            "2 to 20 points above it",
            "more than 20 points above it",
        ),
    ),
)
