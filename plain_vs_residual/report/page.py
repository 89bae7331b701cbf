"""The page that says what came out: report.md, and report.html with its pictures inside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.as_declared import remarks
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.pairing import CANNOT_SEE, compares, summary_line, verify
from plain_vs_residual.evidence.registration import departures_from_plan, in_words, runs_of_a_lost_registration
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.records.atomic import write_text
from plain_vs_residual.records.recorded_runs import RecordedRuns, read_table
from plain_vs_residual.records.rows import MetricsRow
from plain_vs_residual.records.store import Record
from plain_vs_residual.report.error_table import error_table
from plain_vs_residual.report.figures import (
    FIGURES,
    claims_stem,
    draw,
    draw_claims,
    draw_primary_claims,
    figure_stem,
)
from plain_vs_residual.report.html import as_html
from plain_vs_residual.report.listing import listing, plain_beside_residual
from plain_vs_residual.report.paper_numbers import paper_is_comparable
from plain_vs_residual.report.predictions import answer
from plain_vs_residual.report.tables import class_tables, machine_table, time_table
from plain_vs_residual.report.templating import TEMPLATES
from plain_vs_residual.settings import Setting, find_setting

# With fewer seeds, not even all on one side of the margin is improbable enough for four claims together.
DISTRIBUTION_FREE = 8
# The figure of all claims that describe, and the one that opens the page.
OTHER_CLAIMS = "claims-others"
OPENING = "final_errors"


def write_report(
    recorded: RecordedRuns,
    experiments: Sequence[Experiment],
    folder: Path,
    *,
    shown: Sequence[Experiment] | None = None,
) -> list[Path]:
    """Draw the figures and write ``report.md`` and ``report.html`` beside them.

    Args:
        recorded: the runs.
        experiments: all there are: the level of an interval depends on how many primary claims they declare.
        folder: where everything goes.
        shown: those that the report is about, all if left out; one without runs is left out.

    Returns:
        The two paths, HTML last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [one for one in (experiments if shown is None else shown) if recorded.shows(one)]
    verdicts = judge(recorded, experiments)
    for experiment in shown:
        for name in experiment.figures:
            draw(recorded, experiment, name, folder, verdicts)
        own = [one for one in verdicts if one.experiment == experiment.name]
        if any(one.measurement.num for one in own):
            draw_claims(recorded, own, folder, claims_stem(experiment))
    primary = draw_primary_claims(recorded, _claims_of(shown, verdicts, primary=True), folder)
    if others := _claims_of(shown, verdicts, primary=False):
        draw_claims(recorded, others, folder, OTHER_CLAIMS)
    text = _markdown(recorded, shown, verdicts, [path.stem for path in primary])
    write_text(folder / "report.md", text)
    write_text(folder / "report.html", as_html(text, f"Plain vs residual: {recorded.name}", folder))
    return [folder / "report.md", folder / "report.html"]


def _claims_of(shown: Sequence[Experiment], verdicts: Sequence[Verdict], *, primary: bool) -> list[Verdict]:
    """List the verdicts on what is shown: on primary claims, or on all others of which there is a number."""
    names = {experiment.name for experiment in shown}
    of_shown = [one for one in verdicts if one.experiment in names and one.claim.primary == primary]
    return [one for one in of_shown if primary or one.measurement.num]


def _markdown(
    recorded: RecordedRuns, shown: Sequence[Experiment], verdicts: Sequence[Verdict], claims: Sequence[str]
) -> str:
    primary = _claims_of(shown, verdicts, primary=True)
    studies = (
        f"{experiment.title}: {reason}." for experiment in shown for reason in _reasons(recorded, experiment)
    )
    decided = [one for one in primary if one.decides]
    opening = _opening(recorded, shown)
    finals = recorded.finals
    seconds = 0.0 if finals.empty else (finals["training_seconds"] + finals["evaluation_seconds"]).sum()
    return TEMPLATES.get_template("page.md.j2").render(
        recorded=recorded,
        under_way=_under_way(recorded, shown),
        primary=primary,
        claims=claims,
        counted_unread=sorted({name for verdict in verdicts for name in verdict.counted_unread}),
        opening=_figure(recorded, opening, OPENING) if opening else None,
        others=OTHER_CLAIMS if _claims_of(shown, verdicts, primary=False) else "",
        difference=plain_beside_residual(),
        sections=[_section(recorded, one, verdicts, opens=one is opening) for one in shown],
        departures=[*recorded.usual.departures, *dict.fromkeys(studies)],
        machines=machine_table(recorded),
        times=time_table(recorded),
        remarks=[*remarks(recorded, shown), CANNOT_SEE],
        minutes=seconds / 60,
        margin=f"{find_setting(recorded.setting).margin:g}",
        margin_reason=_setting_of(recorded).margin_reason,
        registered=recorded.registrations,
        lost=runs_of_a_lost_registration(recorded),
        families=list(dict.fromkeys(one.registration.family for one in decided if one.registration)),
        few_seeds=any(0 < one.measurement.num < DISTRIBUTION_FREE for one in decided),
    )


