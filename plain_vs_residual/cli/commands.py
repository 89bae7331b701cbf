"""Which command a line means, and what ``--help`` shows of all of them."""

from typing import Any

import typer
from typer.core import TyperGroup

from plain_vs_residual.experiment import EXPERIMENTS, SEMINAR
from plain_vs_residual.launcher import command
from plain_vs_residual.near_misses import did_you_mean

EXAMPLES = (
    ("", "Train all that the paper compares, draw the figures, write the report."),
    ("fig4_depth --setting digits --seeds 1", "One experiment, on small images, with one seed."),
    ("list", "Name experiments, settings and networks."),
    ("compare --help", "Show what a command takes."),
)


class Commands(TyperGroup):
    """All commands; a line that begins with an experiment or an option is one for ``train``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        experiments = {path.stem for path in EXPERIMENTS.glob("*.py")}
        first = args[0] if args else ""
        if first in (*self.commands, "--help", ""):
            pass
        elif first in (*experiments, SEMINAR) or first.startswith("-"):
            args = ["train", *args]
        else:
            question = did_you_mean(first, (*self.commands, *experiments, SEMINAR))
            raise ValueError(
                f"No such command '{first}', and no such experiment{question}; "
                f"{command('--help')} shows the commands, {command('list')} the experiments"
            )
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[COMMAND]", "[EXPERIMENT]...", "[OPTIONS]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("For example"):
            formatter.write_dl([(f"{ctx.command_path} {words}".strip(), text) for words, text in EXAMPLES])
        with formatter.section("Commands"):
            paragraphs = {name: (command.help or "").split("\n\n")[0] for name, command in self.commands.items()}
            formatter.write_dl([(name, " ".join(text.split())) for name, text in paragraphs.items()])
        train = self.commands["train"]
        with formatter.section("Without the name of a command, train is meant, which takes"):
            train.format_options(typer.Context(train, info_name="train", parent=ctx), formatter)
