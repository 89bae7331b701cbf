"""Figures, each with the CSV of what is drawn; drawn from records alone."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures.declared import FIGURES
from plain_vs_residual.report.figures.forest import FIGURE, LEGEND, forest, screens
from plain_vs_residual.report.figures.style import write_figure
from plain_vs_residual.report.tables import number_and_interval, wanted_in_words

__all__ = ["FIGURES", "claims_stem", "draw", "draw_all", "draw_claims", "draw_primary_claims", "figure_stem"]


def draw_all(
    recorded: RecordedRuns, experiments: Iterable[Experiment], folder: Path, verdicts: Sequence[Verdict] = ()
) -> list[Path]:
    """Draw every experiment of which there is a run; returns the PNG files in the order of the experiments."""
    return [
        draw(recorded, experiment, name, folder, verdicts)
        for experiment in experiments
        if recorded.shows(experiment)
        for name in experiment.figures
    ]


def draw(
    recorded: RecordedRuns, experiment: Experiment, name: str, folder: Path, verdicts: Sequence[Verdict] = ()
) -> Path:
    """Draw one figure of an experiment as PNG, SVG and CSV; returns the PNG's path.

    Args:
        recorded: the runs.
        experiment: whose runs are drawn.
        name: of the figure.
        folder: where the files go.
        verdicts: of any experiments; above the first figure stand the experiment's primary one and its outcome.

    Raises:
        ValueError: if there is no figure of that name.
    """
    if name not in FIGURES:
        raise ValueError(f"experiment {experiment.name}: no figure '{name}'; accepted are {', '.join(FIGURES)}")
    make = partial(FIGURES[name].draw, recorded, experiment)
    own = [one for one in verdicts if one.experiment == experiment.name and name == experiment.figures[0]]
    caption, stem = _heading(recorded, experiment, name), figure_stem(experiment, name)
    return write_figure(make, caption, folder, stem, _headline(own))


def _headline(verdicts: Sequence[Verdict]) -> str:
    """Say an experiment's primary claim and, in a second line, what came out of it; nothing without one."""
    for one in verdicts:
        if one.bold:
            measured = one.measurement
            number = f"{number_and_interval(measured)}; claimed: {wanted_in_words(one.claim, one.margin)}"
            return f"{one.statement}\n{one.outcome}: {number if measured.num else one.reason.partition(';')[0]}"
    return ""


def draw_claims(recorded: RecordedRuns, verdicts: Sequence[Verdict], folder: Path, stem: str) -> Path:
    """Draw claims, a row each, as PNG, SVG and CSV; returns the PNG's path.

    Args:
        recorded: the runs.
        verdicts: of the claims; more than fit on a screen make it higher.
        folder: where the files go.
        stem: their name without its ending.
    """
    caption = f"{recorded.dataset}, setting {recorded.setting}; {LEGEND}"
    return write_figure(partial(forest, verdicts), caption, folder, stem)


def draw_primary_claims(recorded: RecordedRuns, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Draw the primary claims as :func:`draw_claims` does, in as many figures of one screen each as they need.

    Returns:
        The PNGs' paths; those after the first end in ``-2`` and so on.
    """
    parts = screens(verdicts)
    stems = [FIGURE, *(f"{FIGURE}-{number}" for number in range(2, len(parts) + 1))]
    return [draw_claims(recorded, part, folder, stem) for stem, part in zip(stems, parts, strict=True)]


def claims_stem(experiment: Experiment) -> str:
    """Return the file name of the forest plot of one experiment, without its ending."""
    return f"{experiment.name}-claims"


def figure_stem(experiment: Experiment, name: str) -> str:
    """Return the file name of a figure, without its ending: the experiment's own for its first figure."""
    return experiment.name if name == experiment.figures[0] else f"{experiment.name}-{name}"


def _heading(recorded: RecordedRuns, experiment: Experiment, name: str) -> str:
    finals = recorded.select(recorded.finals, experiment)
    if experiment.measurement and not finals.empty:
        table = recorded.measured(experiment.measurement)
        identities = ["network", "study", "seed"]
        finals = finals.merge(table[identities].drop_duplicates()) if not table.empty else finals[:0]
    counts = set(finals[["network", "study"]].value_counts()) if not finals.empty else {0}
    seeds = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    plural = "s" if counts != {1} else ""
    shown = f" ({FIGURES[name].lines})" if max(counts) > 1 and FIGURES[name].lines else ""
    parts = [f"{recorded.dataset}, setting {recorded.setting}", f"{seeds} seed{plural}{shown}"]
    run = recorded.usual
    # A study has another budget than the one of which the setting warns; of several, none speaks for the others.
    reasons = {study.reason for study in experiment.studies_in(recorded.setting) if study.reason}
    of_studies = experiment.title if len(reasons) > 1 else "".join(reasons)
    caveats = (of_studies or run.caveat, run.dataset.caveat)
    return "; ".join([*parts, *(caveat.split(":")[0] for caveat in caveats if caveat)])
