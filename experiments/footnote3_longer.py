"""Three times as many iterations: does degradation go away (He et al., Sec. 4.1, footnote 3)?

The paper suspects that deep plain networks converge very slowly. With three times as many iterations it still
found degradation, and concludes that more iterations are no feasible cure. It has no figure of this.

Predict: how much of the gap between plain-34 and plain-18 do three times as many iterations close?

What to look for: the dashed lines are the runs of fig4_depth; the solid ones have three times as many iterations,
with the learning rate falling three times as slowly. On the left, more iterations lower both lines; do they join?

    bash run_all.sh footnote3_longer

Cost: about 2 minutes per seed on 2 cores (`fashion`), in addition to the runs shared with fig4_depth.

Exercise: before you look, write down which number would convince you that degradation is mere slowness. Then
read off the training errors of plain-34 with three times the iterations, and of ResNet-34 with one time.

Solution: in `fashion`, the gap of 12.2 points shrinks to 5.8, about half; plain-34 ends at 29.0 %, still above
the 26.2 % that ResNet-34 has after a third of the iterations. Slowness explains part of it. Whether the rest
would go away too cannot be told from two budgets.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction, Study

LONGER = "three-times"

EXPERIMENT = Experiment(
    title="Three times as many iterations",
    paper="footnote 3",
    figures=("longer_curves",),
    networks={"fashion": ("plain18", "plain34", "residual18-A", "residual34-A")},
    studies={
        "fashion": (
            Study(),
            Study(LONGER, {"iterations": 1050}, reason="three times the iterations: 1,050 instead of 350"),
        )
    },
    on_request=("fashion",),
    claims=(
        Claim(
            "After three times the iterations plain-34 still has a higher training error than plain-18",
            contrast={f"plain34@{LONGER}": 1, f"plain18@{LONGER}": -1},
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "Three times the iterations do not close half of the gap between them",
            contrast={f"plain34@{LONGER}": 1, f"plain18@{LONGER}": -1, "plain34@": -0.5, "plain18@": 0.5},
            above=0.0,
            reason="half of the gap",
        ),
        Claim(
            "After three times the iterations the training error of ResNet-34 is below that of ResNet-18",
            contrast={f"residual18-A@{LONGER}": 1, f"residual34-A@{LONGER}": -1},
            above=0.0,
            reason="any difference in this direction",
        ),
        Claim(
            "After three times the iterations ResNet-34 validates better than ResNet-18, as in Table 2",
            contrast={f"residual18-A@{LONGER}": 1, f"residual34-A@{LONGER}": -1},
            column="validation_error",
            above=0.0,
            reason="any difference in this direction",
        ),
    ),
    prediction=Prediction(
        "Both plain networks train three times as long. Where does plain-34 end then, against plain-18?",
        claim="After three times the iterations plain-34 still has a higher training error than plain-18",
        limits=(0, 2, 10),
        answers=(
            "below it: it was slow, and no more",
            "at most 2 points above it",
            "2 to 10 points above it",
            "more than 10 points above it",
        ),
    ),
)