def _under_way(recorded: RecordedRuns, shown: Sequence[Experiment]) -> str:
    """Say how many runs are finished and how far the others are, as long as some have begun and not ended."""
    begun = [record for record in recorded.records if not record.final]
    if not begun:
        return ""
    seeds = {*recorded.seeds, *(seed for one in recorded.registrations for seed in one.seeds)}
    needed = {(*run, seed) for experiment in shown for run in recorded.needed(experiment) for seed in seeds}
    finished = sum(record.identity in needed for record in recorded.records if record.final)
    those = [
        f"{record.name} (at iteration {_reached(record):,} of {record.run.configuration.iterations:,})"
        for record in begun
    ]
    which = f"the experiments below need for seed{'s' if len(seeds) > 1 else ''} {in_words(sorted(seeds))}"
    return f"{finished} of the {len(needed)} runs that {which} are finished; not yet: {', '.join(those)}"


def _reached(record: Record) -> int:
    """Return the iteration at which an unfinished run was evaluated last."""
    path = record.folder.metrics
    return int(read_table(path, MetricsRow)["iteration"].max()) if path.exists() else 0


def _setting_of(recorded: RecordedRuns) -> Setting:
    """Return the setting as it is told of the images that were trained on."""
    setting = find_setting(recorded.setting)
    own = IMAGE_KINDS[setting.data].name
    return setting if own in ("", recorded.dataset) else setting.with_changes({"images": recorded.dataset})


def _opening(recorded: RecordedRuns, shown: Sequence[Experiment]) -> Experiment | None:
    """Choose the experiment whose final errors open the page: that of most networks which draws them."""
    drawing = [experiment for experiment in shown if OPENING in experiment.figures[1:]]
    return max(drawing, key=lambda experiment: len(experiment.networks[recorded.setting]), default=None)


def _section(
    recorded: RecordedRuns, experiment: Experiment, verdicts: Sequence[Verdict], *, opens: bool
) -> dict[str, Any]:
    """Collect what the page says of one experiment; a figure that opens the page stands there alone."""
    own = [verdict for verdict in verdicts if verdict.experiment == experiment.name]
    comparable = paper_is_comparable(recorded, experiment)
    paper = (f"{Architecture.parse(name).label} {error:.2f}" for name, error in experiment.paper_errors.items())
    return {
        "experiment": experiment,
        "reasons": _reasons(recorded, experiment),
        "figures": [
            _figure(recorded, experiment, name) for name in experiment.figures if not (opens and name == OPENING)
        ],
        "answer": answer(experiment.prediction, own, recorded.setting) if experiment.prediction else "",
        "code": [listing(reference) for reference in experiment.code],
        "forest": claims_stem(experiment) if any(one.measurement.num for one in own) else "",
        "errors": error_table(recorded, experiment),
        "paper": "" if comparable else ", ".join(paper),
        "class_tables": list(class_tables(recorded, experiment)) if "classes" in experiment.table else [],
        "missing": _by_seed(recorded.missing(experiment)),
        "verdicts": own,
        "primary": [one for one in own if one.claim.primary],
        "departures": departures_from_plan(recorded, experiment) if recorded.registrations else [],
        "pairing": summary_line(verify(recorded, experiment), compares=compares(experiment, recorded.setting)),
    }


def _by_seed(runs: Sequence[str]) -> list[str]:
    """Shorten a list of runs by naming the seeds of each network once.

    >>> _by_seed(["plain18-s0", "plain34-s0", "plain18-s1"])
    ['plain18 (seeds 0, 1)', 'plain34 (seed 0)']
    """
    seeds: dict[str, list[str]] = {}
    for name, _, seed in (run.rpartition("-s") for run in runs):
        seeds.setdefault(name, []).append(seed)
    return [f"{name} (seed{'s' if len(own) > 1 else ''} {', '.join(own)})" for name, own in seeds.items()]


def _reasons(recorded: RecordedRuns, experiment: Experiment) -> list[str]:
    reasons = (study.reason for study in experiment.studies_in(recorded.setting))
    return [reason for reason in dict.fromkeys(reasons) if reason]


def _figure(recorded: RecordedRuns, experiment: Experiment, name: str) -> dict[str, str]:
    return {"stem": figure_stem(experiment, name), "words": FIGURES[name].words(recorded, experiment)}
