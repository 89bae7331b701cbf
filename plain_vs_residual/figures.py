"""Figures in the paper's line conventions, each with the CSV of what is drawn. Imports no torch."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plain_vs_residual.analysis import Edition
from plain_vs_residual.experiment import Experiment, Network
from plain_vs_residual.records import atomically

THIN, BOLD = 1.3, 3.0
COLOURS = sns.color_palette("colorblind")
# By depth: the same colour in every panel; told apart in grey by lightness.
DEPTH_COLOURS = {
    18: COLOURS[0],
    34: COLOURS[3],
    20: COLOURS[0],
    32: COLOURS[2],
    44: COLOURS[1],
    56: COLOURS[3],
    110: COLOURS[4],
}
OPTION_COLOURS = {None: (0.25, 0.25, 0.25), "A": COLOURS[0], "B": COLOURS[1], "C": COLOURS[2]}
MARKERS = {None: "X", "A": "o", "B": "s", "C": "^"}

Drawn = tuple[Figure, pd.DataFrame]


def draw_all(edition: Edition, experiments: Iterable[Experiment], folder: Path) -> list[Path]:
    """Draws every experiment of which there is a run; returns the PNG files in the order of the experiments."""
    return [
        draw(edition, experiment, name, folder)
        for experiment in experiments
        if edition.shows(experiment)
        for name in experiment.figures
    ]


def draw(edition: Edition, experiment: Experiment, name: str, folder: Path) -> Path:
    """Draws one figure of an experiment as PNG, SVG and CSV; returns the PNG's path.

    Raises:
        ValueError: if there is no figure of that name.
    """
    known = figure_functions()
    if name not in known:
        raise ValueError(f"experiment {experiment.name}: no figure '{name}'; accepted are {', '.join(known)}")
    make = partial(known[name], edition, experiment)
    return write_figure(make, _caption(edition, experiment), folder, figure_stem(experiment, name))


def write_figure(make: Callable[[], "Drawn"], caption: str, folder: Path, stem: str) -> Path:
    """Draws in this suite's style and writes PNG, SVG and the CSV of what is drawn; returns the PNG's path.

    Raises:
        ValueError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        figure, data = make()
        figure.suptitle(caption, fontsize=15, parse_math=False)
        for suffix in ("png", "svg"):
            save = partial(figure.savefig, format=suffix, dpi=130, metadata=METADATA[suffix])
            atomically(folder / f"{stem}.{suffix}", save)
        plt.close(figure)
    atomically(folder / f"{stem}.csv", lambda path: data.to_csv(path, index=False, lineterminator="\n"))
    return folder / f"{stem}.png"


def figure_stem(experiment: Experiment, name: str) -> str:
    """File name of a figure, without its ending: the experiment's own for its first figure."""
    return experiment.name if name == experiment.figures[0] else f"{experiment.name}-{name}"


# Without the date, so that the same records give the same bytes.
METADATA: dict[str, Any] = {"png": {}, "svg": {"Date": None}}
STYLE: Any = {
    "font.size": 15,
    "axes.labelsize": 16,
    "axes.titlesize": 17,
    "legend.fontsize": 13,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "plain_vs_residual",
    "svg.fonttype": "none",
}


def _caption(edition: Edition, experiment: Experiment) -> str:
    finals = edition.select(edition.finals, experiment)
    counts = set(finals[["network", "study"]].value_counts()) if not finals.empty else {0}
    seeds = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    plural = "s" if counts != {1} else ""
    parts = [f"{edition.dataset}, setting {edition.setting}", f"{seeds} seed{plural}"]
    run, study = edition.records[0].run, experiment.studies_in(edition.setting)[0]
    # A study has another budget than the one of which the setting warns.
    caveats = (study.reason or run["caveat"], run["dataset"]["caveat"])
    return "; ".join([*parts, *(caveat.split(":")[0] for caveat in caveats if caveat)])


def depth_curves(edition: Edition, experiment: Experiment) -> Drawn:
    """Fig. 4: thin = training, bold = validation; plain left, residual right, shared axes."""
    return _plain_and_residual(
        edition, experiment, {"training_error": ("-", THIN), "validation_error": ("-", BOLD)}
    )


def cifar_curves(edition: Edition, experiment: Experiment) -> Drawn:
    """Fig. 6: dashed = training, bold = test; plain left, residual right, shared axes."""
    return _plain_and_residual(
        edition, experiment, {"training_error": ("--", THIN), "validation_error": ("-", BOLD)}
    )


