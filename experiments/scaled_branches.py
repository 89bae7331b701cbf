"""Does the learning rate of 20 layers suit 56? It does if each of n branches is divided by sqrt(n).

In a residual network every block adds its F(x) to what comes before: after n blocks the sum, and each step of it,
has grown with n. So the best learning rate falls with depth, as learning_rate_and_depth shows. Bordelon et al.
(2023) and Yang et al. (2023) divide each F(x) by sqrt(n): n independent branches then add up to as much as one, at
any depth, and rates that were found on a shallow network can be kept for a deep one.

Predict: ResNet-20 trains best at 0.05, and ResNet-56 is 7 points worse there than at its own best rate. Divide its
27 branches by 5.2: are these 7 points smaller, gone, or larger?

What to look for: thin lines are ResNet-20 and ResNet-56 as they are, bold ones with scaled branches. Thin, they
part to the right; bold, they should lie on each other.

    bash run_all.sh scaled_branches

Cost: six runs per seed, 2 minutes on one core (`fashion`), in addition to the six shared with
learning_rate_and_depth.

Exercise: BN follows the last convolution of F, and its scale is learned. Why is dividing by sqrt(n) not undone by
a scale sqrt(n) times as large, and what is the difference to beginning with that scale sqrt(n) times as small?

Solution: as functions both are equal, as steps they are not: behind the division, the scale's gradient is sqrt(n)
times as small, so that a step of SGD changes F(x) / sqrt(n) by a factor n less than one of the scale alone would.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

SHALLOW, DEEP = "cifar-residual20-A", "cifar-residual56-A"
# Of each setting; the one in the middle is the best of ResNet-20 in learning_rate_and_depth, by trials.
RATES = {
    "fashion": (0.02, 0.05, 0.1),
    "digits": (0.02, 0.05, 0.1),
    "cifar10": (0.01, 0.1),
    "cifar10-short": (0.01, 0.1),
}
OF_SHALLOW = {"fashion": 0.05, "digits": 0.05, "cifar10": 0.1, "cifar10-short": 0.1}
SCALED = {"modification": "scaled-branches"}


def _studies(rates: tuple[float, ...]) -> tuple[Study, ...]:
    as_they_are = (Study(f"lr{rate}", {"learning_rate": rate}, "each network at several rates") for rate in rates)
    reason = "branches divided by the root of their number"
    scaled = (Study(f"scaled-lr{rate}", {"learning_rate": rate, **SCALED}, reason) for rate in rates)
    return (*as_they_are, *scaled)


EXPERIMENT = Experiment(
    title="Branches divided by the root of their number",
    paper="Sec. 4.2; Bordelon et al. (2023), Yang et al. (2023)",
    figures=("scaled_branches",),
    networks=dict.fromkeys(RATES, (SHALLOW, DEEP)),
    studies={setting: _studies(rates) for setting, rates in RATES.items()},
    seminar=True,
    code=("scaling.py:scale_branches", "scaling.py:Scaled"),
    claims=tuple(
        claim
        for setting, rate in OF_SHALLOW.items()
        for claim in (
            Claim(
                "At the rate that suits 20 layers, ResNet-56 errs less if its branches are divided by sqrt(n)",
                contrast={f"{DEEP}@lr{rate}": 1, f"{DEEP}@scaled-lr{rate}": -1},
                above=MARGINS,
                settings=(setting,),
                primary=True,
            ),
            Claim(
                "So divided, ResNet-56 errs no more than ResNet-20 at that rate, but for the margin",
                contrast={f"{DEEP}@scaled-lr{rate}": 1, f"{SHALLOW}@scaled-lr{rate}": -1},
                below=MARGINS,
                settings=(setting,),
            ),
            Claim(
                "At that rate ResNet-20 loses no more by it than the margin",
                contrast={f"{SHALLOW}@scaled-lr{rate}": 1, f"{SHALLOW}@lr{rate}": -1},
                below=MARGINS,
                settings=(setting,),
            ),
        )
    ),
)
