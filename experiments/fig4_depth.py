"""Depth 18 against 34, plain against residual (He et al., Fig. 4 and Table 2).

The paper finds that the deeper plain network has the *higher training error* throughout training, although it
could represent the shallower one. With identity shortcuts (option A, no extra parameters) the order is reversed.

Predict: four training curves. Which is the lowest, which the highest, and do the two plain ones cross?

What to look for: on the left (plain), the training curve of 34 layers runs above that of 18; on the right
(residual), it does not. The headline is one number per seed: how much more, in percentage points, depth
raises the training error of the plain network than that of the residual one.

    bash run_all.sh                     (all experiments except those trained on request)
    bash run_all.sh fig4_depth          (this experiment alone)

Cost: about 1 minute per seed on 2 cores (`fashion`).

Exercise: in blocks.py, let ResidualBlock add 0.5 * self.shortcut(x). What do you expect of ResNet-18, of
ResNet-34, of the plain networks?

Solution: on `digits` (seeds 0 to 2), the plain networks give the same bytes, ResNet-18 errs 0.2 points more
(interval -1.2 to +1.7), ResNet-34 1.7 points more (+0.8 to +2.6): training error, 95 %. What comes from n blocks
back is multiplied by 0.5 to the power of n, and so is its gradient: through 16 blocks hardly anything passes by
the shortcuts alone.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Prediction

NETWORKS = ("plain18", "plain34", "residual18-A", "residual34-A")

EXPERIMENT = Experiment(
    title="Depth 18 vs 34, plain vs residual",
    paper="Fig. 4, Table 2",
    figures=("depth_curves", "final_errors"),
    networks=dict.fromkeys(
        ("fashion", "digits", "cifar10", "cifar10-short", "cifar100", "cifar100-coarse", "imagenet"), NETWORKS
    ),
    claims=(
        Claim(
            "Depth raises the training error of plain networks more than that of residual ones "
            "(34 against 18 layers)",
            contrast={"plain34": 1, "plain18": -1, "residual34-A": -1, "residual18-A": 1},
            column="running_training_error",  # on augmented batches, over the last tenth of the iterations
            above=MARGINS,  # 2 points on `fashion`, 0.5 elsewhere: see settings/
            primary=True,
        ),
        Claim(
            "Degradation: plain-34 has a higher training error than plain-18",
            contrast={"plain34": 1, "plain18": -1},
            above=MARGINS,
        ),
        Claim(
            "No degradation: the training error of ResNet-34 does not exceed that of ResNet-18",
            contrast={"residual34-A": 1, "residual18-A": -1},
            below=MARGINS,
        ),
        Claim(
            "ResNet-34 has a lower validation error than plain-34",
            contrast={"plain34": 1, "residual34-A": -1},
            column="validation_error",
            above=MARGINS,
        ),
    ),
    paper_errors={"plain18": 27.94, "plain34": 28.54, "residual18-A": 27.88, "residual34-A": 25.03},
    paper_data="ImageNet, top-1, 10-crop",
    prediction=Prediction(
        "Sixteen layers more: where does the training error of plain-34 end, against that of plain-18?",
        claim="Degradation: plain-34 has a higher training error than plain-18",
        limits=(0, 2, 20),
        answers=(
            "below it",
            "at most 2 points above it",
            "2 to 20 points above it",
            "more than 20 points above it",
        ),
    ),
)
