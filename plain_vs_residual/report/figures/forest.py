"""Claims in one figure: a row each on a scale of its own, a dot per seed, interval, margin and what came out."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.report.figures.style import BOLD, COLOURS, GREY, SCREEN, SMALLEST, THIN, Drawn
from plain_vs_residual.report.tables import wanted_in_words

FIGURE = "claims"
LEGEND = (
    "each row has a scale of its own; dot: a seed; bar: mean and interval; upright line: the margin, shaded where "
    "the claim holds; bold: primary claims, which decide"
)
AHEAD, BEHIND = COLOURS[0], COLOURS[3]
# Of the figure's width: where the sentences end, where the scales end, and what is written right of them begins.
SENTENCES, SCALES = 0.46, 0.745
MOST_ROWS = 9  # that fit on one screen
Selection = Literal["all", "primary", "others"]


def chosen(verdicts: Sequence[Verdict], selection: Selection) -> list[Verdict]:
    """Return the claims of which there is a number: all, the primary ones, or all others."""
    wanted = {"all": (True, False), "primary": (True,), "others": (False,)}[selection]
    return [one for one in verdicts if one.measurement.num and one.claim.primary in wanted]


def screens(verdicts: Sequence[Verdict], selection: Selection) -> list[list[Verdict]]:
    """Share the chosen claims out to figures of one screen each, as evenly as they go; none without any."""
    claims = chosen(verdicts, selection)
    number = math.ceil(len(claims) / MOST_ROWS)
    each = math.ceil(len(claims) / max(1, number))
    return [claims[start : start + each] for start in range(0, len(claims), max(1, each))]


def forest(verdicts: Sequence[Verdict]) -> Drawn:
    """Draw the claims of which there is a number, a row each, as high as a screen or, of many, higher."""
    measured = chosen(verdicts, "all")
    rows = max(1, len(measured))
    height = SCREEN[1] * max(1.0, rows / MOST_ROWS)
    figure, panels = plt.subplots(rows, 1, figsize=(SCREEN[0], height), squeeze=False, layout="none")
    # One row's scale must not be as high as another's because its sentence is: rows are equal.
    top, bottom = 1 - 1.1 / height, 0.6 / height
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
    colour = AHEAD if verdict.distance > 0 else BEHIND
    axes.fill_betweenx([-0.5, 0.5], *_claimed(verdict, axes.get_xlim()), color="0.88", linewidth=0)
    axes.vlines(margins, -0.5, 0.5, color="black", linewidth=BOLD)
    axes.hlines(0, *measured.interval, color=colour, linewidth=1.5 * BOLD if primary else THIN)
    axes.scatter(measured.mean, 0, marker="D", s=110 if primary else 60, color=[colour], zorder=3)
    axes.scatter(seeds, np.full(len(seeds), 0.33), s=30, color=[GREY], zorder=3)
    axes.set(ylim=(0.5, -0.5), yticks=[0], yticklabels=[""])
    axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
    axes.tick_params(axis="x", labelsize=SMALLEST, pad=1)
    axes.grid(visible=False, axis="y")


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
    _write(axes, dict.fromkeys(sentence, weight), (0, -8), ha="right")
    _write(axes, {seeds: weight} | dict.fromkeys(numbers, "normal"), (1, 8), ha="left")


def _write(axes: Axes, lines: Mapping[str, str], beside: tuple[int, int], **looks: Any) -> None:
    """Write lines with their weights beside a row: at which side (0 left, 1 right), how many points from it.

    Line by line: a browser has other fonts than matplotlib, which would set a label of several lines by its own
    font's widths, one line further in than the other.
    """
    side, points = beside
    for place, (line, weight) in enumerate(lines.items()):
        axes.annotate(
            line,
            (side, 0.5),
            xycoords="axes fraction",
            xytext=(points, 1.2 * SMALLEST * ((len(lines) - 1) / 2 - place)),
            textcoords="offset points",
            va="center",
            fontsize=SMALLEST,
            fontweight=weight,
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
