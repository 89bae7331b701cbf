"""Claims in one figure: a row each on a scale of its own, a dot per seed, interval, margin and what came out."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from plain_vs_residual.evidence.decision import (
    AGREES,
    DISAGREES,
    FAILS,
    FALLS_SHORT,
    HOLDS,
    ON_THE_PAPERS_TERMS,
    Verdict,
)
from plain_vs_residual.report.figures.style import BOLD, GREY, SCREEN, SMALLEST, THIN, Drawn
from plain_vs_residual.report.tables import wanted_in_words

FIGURE = "claims"
LEGEND = (
    "each row has a scale of its own; dot: a seed; bar: mean and interval; shaded: where the claim wants it; "
    "bold: primary claims, which decide"
)


@dataclass(frozen=True)
class Looks:
    """The mark of a mean and the colour of what came out, neither of which is that of a kind of network."""

    marker: str
    colour: Any
    filled: bool = True


AS_CLAIMED, OTHERWISE, OPEN_STILL = Looks("D", "#00664d"), Looks("X", "#a3006b"), Looks("D", GREY, filled=False)
LOOKS = dict.fromkeys((HOLDS, ON_THE_PAPERS_TERMS[HOLDS], AGREES), AS_CLAIMED) | dict.fromkeys(
    (FAILS, ON_THE_PAPERS_TERMS[FAILS], DISAGREES, FALLS_SHORT), OTHERWISE
)
# Of the figure's width: where the sentences end, where the scales end, and what is written right of them begins.
SENTENCES, SCALES = 0.46, 0.745
MOST_ROWS = 8  # that fit on one screen


def screens(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Share the primary claims of which there is a number out to screens, as evenly as they go; one at least."""
    claims = [one for one in _measured(verdicts) if one.claim.primary]
    number = max(1, math.ceil(len(claims) / MOST_ROWS))
    each = math.ceil(len(claims) / number)
    return [claims[each * place : each * (place + 1)] for place in range(number)]


def _measured(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [one for one in verdicts if one.measurement.num]


def forest(verdicts: Sequence[Verdict]) -> Drawn:
    """Draw the claims of which there is a number, a row each, as high as a screen or, of many, higher."""
    measured = _measured(verdicts)
    rows = max(1, len(measured))
    height = SCREEN[1] * max(1.0, rows / MOST_ROWS)
    figure, panels = plt.subplots(rows, 1, figsize=(SCREEN[0], height), squeeze=False, layout="none")
    # One row's scale must not be as high as another's because its sentence is: rows are equal.
    top, bottom = 1 - 1.3 / height, 0.6 / height
    figure.subplots_adjust(left=SENTENCES, right=SCALES, top=top, bottom=bottom, hspace=1.3)
    for axes, verdict in zip(panels[:, 0], measured, strict=False):
        _draw_row(axes, verdict)
        _state(axes, verdict)
    if not measured:
        panels[0, 0].text(
            0.5, 0.5, "no seed has all the runs that a claim compares", ha="center", fontsize=SMALLEST
        )
        panels[0, 0].set_axis_off()
    return figure, _table(measured)


def _draw_row(axes: Axes, verdict: Verdict) -> None:
    """Draw one claim on a scale that shows its margin, interval and seeds, whatever those of others are."""
    measured, primary = verdict.measurement, verdict.claim.primary
    margins = [-verdict.margin, verdict.margin] if verdict.claim.side == "within" else [verdict.margin]
    seeds = list(measured.values.values())
    ends = [end for end in (*margins, *seeds, *measured.interval) if np.isfinite(end)]
    room = 0.12 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - room, max(ends) + room)
    looks = LOOKS.get(verdict.outcome, OPEN_STILL)
    axes.fill_betweenx([-0.5, 0.5], *_claimed(verdict, axes.get_xlim()), color="0.88", linewidth=0)
    axes.vlines(margins, -0.5, 0.5, color="black", linewidth=BOLD)
    axes.hlines(0, *measured.interval, color=looks.colour, linewidth=1.5 * BOLD if primary else THIN)
    axes.scatter(
        measured.mean,
        0,
        marker=looks.marker,
        s=300 if primary else 130,
        color=[looks.colour if looks.filled else "white"],
        edgecolor=["white" if looks.filled else looks.colour],
        linewidth=THIN,
        zorder=3,
    )
    axes.scatter(seeds, np.full(len(seeds), 0.33), s=30, color=[GREY], zorder=3)
    axes.set(ylim=(0.5, -0.5), yticks=[0], yticklabels=[""])
    ticks = MaxNLocator(4).tick_values(*axes.get_xlim())
    axes.set_xticks([tick for tick in ticks if _inside(tick, *axes.get_xlim())])
    axes.tick_params(axis="x", labelsize=SMALLEST, pad=1)
    axes.grid(visible=False, axis="y")


