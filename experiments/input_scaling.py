"""Why did it not converge? Input scale, mean subtraction, learning rate and warm-up, in every combination.

The author of an article on ResNet-50 could not train it with per-pixel mean subtraction or with learning rate 0.1
(NaN or no convergence) and did not find out why. This grid shows which of the four factors makes the difference.

The expectation: BN after the first convolution cancels the scale of the input in the forward pass. In the
backward pass, the gradient reaching conv1's output shrinks as the input grows, which cancels the scale there too.
Only the learning rate is left to make the difference.

Predict: which of the four makes the difference between training and guessing?

What to look for: the final error of each combination and, in the first iterations, the scale of conv1's output
(which follows the input), of BN's output (which should not), and of the gradients.

    bash run_all.sh input_scaling

Cost: about 2 minutes per seed on 2 cores (`digits`, 3 epochs). Trained only when this experiment is named.

Exercise: multiply the input by 255. What happens to the output of conv1, to that of its BN, to the gradient of
conv1's weights, and to the step that SGD makes relative to the size of these weights?

Solution: conv1's output grows 255-fold, BN's stays as it is. The gradient that reaches conv1's output shrinks
255-fold and is multiplied by an input that is 255 times larger: the gradient of the weights stays as it is, and
so does the step. Only the learning rate, common to all layers, is left.
"""

from plain_vs_residual.experiment import Claim, Experiment, Study

NETWORK = "residual50-B"


def studies(warm_up_iterations: int, **budget: object) -> tuple[Study, ...]:
    """List the sixteen combinations, with names such as ``0..255-mean-lr0.1-warm``."""
    return tuple(
        Study(
            f"{pixels}-{'mean' if mean else 'raw'}-lr{rate:g}-{'warm' if warm else 'cold'}",
            changes={
                "pixel_range": pixels,
                "subtract_mean": mean,
                "learning_rate": rate,
                "warm_up_depth": 0,
                "warm_up_iterations": warm_up_iterations if warm else 0,
                "probe_iterations": 20,
                "evaluations": 6,
                **budget,
            },
            reason="sixteen combinations of pixel range, mean subtraction, learning rate and warm-up",
        )
        for pixels in ("0..1", "0..255")
        for mean in (True, False)
        for rate in (0.01, 0.1)
        for warm in (False, True)
    )


EXPERIMENT = Experiment(
    title="Input scaling, mean subtraction, learning rate and warm-up",
    paper="an open question from an article, not from the paper",
    figures=("input_scaling_grid", "first_iterations"),
    networks=dict.fromkeys(("digits", "cifar10", "cifar10-short"), (NETWORK,)),
    studies={
        "digits": studies(15, epochs=3),
        "cifar10": studies(400),
        "cifar10-short": studies(400),
    },
    on_request=("digits", "cifar10", "cifar10-short"),
    claims=(
        Claim(
            "The range of the pixels does not matter: 0..255 is not worse than 0..1 by five points or more",
            contrast={f"{NETWORK}@0..255-mean-lr0.01-cold": 1, f"{NETWORK}@0..1-mean-lr0.01-cold": -1},
            below=5.0,
            reason="ten times the margin of errors: a difference that would decide how images are fed",
            primary=True,
        ),
        Claim(
            "Subtracting the mean does no harm: it is not worse than raw pixels by five points or more",
            contrast={f"{NETWORK}@0..1-mean-lr0.01-cold": 1, f"{NETWORK}@0..1-raw-lr0.01-cold": -1},
            below=5.0,
            reason="as above",
        ),
        Claim(
            "Within this budget, learning rate 0.1 ends worse than 0.01, whatever the input",
            contrast={
                f"{NETWORK}@{pixels}-{mean}-lr{rate}-cold": sign / 4
                for pixels in ("0..1", "0..255")
                for mean in ("mean", "raw")
                for rate, sign in (("0.1", 1), ("0.01", -1))
            },
            above=0.0,
            reason="any difference in this direction",
        ),
        Claim(
            "A warm-up rescues training at learning rate 0.1",
            contrast={f"{NETWORK}@0..1-mean-lr0.1-cold": 1, f"{NETWORK}@0..1-mean-lr0.1-warm": -1},
            above=0.0,
            reason="any difference in this direction",
        ),
    ),
)
