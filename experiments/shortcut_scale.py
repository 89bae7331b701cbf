"""Must the shortcut be the identity? Less than x, and more than one x.

He et al. (2016, Sec. 3.1) multiplied the shortcut by 0.5, and ResNet-110 no longer trained. What x is multiplied
by in one block is multiplied again in the next: after 27 blocks 0.5 x has become x / 134,217,728.
Hyper-connections (Zhu et al., 2024) carry four streams past F, mixed from block to block by matrices that are
learned: their product may grow as well as vanish. mHC (Xie et al., 2025) keeps these matrices doubly stochastic,
rows and columns of sum 1, so that their product is doubly stochastic, too: the identity's gain of 1, with
something left to learn.

Predict: plain-56 is a ResNet-56 whose shortcuts carry 0 x. Of the way from there to x, how far do you get with 0.5
x, and how far with 0.9 x?

What to look for: a column per shortcut, a dot per seed. Below each stands what one x has become after all 27
blocks: of matrices, the largest sum of a row of their product, which is the most that a stream can be amplified
by, and in brackets the largest on the way there.

    bash run_all.sh shortcut_scale

Each change is a step after building: read plain_vs_residual/scaling.py and streams.py beside blocks.py. Where a
change trained better at another learning rate in trials, it has that one in `fashion` (docs/choices.md): a
shortcut that carries less stands a larger one.

Cost: four runs per seed, of which those with streams take twice as long: 3 minutes on one core (`fashion`), in
addition to the runs shared with fig6_cifar_depth.

Exercise: versions of hyper-connections have been published in which the matrices are computed and not applied, or
applied and never learned. Which three small tests would have shown it?

Solution: change a matrix, and the logits must change; take the gradient of the loss, and that of every matrix must
be there and not 0; take some steps, and the matrices must have moved. Mind the exception: a mixing whose rows sum
to 1 does nothing to streams that are equal, which those before the first block are.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
WHERE = ("fashion", "digits", "cifar10", "cifar10-short")
HALF, MOST = f"{RESIDUAL}@shortcut-0.5", f"{RESIDUAL}@shortcut-0.9"
FREE, STOCHASTIC = f"{RESIDUAL}@free-streams", f"{RESIDUAL}@doubly-stochastic-streams"
CHANGES = ("shortcut-0.5", "shortcut-0.9", "free-streams", "doubly-stochastic-streams")
# At which a change trains best, on trial seeds; what is not here keeps the setting's rate.
RATES = {"fashion": {"shortcut-0.5": 0.02}}


def _studies(setting: str) -> tuple[Study, ...]:
    rates = {name: {"learning_rate": rate} for name, rate in RATES.get(setting, {}).items()}
    changes = {name: {"modification": name, **rates.get(name, {})} for name in CHANGES}
    reason = "another shortcut than the identity"
    return (Study(), *(Study(name, changes[name], reason, networks=(RESIDUAL,)) for name in CHANGES))


EXPERIMENT = Experiment(
    title="The shortcut must be the identity",
    paper="Sec. 3.2; He et al. (2016), Zhu et al. (2024), Xie et al. (2025)",
    figures=("shortcut_scale",),
    networks=dict.fromkeys(WHERE, (PLAIN, RESIDUAL)),
    studies={setting: _studies(setting) for setting in WHERE},
    seminar=True,
    code=("scaling.py:Scaled", "streams.py:StreamBlock", "streams.py:doubly_stochastic"),
    measurement="shortcut_gain",
    claims=(
        Claim(
            "With half of x in its shortcuts, ResNet-56 errs more than with x itself",
            contrast={HALF: 1, RESIDUAL: -1},
            above=MARGINS,
            primary=True,
        ),
        Claim(
            "With 0.9 x in its shortcuts, ResNet-56 errs more than with x itself",
            contrast={MOST: 1, RESIDUAL: -1},
            above=MARGINS,
        ),
        Claim(
            "Four streams, mixed doubly stochastically, err no more than one shortcut does, but for the margin",
            contrast={STOCHASTIC: 1, RESIDUAL: -1},
            below=MARGINS,
        ),
        Claim(
            "Four streams, mixed freely, err no more than one shortcut does, but for the margin",
            contrast={FREE: 1, RESIDUAL: -1},
            below=MARGINS,
        ),
        Claim(
            "Free mixings together amplify a stream on its way, by a tenth at least",
            contrast={FREE: 1},
            column="largest_shortcut_gain",
            above=1.1,
            reason="the identity has 1; 1.8 in a trial",
        ),
        Claim(
            "Doubly stochastic mixings together amplify none anywhere",
            contrast={STOCHASTIC: 1},
            column="largest_shortcut_gain",
            below=1.01,
            reason="rows sum to 1 as far as 20 iterations bring them there",
        ),
    ),
)
