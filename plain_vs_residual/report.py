"""Pages that tell what came out: report.md and a self-contained report.html. Imports no torch."""

import base64
import html
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from plain_vs_residual.analysis import Edition
from plain_vs_residual.atomic import write_text
from plain_vs_residual.claims import Verdict, judge
from plain_vs_residual.experiment import Experiment, Network
from plain_vs_residual.figures import FIGURES, draw, figure_stem
from plain_vs_residual.report_tables import (
    class_tables,
    error_table,
    escape,
    markdown_table,
    paper_is_comparable,
    verdict_table,
)
from plain_vs_residual.verify import summary_line, verify

STYLE = """
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; font: 1.05rem/1.5 system-ui, sans-serif; color: #222 }
img { max-width: 100% } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ccc; text-align: left; vertical-align: top }
th { border-bottom: 2px solid #555 } code { background: #f2f2f2; padding: 0 .2rem }
"""


def write_report(
    edition: Edition,
    experiments: Sequence[Experiment],
    folder: Path,
    *,
    names: Collection[str] | None = None,
    redraw: Collection[str] | None = None,
) -> list[Path]:
    """Draws the figures of an edition and writes ``report.md`` and ``report.html`` beside them.

    Args:
        edition: the runs.
        experiments: all there are: Holm's correction counts their primary claims, whatever the page shows.
        folder: where everything goes.
        names: experiments to be shown; all of which there are runs if left out.
        redraw: experiments whose figures have changed; the others' are kept where they exist.

    Returns:
        The two paths, HTML last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [one for one in experiments if edition.shows(one) and (not names or one.name in names)]
    for experiment in shown:
        for name in experiment.figures:
            kept = (folder / f"{figure_stem(experiment, name)}.png").exists()
            if redraw is None or experiment.name in redraw or not kept:
                draw(edition, experiment, name, folder)
    there = {experiment.name for experiment in shown}
    verdicts = [verdict for verdict in judge(edition, experiments) if verdict.experiment in there]
    text = "\n".join(_page(edition, shown, verdicts))
    write_text(folder / "report.md", text)
    write_text(folder / "report.html", _html(text, f"Plain vs residual: {edition.name}", folder))
    return [folder / "report.md", folder / "report.html"]


def _page(edition: Edition, experiments: Sequence[Experiment], verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield f"# Plain vs residual: {edition.setting} on {escape(edition.dataset)}\n"
    yield (
        "Paired plain and residual networks after He et al. (2015), *Deep Residual Learning for Image "
        "Recognition*. Errors are in percent, at the last iteration; nothing is selected on the validation "
        "images.\n"
    )
    for caveat in edition.caveats:
        yield f"**Note:** {escape(caveat)}.\n"
    primary = [verdict for verdict in verdicts if verdict.claim.primary]
    if primary:
        yield "## Verdicts on the primary claims\n"
        yield verdict_table(primary)
    for experiment in experiments:
        yield f"## {escape(experiment.title)} ({experiment.paper})\n"
        yield f"{_paragraph(experiment)}\n\nFile: `experiments/{experiment.name}.py`\n"
        for reason in dict.fromkeys(study.reason for study in experiment.studies_in(edition.setting)):
            if reason:
                yield f"In setting {edition.setting} with a study of its own: {reason}.\n"
        for name in experiment.figures:
            stem = figure_stem(experiment, name)
            alternative = (FIGURES[name].__doc__ or "").split("\n")[0]
            yield f"![{alternative}]({stem}.png)\n"
            yield f"{alternative} Also as [{stem}.svg]({stem}.svg); drawn from [{stem}.csv]({stem}.csv).\n"
        yield "### Errors\n"
        yield error_table(edition, experiment)
        yield from _paper(edition, experiment)
        if "confusion" in experiment.figures:
            yield from class_tables(edition, experiment)
        missing = edition.missing(experiment)
        if missing:
            yield f"**Not finished:** {', '.join(missing)}.\n"
        yield "### Claims\n"
        yield verdict_table([verdict for verdict in verdicts if verdict.experiment == experiment.name])
        yield f"**Pairing:** {escape(summary_line(verify(edition, experiment)))}.\n"
    yield from _method(edition, experiments)


def _paragraph(experiment: Experiment) -> str:
    """The notebook page without its title line and its commands."""
    paragraphs = re.split(r"\n\s*\n", experiment.notebook)[1:]
    kept = [text for text in paragraphs if not text.startswith(("    ", "Cost:"))]
    return "\n\n".join(" ".join(text.split()) for text in kept)


def _paper(edition: Edition, experiment: Experiment) -> Iterator[str]:
    if experiment.paper_errors and not paper_is_comparable(edition, experiment):
        numbers = ", ".join(
            f"{Network.parse(name).label} {error:.2f}" for name, error in experiment.paper_errors.items()
        )
        yield (
            f"For orientation only, not measured as here ({experiment.paper_data}), {experiment.paper} of the "
            f"paper gives: {numbers} %.\n"
        )


def _method(edition: Edition, experiments: Sequence[Experiment]) -> Iterator[str]:
    yield "## How to read the verdicts\n"
    yield (
        "Each claim is one number a seed, written down before the runs. *Reproduced*: its two-sided 95 % t "
        "interval over seeds lies wholly beyond the margin; *not reproduced*: wholly on the other side; else, "
        "and with fewer than three seeds, *undecided*. The p-value is of the mean against the margin; primary "
        "claims are corrected after Holm, all primary claims of the setting together; the others are "
        "descriptive. The spread of errors is taken to be at least one image. A run that diverged counts as "
        "chance error.\n"
    )
    run = edition.records[0].run
    yield "## Where this departs from the paper\n"
    studies = dict.fromkeys(
        f"{experiment.title}: {study.reason}."
        for experiment in experiments
        for study in experiment.studies_in(edition.setting)
        if study.reason
    )
    departures = [*run["departures"], *studies]
    yield "\n".join(f"{number}. {escape(text)}" for number, text in enumerate(departures, start=1)) + "\n"
    yield "## Machine and time\n"
    finals = edition.finals
    machines: dict[tuple[str, ...], int] = {}
    for record in edition.records:
        environment, configuration = record.run["environment"], record.run["configuration"]
        key = (
            f"{environment['device_name']} ({environment['device']}, {environment['threads']} threads)",
            f"{configuration['precision']}, {configuration['execution']}",
            f"Python {environment['python']}, torch {environment['torch']}, "
            f"torchvision {environment['torchvision']}",
            f"{environment['git_commit']}{' with changes' if environment['git_changes'] else ''}",
        )
        machines[key] = machines.get(key, 0) + 1
    rows = [[*key, str(number)] for key, number in machines.items()]
    yield markdown_table(["device", "precision", "versions", "commit", "runs"], rows)
    if not finals.empty:
        rows = []
        for (network, study), runs in finals.groupby(["network", "study"], sort=False):
            rows.append(
                [
                    f"{network}{f' ({study})' if study else ''}",
                    f"{runs['training_seconds'].mean():,.1f}",
                    f"{runs['evaluation_seconds'].mean():,.1f}",
                    f"{runs['images_per_second'].median():,.0f}",
                    f"{runs['peak_memory_mib'].max():,}",
                    str(len(runs)),
                ]
            )
        total = (finals["training_seconds"].sum() + finals["evaluation_seconds"].sum()) / 60
        yield markdown_table(
            ["run", "training (s)", "evaluation (s)", "images a second", "peak memory (MiB)", "seeds"], rows
        )
        yield f"All runs together: {total:.1f} minutes.\n"


def _html(markdown: str, title: str, folder: Path) -> str:
    """The page with its pictures inside it; raw HTML in the text is shown, not obeyed."""
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = str(renderer.render(markdown))

    def embedded(match: "re.Match[str]") -> str:
        picture = folder / match[1]
        return f'src="data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"'

    body = re.sub(r'src="([\w.-]+\.png)"', embedded, body)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
