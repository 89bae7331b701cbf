"""Is it only SGD? Plain-56 and ResNet-56 under three optimizers, each at its own learning rate.

"SGD on plain-56 does not find it" has an obvious answer: take a better optimizer. AdamW gives each weight a step
of its own, so that layers with small gradients move as far as those with large ones. Muon (Jordan et al., 2024)
makes each matrix of gradients orthogonal, so that all its directions move equally far. Both should help where
SGD's steps are lost in a few directions, as gradients of plain-56 are.

Predict: plain-56 errs 40 points more than ResNet-56 under SGD. How many are left under AdamW, how many under Muon?

What to look for: two marks per optimizer, a cross for plain-56 and a square for ResNet-56, one per seed. The
distance between them is the degradation that the optimizer leaves.

    bash run_all.sh optimizers

Each network has, under each optimizer, the rate at which it trained best in trials on seeds from 100 on
(docs/choices.md); elsewhere than in `fashion` nothing was tried. Muon is torch's, for the kernels of convolutions,
each as a matrix with a row per output channel; classifier, BN and all else keep SGD, at the same rate.

Cost: four runs per seed, 3 minutes on one core (`fashion`), in addition to those shared with fig6_cifar_depth. On
a GPU, steps of AdamW and Muon are not recorded as a graph, and take longer.

Exercise: somebody tries AdamW at SGD's rate, 0.01, finds plain-56 at 82 % (one trial), and reports that AdamW is
worse than SGD. What did they compare?

Solution: two scales. A step of SGD is the rate times the gradient, whose norm may be anything; a step of AdamW is
about the rate itself in every weight, and one of Muon the rate in every direction. A rate means nothing without
its optimizer, which is why each has its own here, chosen by one rule.
"""

from plain_vs_residual.experiment import MARGINS, Claim, Experiment, Study

PLAIN, RESIDUAL = "cifar-plain56", "cifar-residual56-A"
WHERE = ("fashion", "digits", "cifar10", "cifar10-short")
# By optimizer: of plain-56 and ResNet-56 the best of trials in fashion. SGD's is the setting's.
RATES = {"adamw": {PLAIN: 0.003, RESIDUAL: 0.003}, "muon": {PLAIN: 0.1, RESIDUAL: 0.01}}
NAMES = {"adamw": "AdamW", "muon": "Muon"}


def study_of(optimizer: str, network: str) -> str:
    """Name a network's study under an optimizer."""
    return f"{optimizer}-lr{RATES[optimizer][network]}"


def _studies() -> tuple[Study, ...]:
    by_name: dict[str, Study] = {}
    for optimizer, rates in RATES.items():
        for rate in dict.fromkeys(rates.values()):
            name, changes = f"{optimizer}-lr{rate}", {"optimizer": optimizer, "learning_rate": rate}
            networks = tuple(network for network in rates if rates[network] == rate)
            by_name[name] = Study(name, changes, f"{NAMES[optimizer]} instead of SGD", networks=networks)
    return (Study(), *by_name.values())


def _gap(optimizer: str) -> dict[str, float]:
    return {f"{network}@{study_of(optimizer, network)}": sign for network, sign in ((PLAIN, 1), (RESIDUAL, -1))}


EXPERIMENT = Experiment(
    title="Is it only SGD?",
    paper="Sec. 3.4 and 4.1; Loshchilov and Hutter (2019), Jordan et al. (2024)",
    figures=("optimizers",),
    networks=dict.fromkeys(WHERE, (PLAIN, RESIDUAL)),
    studies=dict.fromkeys(WHERE, _studies()),
    seminar=True,
    code=("training/step.py:make_optimizer", "training/optimizers.py:MuonAndSGD.step"),
    claims=(
        Claim(
            "Under Muon, too, plain-56 errs more than ResNet-56",
            contrast=_gap("muon"),
            above=MARGINS,
            primary=True,
        ),
        Claim("Under AdamW, too, plain-56 errs more than ResNet-56", contrast=_gap("adamw"), above=MARGINS),
        Claim(
            "Under SGD plain-56 errs more than ResNet-56",
            contrast={PLAIN: 1, RESIDUAL: -1},
            above=MARGINS,
        ),
    ),
)
