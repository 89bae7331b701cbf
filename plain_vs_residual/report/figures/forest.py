"""All claims in one figure: a row each, with a dot per seed, the interval, the margin and what came out."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.report.figures.style import BOLD, COLOURS, GREY, Drawn

FIGURE = "claims"
LEGEND = (
    "dot: a seed; bar: mean and interval; upright line: the margin, shaded where the claim holds; "
    "thick bars and bold words: primary claims, which decide"
)
AHEAD, BEHIND = COLOURS[0], COLOURS[3]


def forest(verdicts: Sequence[Verdict]) -> Drawn:
    """Draw the claims of which there is a number; those on errors left, in points, all others right."""
    measured = [verdict for verdict in verdicts if verdict.measurement.num]
    groups = {
        "errors (points)": [v for v in measured if v.claim.column.endswith("error")],
        "other quantities (each in its own unit)": [v for v in measured if not v.claim.column.endswith("error")],
    }
    shown = {words: group for words, group in groups.items() if group} or {"errors (points)": []}
    heights = [max(1, len(group)) for group in shown.values()]
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(17, 2.5 + 0.75 * sum(heights)), height_ratios=heights, squeeze=False
    )
    for axes, (words, group) in zip(panels[:, 0], shown.items(), strict=True):
        _panel(axes, group, words)
    return figure, _table(measured)


def _panel(axes: Axes, verdicts: Sequence[Verdict], words: str) -> None:
    wide = _draw_rows(axes, verdicts)
    if wide:
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_ylim(max(1, len(verdicts)) - 0.5, -0.5)
    if not verdicts:
        box = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0, 0, "no seed has all the runs that a claim compares", ha="center", fontsize=15, bbox=box)
    axes.set_yticks(range(len(verdicts)), [""] * len(verdicts))
    for place, verdict in enumerate(verdicts):
        _state(axes, place, verdict)
    axes.set(xlabel=f"number of the claim: {words}", title=words)
    axes.grid(visible=False, axis="y")


def _draw_rows(axes: Axes, verdicts: Sequence[Verdict]) -> bool:
    """Draw a row per verdict, and say whether the values ask for a logarithmic axis."""
    ends = [abs(end) for v in verdicts for end in (*v.measurement.interval, v.measurement.mean, v.margin)]
    finite = [end for end in ends if np.isfinite(end)]
    farthest = max(finite, default=1.0) or 1.0
    for place, verdict in enumerate(verdicts):
        measured, primary = verdict.measurement, verdict.claim.primary
        colour = AHEAD if verdict.distance > 0 else BEHIND
        start, end = _claimed(verdict, 2 * farthest)
        axes.fill_betweenx([place - 0.4, place + 0.4], start, end, color="0.93", linewidth=0)
        margins = [-verdict.margin, verdict.margin] if verdict.claim.side == "within" else verdict.margin
        axes.vlines(margins, place - 0.4, place + 0.4, color="black", linewidth=2)
        axes.hlines(place, *measured.interval, color=colour, linewidth=2 * BOLD if primary else BOLD / 2)
        axes.scatter(measured.mean, place, marker="D", s=90 if primary else 40, color=[colour], zorder=3)
        seeds = list(measured.values.values())
        axes.scatter(seeds, np.full(len(seeds), place + 0.22), s=22, color=[GREY], zorder=3)
        axes.annotate(
            f"{verdict.outcome} ({measured.num} seed{'s' if measured.num > 1 else ''})",
            (1.01, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=13,
            fontweight="bold" if primary else "normal",
        )
    axes.set_xlim(-1.05 * farthest, 1.05 * farthest)
    return farthest > 10


def _claimed(verdict: Verdict, farthest: float) -> tuple[float, float]:
    """Return from where to where a claim wants its number."""
    margin = verdict.margin
    return {"above": (margin, farthest), "below": (-farthest, margin), "within": (-margin, margin)}[
        verdict.claim.side
    ]


def _state(axes: Axes, place: int, verdict: Verdict) -> None:
    """Write the claim's sentence to the left of its row.

    Line by line: a browser has other fonts than matplotlib, which would set a label of several lines by its own
    font's widths, one line further in than the other.
    """
    lines = textwrap.wrap(f"{verdict.statement} [{verdict.experiment}]", 62)[:3]
    for number, line in enumerate(lines):
        axes.annotate(
            line,
            (0, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-8, 14 * ((len(lines) - 1) / 2 - number)),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=11,
            fontweight="bold" if verdict.claim.primary else "normal",
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