def _inside(tick: float, low: float, high: float) -> bool:
    """Tell whether a tick's number, written below it, stays clear of what is written beside the scale."""
    return low + 0.06 * (high - low) < tick < high - 0.06 * (high - low)


def _claimed(verdict: Verdict, limits: tuple[float, float]) -> tuple[float, float]:
    """Return from where to where within the limits a claim wants its number."""
    margin, (low, high) = verdict.margin, limits
    return {"above": (margin, high), "below": (low, margin), "within": (-margin, margin)}[verdict.claim.side]


def _state(axes: Axes, verdict: Verdict) -> None:
    """Write the claim's sentence left of its row, and right of it what came out."""
    weight = "bold" if verdict.claim.primary else "normal"
    measured = verdict.measurement
    sentence = textwrap.wrap(f"{verdict.statement} [{verdict.experiment}]", 56, max_lines=3, placeholder=" ...")
    seeds = f"{verdict.outcome} ({measured.num} seed{'s' if measured.num > 1 else ''})"
    numbers = [
        f"mean {round(measured.mean, 4):+.3g}",
        f"claimed: {wanted_in_words(verdict.claim, verdict.margin)}",
    ]
    colour = LOOKS.get(verdict.outcome, OPEN_STILL).colour
    _write(axes, {line: {"fontweight": weight} for line in sentence}, (0, -8), ha="right")
    beside: dict[str, dict[str, Any]] = {seeds: {"fontweight": weight, "color": colour}}
    _write(axes, beside | {line: {} for line in numbers}, (1, 8), ha="left")


def _write(axes: Axes, lines: Mapping[str, Mapping[str, Any]], beside: tuple[int, int], ha: str) -> None:
    """Write lines, each with its looks, beside a row: at which side (0 left, 1 right), how many points from it.

    Line by line: a browser has other fonts than matplotlib, which would set a label of several lines by its own
    font's widths, one line further in than the other.
    """
    side, points = beside
    for place, (line, looks) in enumerate(lines.items()):
        axes.annotate(
            line,
            (side, 0.5),
            xycoords="axes fraction",
            xytext=(points, 1.2 * SMALLEST * ((len(lines) - 1) / 2 - place)),
            textcoords="offset points",
            va="center",
            ha=ha,
            fontsize=SMALLEST,
            parse_math=False,
            **looks,
        )


def _table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    rows = [
        {
            "experiment": verdict.experiment,
            "claim": verdict.claim.statement,
            "column": verdict.claim.column,
            "primary": verdict.claim.primary,
            "margin": verdict.margin,
            "level": verdict.measurement.level,
            "mean": verdict.measurement.mean,
            "low": verdict.measurement.interval[0],
            "high": verdict.measurement.interval[1],
            "seed": seed,
            "value": value,
            "outcome": verdict.outcome,
        }
        for verdict in verdicts
        for seed, value in verdict.measurement.values.items()
    ]
    return pd.DataFrame(rows)
