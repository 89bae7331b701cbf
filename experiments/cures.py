"""What else could a shortcut be? Cures of plain-56, and what ResNet-56 can do without.

If plain networks fail because their first steps are too large, a warm-up or clipping should help; if because of
what their layers begin as, other initial weights should: layers that begin as rotations (delta-orthogonal, Xiao
et al., 2018), as near-identities (DiracNet, Zagoruyko and Komodakis, 2017) or as a linear network (looks-linear,
Balduzzi et al., 2017). A cure counts here if it closes half of the gap between plain-56 and ResNet-56.

The ablations ask the reverse: does ResNet-56 still train if every block begins as an identity (zero gamma, Goyal
et al., 2017), without BN (SkipInit, De and Smith, 2020), or with the ReLU out of the way (He et al., 2016)?

Predict: which of the five cures closes half of the gap? Sort them.

What to look for: a row per change, a mark per seed. The lines are plain-56 and ResNet-56 as they are; a cure
should lie left of the thin dashed line between them. Each change is a step after building, in
plain_vs_residual/modifications.py: read it beside blocks.py.

In `fashion` every change has the learning rate at which it trained best in trials on seeds from 100 on
(docs/choices.md), as plain-56 and ResNet-56 have theirs: at the rate that suits plain-56 without it, zero gamma
errs twice as much. Elsewhere only the networks without BN have rates of their own. The gradient is clipped to the
median of plain-20's norm. Mind what else changes: looks-linear has no BN and nearly twice the parameters, and the
warm-up is given to plain-56 alone.

    bash run_all.sh cures

Cost: eight runs per seed, 1.5 minutes on 2 cores (`fashion`), in addition to those shared with fig6_cifar_depth.

Exercise: zero gamma and SkipInit both begin with F(x) = 0. What is left of F in the first step in each of them?

Solution: in the first step only what F(x) passes last has a gradient: scale and shift of the last BN (two
numbers per channel), or SkipInit's scalar (one per block). But where option A has added channels of zeros, zero
gamma makes the sum exactly 0, where the gradient of ReLU is 0 as well: those channels never come to life, and
ResNet-56 goes on with the 16 of its first stage. SkipInit's scalar is shared by all channels and escapes that.
How much is it? Try zero gamma with option B, where no channel dies: in a trial (`fashion`, seeds 100 and 101, at
the recipe's rate) it cost 23 and 24 points, with option A 30 and 34. Most of it is not the dead channels' doing
but the rate's: at ten times the rate it costs one point, in a trial with option A.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
EPOCHS = {"fashion": 94, "digits": 45, "cifar10": 391, "cifar10-short": 391}  # in iterations
# At which each change trains best, on trial seeds; what is not here keeps the setting's rate.
RATES = {
    "fashion": {
        "warm-up": 0.1,
        "clipped": 0.05,
        "delta-orthogonal": 0.0025,
        "dirac": 0.5,
        "looks-linear": 0.005,
        "zero-gamma": 0.1,
        "pre-activation": 0.1,
        "skip-init": 0.1,
    },
    "digits": {"looks-linear": 0.005, "skip-init": 0.1},
    "cifar10": {"looks-linear": 0.01, "skip-init": 0.1},
    "cifar10-short": {"looks-linear": 0.01, "skip-init": 0.1},
}
CLIP_NORM = {"fashion": 3.0, "digits": 2.2, "cifar10": 3.0, "cifar10-short": 3.0}
CURES = {
    "warm-up": "A warm-up of one epoch",
    "clipped": "Clipping the gradient to the norm that is usual in plain-20",
    "delta-orthogonal": "Drawing orthogonal convolutions",
    "dirac": "Folding an identity into the weights, as in DiracNet,",
    "looks-linear": "Beginning as a linear network, without BN,",
}
ABLATIONS = {
    "zero-gamma": "begin with F(x) = 0",
    "pre-activation": "have BN and ReLU in front of their convolutions",
    "skip-init": "have no BN, but a learned scalar that begins with 0",
}


def _studies(setting: str) -> tuple[Study, ...]:
    changes: dict[str, dict[str, object]] = {name: {"modification": name} for name in (*CURES, *ABLATIONS)}
    changes["warm-up"] = {"warm_up_iterations": EPOCHS[setting], "warm_up_depth": 0}
    changes["clipped"] = {"clip_norm": CLIP_NORM[setting]}
    for name, rate in RATES[setting].items():
        changes[name]["learning_rate"] = rate
    reason = "one change of a network or of its recipe each"
    return (
        Study(),
        *(Study(name, changes[name], reason, networks=(PLAIN,)) for name in CURES),
        *(Study(name, changes[name], reason, networks=(RESIDUAL,)) for name in ABLATIONS),
    )


EXPERIMENT = Experiment(
    title="Cures of plain networks, ablations of residual ones",
    paper="Sec. 4.1; see the file for what the changes are taken from",
    figures=("cures",),
    networks=dict.fromkeys(EPOCHS, (PLAIN, RESIDUAL)),
    studies={setting: _studies(setting) for setting in EPOCHS},
    seminar=True,
    code=(
        "modifications.py:zero_gamma",
        "modifications.py:PreActivationBlock",
        "modifications.py:DiracConvolution",
    ),
    claims=(
        *(
            Claim(
                f"{words} closes half of the gap between plain-56 and ResNet-56",
                contrast={PLAIN: 0.5, RESIDUAL: 0.5, f"{PLAIN}@{name}": -1},
                above=0,
                reason="half of the gap",
                primary=name == "dirac",
            )
            for name, words in CURES.items()
        ),
        *(
            Claim(
                f"ResNet-56 trains as well, but for the margin, if its blocks {words}",
                contrast={f"{RESIDUAL}@{name}": 1, RESIDUAL: -1},
                below=MARGINS,
            )
            for name, words in ABLATIONS.items()
        ),
    ),
)
