"""Is degradation only a slow start? The same networks with 1, 3, 9 and 27 times the iterations.

The paper answers that more iterations are no feasible cure (Sec. 4.1, footnote 3, with three times as many). Two
budgets cannot tell a gap that closes slowly from one that stays: four can show where it goes. The learning rate
falls linearly to 0 over whatever the budget is; everything else is the setting's.

Predict: the gap between plain-34 and plain-18 after 350 iterations is about 12 points. What is it after 1,050,
3,150 and 9,450?

What to look for: a point per budget, a line per pair of depths: how many points the deeper network errs more than
the shallower one, plain and residual. A slow start would be a line that falls to 0 and stays there.

    bash run_all.sh horizon

Cost: 40 times the iterations of the two pairs of depths, for each seed: 1.6 to 3.3 hours
on 2 cores that had other work as well.

Exercise: a gap of g points after n iterations that is slowness alone might fall as g/n. Continue the first two
points of plain-34 so, and compare with the last two.

Solution: 12.4 points after 350 iterations (three seeds) would be 4.1 after 1,050, 1.4 after 3,150 and 0.5 after
9,450. Measured are 7.3, 6.4 and 5.3: after a first part that was slowness, a gap stays.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

TIMES = {"three-times": 3, "nine-times": 9, "27-times": 27}
NETWORKS = (
    *("plain18", "plain34", "residual18-A", "residual34-A"),
    *("cifar-plain20", "cifar-plain56", "cifar-residual20-A", "cifar-residual56-A"),
)
GAPS = {
    "34 against 18 layers": {"plain34": 1, "plain18": -1, "residual34-A": -1, "residual18-A": 1},
    "56 against 20 layers": {
        "cifar-plain56": 1,
        "cifar-plain20": -1,
        "cifar-residual56-A": -1,
        "cifar-residual20-A": 1,
    },
}


def after(study: str, contrast: dict[str, float], factor: float = 1) -> dict[str, float]:
    """Name the runs of one budget in a contrast, with every weight times a factor."""
    return {f"{network}@{study}": factor * weight for network, weight in contrast.items()}


EXPERIMENT = Experiment(
    title="1, 3, 9 and 27 times the iterations",
    paper="footnote 3",
    figures=("gap_by_budget", "final_errors"),
    networks={"fashion": NETWORKS},
    studies={
        "fashion": (
            Study(),
            *(
                Study(name, {"iterations": 350 * times}, reason=f"{times} times the iterations: {350 * times:,}")
                for name, times in TIMES.items()
            ),
        )
    },
    on_request=("fashion",),
    claims=(
        Claim(
            "After 27 times the iterations depth still raises the training error of plain networks more than that "
            "of residual ones (34 against 18 layers)",
            contrast=after("27-times", GAPS["34 against 18 layers"]),
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "The same for 56 against 20 layers",
            contrast=after("27-times", GAPS["56 against 20 layers"]),
            above=MARGINS,
        ),
        *(
            Claim(
                f"From 9 to 27 times the iterations that difference shrinks by less than the margin ({layers})",
                contrast=after("nine-times", gap) | after("27-times", gap, -1),
                below=MARGINS,
            )
            for layers, gap in GAPS.items()
        ),
        *(
            Claim(
                f"Nine times the iterations leave less than half of the difference there was ({layers})",
                contrast=after("", gap) | after("nine-times", gap, -2),
                above=0.0,
                reason="half is half",
            )
            for layers, gap in GAPS.items()
        ),
        Claim(
            "Degradation after 27 times the iterations: plain-34 has a higher training error than plain-18",
            contrast={"plain34@27-times": 1, "plain18@27-times": -1},
            above=MARGINS,
        ),
        Claim(
            "Degradation after 27 times the iterations: plain-56 has a higher training error than plain-20",
            contrast={"cifar-plain56@27-times": 1, "cifar-plain20@27-times": -1},
            above=MARGINS,
        ),
    ),
)