def _plain_and_residual(edition: Edition, experiment: Experiment, lines: dict[str, tuple[str, float]]) -> Drawn:
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    drawn = []
    for axes, kind in zip(panels, ("plain", "residual"), strict=True):
        names = [name for name in experiment.networks[edition.setting] if Network.parse(name).kind == kind]
        drawn += _curves(axes, edition, experiment, names, lines, _depth_colour)
        axes.set_title("plain" if kind == "plain" else "residual (ResNet)")
        axes.set_xlabel("iteration")
    panels[0].set_ylabel("error (%)")
    _limit(panels[0], drawn)
    return figure, _table(drawn)


def training_and_test(edition: Edition, experiment: Experiment) -> Drawn:
    """Fig. 1: plain networks of 20 and 56 layers, training error left, test error right."""
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    drawn = []
    names = [name for name in experiment.networks[edition.setting] if name in ("cifar-plain20", "cifar-plain56")]
    for axes, (column, title) in zip(
        panels, (("training_error", "training error"), ("validation_error", "test error")), strict=True
    ):
        drawn += _curves(axes, edition, experiment, names, {column: ("-", BOLD)}, _depth_colour)
        axes.set(title=title, xlabel="iteration")
    panels[0].set_ylabel("error (%)")
    _limit(panels[0], drawn)
    return figure, _table(drawn)


