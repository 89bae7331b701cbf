"""A figure that moves with the iteration: of what was measured, layer by layer, with a slider instead of a film.

The static figure stands in the page as it is, and stays there without a script and on paper. With one, this takes
its place: a line a network, the means over seeds of the CSV beside the figure.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.colors import to_hex

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.report.figures.style import depth_colour
from plain_vs_residual.report.templating import TEMPLATES

# Whose CSV has a row for each network, seed, iteration and layer, by the name of the figure's file.
QUANTITIES = {"gradient_norms": "weight"}


def moving_figure(picture: Path, caption: str) -> str:
    """Return what moves in a figure's place, as HTML with its script; nothing for a figure that cannot move.

    Args:
        picture: the figure's PNG; the CSV of what it shows lies beside it.
        caption: on which images, of how many seeds.
    """
    table = picture.with_suffix(".csv")
    if picture.stem not in QUANTITIES or not table.exists() or not table.read_text(encoding="utf-8").strip():
        return ""
    measured = pd.read_csv(table)
    measured = measured[measured["quantity"] == QUANTITIES[picture.stem]]
    there = measured[measured["value"] > 0]
    if there["iteration"].nunique() < 2:
        return ""
    # "</" would end the script that the numbers stand in.
    numbers = json.dumps(numbers_of(measured), separators=(",", ":")).replace("</", "<\\/")
    return TEMPLATES.get_template("moving_figure.html.j2").render(numbers=numbers, caption=caption)


def numbers_of(measured: pd.DataFrame) -> dict[str, Any]:
    """Return means and ranges over seeds for the script.

    Args:
        measured: columns ``network``, ``seed``, ``iteration``, ``position`` (of the layer, from 1) and ``value``.

    Returns:
        ``iterations``, in order; of each network ``label``, ``colour`` and, for each iteration, ``[[mean, least,
        greatest], ...]`` by layer, rounded to four digits; null where it was not measured.
    """
    iterations = sorted(measured["iteration"].unique())
    networks = []
    for name, rows in measured.groupby("network", sort=False):
        architecture = Architecture.parse(str(name))
        over_seeds = rows.groupby(["iteration", "position"])["value"].agg(["mean", "min", "max"])
        there = set(over_seeds.index.get_level_values(0))
        networks.append(
            {
                "label": architecture.label,
                "colour": to_hex(depth_colour(architecture)),
                "layers": [
                    [[_short(value) for value in layer] for layer in over_seeds.loc[one].to_numpy()]
                    if one in there
                    else None
                    for one in iterations
                ],
            }
        )
    return {"iterations": [int(one) for one in iterations], "networks": networks}


def _short(value: float) -> float | None:
    """Round to four digits; a value that is not finite, which JSON does not know, is none.

    >>> _short(0.123456), _short(float("nan"))
    (0.1235, None)
    """
    return float(f"{value:.4g}") if abs(value) < float("inf") else None
