"""Does a 95 % interval of a few seeds hold the true mean 95 % of the time? Simulated from the spread of trials.

    bash run_all.sh benchmark coverage              # about 10 minutes on one CPU core

Seeds are drawn with the spread of the headline claim on five trial seeds (docs/choices.md), in three ways: from a
normal distribution, from one with heavier tails (Student's t with 4 degrees of freedom), and from a skewed one (a
lognormal). The truth is known, so that it can be counted how often it is held: by the t interval that the page
prints, by the prediction interval of the next seed, and by a percentile bootstrap, which is why the page has none.
Last, Holm's turns: how often any of four claims that are exactly at their margin is decided.
"""

from collections.abc import Callable

import numpy as np

from plain_vs_residual.evidence.levels import holm, p_value
from plain_vs_residual.evidence.measurement import Measurement

TRIALS = (10.5, 11.0, 15.4, 17.2, 15.4)  # 18 and 34 layers, `fashion`, seeds 100 to 104
REPEATS = 10_000
RESAMPLES = 1_000
Draw = Callable[[np.random.Generator, int], np.ndarray]
SPREAD = float(np.std(TRIALS, ddof=1))
SIGMA = 0.8  # of the lognormal: a skewness of about 3.7
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda drawn, num: SPREAD * drawn.standard_normal(num),
    "heavy tails": lambda drawn, num: SPREAD * drawn.standard_t(4, num) / np.sqrt(2),
    "skewed": lambda drawn, num: SPREAD * _standardised(drawn.lognormal(0, SIGMA, num)),
}


def _standardised(values: np.ndarray) -> np.ndarray:
    """Bring values of the lognormal distribution to a mean of 0 and a spread of 1."""
    mean = np.exp(SIGMA**2 / 2)
    return np.asarray((values - mean) / (mean * np.sqrt(np.exp(SIGMA**2) - 1)))


def coverage(draw: Draw, num: int, drawn: np.random.Generator) -> tuple[float, ...]:
    """Return how often the t interval, the prediction interval and the bootstrap hold what they should."""
    held = np.zeros(3)
    for _ in range(REPEATS):
        values = draw(drawn, num)
        measured = Measurement(dict(enumerate(values)), 0.95, 0.0)
        (low, high), (next_low, next_high) = measured.interval, measured.next_seed
        means = drawn.choice(values, (RESAMPLES, num)).mean(axis=1)
        boot_low, boot_high = np.quantile(means, (0.025, 0.975))
        held += (low <= 0 <= high, next_low <= draw(drawn, 1)[0] <= next_high, boot_low <= 0 <= boot_high)
    return tuple(held / REPEATS)


def wrong_decisions(draw: Draw, num: int, drawn: np.random.Generator) -> float:
    """Return how often any of four claims that are exactly at their margin is decided, by Holm's turns."""
    wrong = 0
    for _ in range(REPEATS):
        measured = [Measurement(dict(enumerate(draw(drawn, num))), 0.95, 0.0) for _ in range(4)]
        p_values = [p_value(one, 0.0, "above") for one in measured]
        levels = holm(p_values, 4)
        wrong += any(p < 1 - level for p, level in zip(p_values, levels, strict=True))
    return wrong / REPEATS


def main() -> None:
    """Print a table, a row per distribution and number of seeds."""
    print(
        "| seeds are | number | t interval, 95 % | next seed, 95 % | bootstrap, 95 % | any of 4 decided wrongly |"
    )
    print("|---|---|---|---|---|---|")
    for name, draw in DISTRIBUTIONS.items():
        for num in (3, 5, 9):
            drawn = np.random.default_rng(0)
            held = " | ".join(f"{100 * share:.1f} %" for share in coverage(draw, num, drawn))
            print(f"| {name} | {num} | {held} | {100 * wrong_decisions(draw, num, drawn):.1f} % |", flush=True)


if __name__ == "__main__":
    main()