def shortcut_options(edition: Edition, experiment: Experiment) -> Drawn:
    """Table 3 as curves (thin = training, bold = validation) and as final errors, a dot a seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 6), width_ratios=(3, 2))
    names = list(experiment.networks[edition.setting])
    lines = {"training_error": ("-", THIN), "validation_error": ("-", BOLD)}
    drawn = _curves(left, edition, experiment, names, lines, _option_colour)
    left.set(title="thin: training, bold: validation", xlabel="iteration", ylabel="error (%)")
    _limit(left, drawn)
    finals = edition.select(edition.finals, experiment)
    for place, name in enumerate(names):
        network = Network.parse(name)
        runs = finals[finals["network"] == name] if not finals.empty else finals
        if runs.empty:
            right.text(place, 0.5, "not run", rotation=90, ha="center", transform=right.get_xaxis_transform())
            continue
        for column, shift, filled in (("training_error", -0.16, False), ("validation_error", 0.16, True)):
            colour = _option_colour(network)
            dots = pd.DataFrame({"iteration": runs["iteration"], "count": 1, "network": name, "column": column})
            dots = dots.assign(seed=runs["seed"].astype("Int64"))
            drawn.append(dots.assign(**dict.fromkeys(("mean", "min", "max"), runs[column])))
            right.scatter(
                np.full(len(runs), place + shift),
                runs[column],
                s=70,
                marker=MARKERS[network.option],
                facecolor=colour if filled else "none",
                edgecolor=colour,
                linewidth=1.5,
                alpha=0.75,
            )
            right.hlines(
                runs[column].mean(), place + shift - 0.13, place + shift + 0.13, color=colour, linewidth=3
            )
    right.set_xticks(range(len(names)), [Network.parse(name).option or "plain" for name in names])
    right.set_xlim(-0.5, len(names) - 0.5)
    right.set(
        title="at the end: hollow training,\nfilled validation; bar: mean",
        xlabel="shortcut option",
        ylabel="error (%)",
    )
    right.set_ylim(bottom=0)
    return figure, _table(drawn)


def layer_responses(edition: Edition, experiment: Experiment) -> Drawn:
    """Fig. 7: standard deviation of the responses in order and sorted; below, RMS of F(x) over x a block."""
    figure, panels = plt.subplots(3, 1, figsize=(13, 14))
    responses = edition.select(edition.responses, experiment)
    names = list(experiment.networks[edition.setting])
    diverged = _diverged(edition, experiment)
    drawn = []
    for name in names:
        network = Network.parse(name)
        runs = responses[responses["network"] == name].dropna() if not responses.empty else responses
        if runs.empty:
            for axes in panels[: 2 if network.kind == "plain" else 3]:
                axes.plot([], [], label=f"{network.label}: not run", **_response_style(network))
            continue
        draw_responses(panels, network, runs, network.label + diverged.get(name, ""))
        drawn.append(runs[["network", "seed", "moment", "kind", "order", "layer", "value"]])
    # Where one network responds ten times as strongly as another, a linear axis shows only it.
    label_responses(panels, wide=any(table["value"].max() > 10 * table["value"].median() for table in drawn))
    return figure, _table(drawn)


def draw_responses(panels: Sequence[Axes], network: Network, runs: pd.DataFrame, label: str) -> None:
    """Draws one network's layer responses into the first two panels, F(x) over x, if it has any, into the third.

    Args:
        panels: in order, sorted by size, F(x) over x; a plain network needs the first two only.
        network: decides colour and line.
        runs: columns ``seed``, ``moment``, ``kind``, ``order`` and ``value``; the mean over seeds is drawn.
        label: of the network's line.
    """
    style = _response_style(network)
    final = runs[(runs["kind"] == "response_std") & (runs["moment"] == "final")]
    in_order = final.groupby("order")["value"].agg(["mean", "min", "max"])
    by_rank = final.assign(order=final.groupby("seed")["value"].rank(ascending=False, method="first").astype(int))
    in_rank = by_rank.groupby("order")["value"].agg(["mean", "min", "max"])
    for axes, table in ((panels[0], in_order), (panels[1], in_rank)):
        axes.plot(table.index, table["mean"], label=label, **style)
        axes.fill_between(table.index, table["min"], table["max"], color=style["color"], alpha=0.15, linewidth=0)
    for moment, line in (("initial", ":"), ("final", "-")):
        ratios = runs[(runs["kind"] == "ratio") & (runs["moment"] == moment)]
        if ratios.empty:
            continue
        table = ratios.groupby("order")["value"].agg(["mean", "min", "max"])
        panels[2].plot(
            table.index,
            table["mean"],
            line,
            color=style["color"],
            linewidth=BOLD - 0.5,
            marker="o",
            label=f"{network.label}, {'trained' if moment == 'final' else 'at initialisation'}",
        )
        panels[2].fill_between(
            table.index, table["min"], table["max"], color=style["color"], alpha=0.15, linewidth=0
        )


def _response_style(network: Network) -> dict[str, Any]:
    plain = network.kind == "plain"
    return {
        "color": _depth_colour(network),
        "linestyle": "--" if plain else "-",
        "linewidth": THIN + 0.5 if plain else BOLD - 0.5,
    }


def label_responses(panels: Sequence[Axes], *, wide: bool) -> None:
    """Titles, axes and legends of the panels of :func:`draw_responses`; ``wide`` for a logarithmic axis."""
    panels[0].set(title="layer responses, in order", xlabel="layer (3x3 convolutions, from the input)")
    panels[1].set(title="layer responses, sorted by size", xlabel="layer, sorted")
    for axes in panels[:2]:
        axes.set_ylabel("standard deviation\nafter BN")
        axes.set_yscale("log" if wide else "linear")
        if not wide:
            axes.set_ylim(bottom=0)
    for axes in panels[2:]:
        axes.set(
            title="size of F(x) against x",
            xlabel="residual block, from the input",
            ylabel="RMS of F(x)\nover RMS of x",
        )
        axes.set_ylim(bottom=0)
    for axes in panels:
        axes.legend(ncols=2)
        axes.locator_params("x", integer=True)


def final_errors(edition: Edition, experiment: Experiment) -> Drawn:
    """The headline: error at the end against depth, plain and residual, a dot a seed and a line of means."""
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharex=True, sharey=True)
    finals = edition.select(edition.finals, experiment)
    names = list(experiment.networks[edition.setting])
    depths = sorted({Network.parse(name).depth for name in names})
    for axes, column, title in (
        (panels[0], "training_error", "training error"),
        (panels[1], "validation_error", "validation error"),
    ):
        for kind, colour, marker in (("plain", COLOURS[3], "X"), ("residual", COLOURS[0], "o")):
            means = {}
            for name in names:
                network = Network.parse(name)
                if network.kind != kind:
                    continue
                runs = finals[finals["network"] == name] if not finals.empty else finals
                if runs.empty:
                    axes.annotate(
                        f"{network.label}\nnot run",
                        (depths.index(network.depth), 0.9),
                        ha="center",
                        xycoords=axes.get_xaxis_transform(),
                        color=colour,
                        fontsize=12,
                    )
                    continue
                means[depths.index(network.depth)] = runs[column].mean()
                if runs["diverged"].any():
                    axes.annotate(
                        f"{runs['diverged'].sum()} diverged",
                        (depths.index(network.depth) + 0.1, runs[column].max()),
                        color=colour,
                        fontsize=12,
                    )
                jitter = np.linspace(-0.06, 0.06, len(runs)) if len(runs) > 1 else np.zeros(1)
                axes.scatter(
                    depths.index(network.depth) + jitter,
                    runs[column],
                    color=colour,
                    marker=marker,
                    s=50,
                    alpha=0.55,
                    linewidth=0,
                )
            axes.plot(
                list(means),
                list(means.values()),
                color=colour,
                marker=marker,
                markersize=12,
                linewidth=BOLD,
                label=kind,
            )
        axes.set(title=f"{title} at the end", xlabel="depth (layers)")
        axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        axes.set_xlim(-0.4, len(depths) - 0.6)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("error (%)")
    panels[0].set_ylim(bottom=0)
    columns = ["network", "seed", "training_error", "validation_error", "diverged"]
    return figure, finals[columns] if not finals.empty else pd.DataFrame(columns=columns)


FIGURES: dict[str, Callable[[Edition, Experiment], Drawn]] = {
    "depth_curves": depth_curves,
    "cifar_curves": cifar_curves,
    "training_and_test": training_and_test,
    "shortcut_options": shortcut_options,
    "layer_responses": layer_responses,
    "final_errors": final_errors,
}


def figure_functions() -> dict[str, Callable[[Edition, Experiment], Drawn]]:
    """Every figure by name: the paper's here, those of the studies in ``study_figures.py``."""
    from plain_vs_residual import study_figures

    studies = ("error_and_loss", "confusion", "input_scaling_grid", "first_iterations")
    return FIGURES | {name: getattr(study_figures, name) for name in studies}


def _depth_colour(network: Network) -> Any:
    return DEPTH_COLOURS.get(network.depth, COLOURS[network.depth % len(COLOURS)])


def _option_colour(network: Network) -> Any:
    return OPTION_COLOURS[network.option]


def _curves(
    axes: Axes,
    edition: Edition,
    experiment: Experiment,
    names: Sequence[str],
    lines: dict[str, tuple[str, float]],
    colour_of: Callable[[Network], Any],
) -> list[pd.DataFrame]:
    """Draws the mean over seeds of each column and the range between them; a missing run stays in the legend."""
    curves = edition.select(edition.curves, experiment)
    diverged = _diverged(edition, experiment)
    drawn = []
    for name in names:
        network = Network.parse(name)
        runs = curves[curves["network"] == name] if not curves.empty else curves
        if runs.empty:
            axes.plot([], [], color=colour_of(network), label=f"{network.label}: not run")
            continue
        for column, (line, width) in lines.items():
            table = runs.groupby("iteration")[column].agg(["mean", "min", "max", "count"])
            label = network.label + diverged.get(name, "")
            bold = width == max(width for _, width in lines.values())
            axes.plot(
                table.index,
                table["mean"],
                line,
                linewidth=width,
                color=colour_of(network),
                label=label if bold else None,
            )
            axes.fill_between(
                table.index, table["min"], table["max"], color=colour_of(network), alpha=0.12, linewidth=0
            )
            drawn.append(table.reset_index().assign(network=name, column=column))
    words = {"training_error": "training", "validation_error": "validation"}
    for column, (line, width) in lines.items() if len(lines) > 1 else ():
        axes.plot([], [], line, linewidth=width, color="grey", label=words[column])
    axes.legend()
    return drawn


def _diverged(edition: Edition, experiment: Experiment) -> dict[str, str]:
    """What the label of a network says of its diverged runs."""
    finals = edition.select(edition.finals, experiment)
    if finals.empty:
        return {}
    counts = finals[finals["diverged"]].groupby("network").size()
    return {str(name): f" ({count} diverged)" for name, count in counts.items()}


def _limit(axes: Axes, drawn: Sequence[pd.DataFrame]) -> None:
    """Cuts the first, steep part of the curves off, so that the differences at the end can be seen."""
    if not drawn:
        return
    late = pd.concat([table[table["iteration"] >= table["iteration"].max() * 0.3] for table in drawn])
    axes.set_ylim(0, min(100.0, 1.1 * float(late["mean"].max())) or 100.0)


def _table(drawn: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame()
