"""What an experiment may name: figures, measurements, columns of numbers, lines of code.

All of it is found in the source as text, without an import: matplotlib and torch take seconds, and experiments are
checked whenever they are loaded, before anything is trained.
"""

import re
from ast import literal_eval
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from plain_vs_residual.near_misses import did_you_mean

PACKAGE = Path(__file__).parent
# The numbers of a finished run; what a measurement adds to them stands in its module, as COLUMNS.
FINAL_COLUMNS = (
    *("running_training_error", "training_error", "validation_error", "validation_top5_error"),
    *("test_error", "ten_crop_error", "ten_crop_top5_error", "training_loss", "validation_loss"),
    *("mean_response", "mean_ratio", "initial_mean_ratio", "ratio_change", "mean_cosine"),
    *("parameters", "multiply_adds", "iteration", "skipped_steps", "images_per_second", "peak_memory_mib"),
    *("training_seconds", "evaluation_seconds", "last_session_seconds", "waited_for_data_seconds"),
)


def check_names(kind: str, names: Iterable[str], accepted: Iterable[str]) -> None:
    """Refuse a name that is not accepted.

    Args:
        kind: what the names are of, such as ``figure``.
        names: as declared.
        accepted: those that there are.

    Raises:
        ValueError: if one is not among them; says which are, and which may have been meant.
    """
    known = list(accepted)
    for name in names:
        if name not in known:
            question = did_you_mean(str(name), known)
            raise ValueError(f"'{name}' is no {kind}{question}; accepted are {', '.join(known)}")


def check_code(reference: str) -> None:
    """Refuse lines of code that there are not, given as ``blocks.py:ResidualBlock.forward``.

    Raises:
        ValueError: if there is no such module or name.
    """
    path, _, name = reference.partition(":")
    if not (PACKAGE / path).is_file():
        raise ValueError(f"code '{reference}': there is no {PACKAGE / path}")
    defined = re.findall(r"^ *(?:class|def) (\w+)", _source(PACKAGE / path), re.MULTILINE)
    check_names(f"class or function of {path}", name.split("."), defined)


@cache
def figures() -> list[str]:
    """List the figures: public functions of ``report/figures`` that draw what an experiment recorded."""
    signature = r"^def ([a-z]\w*)\(recorded: RecordedRuns, experiment: Experiment\) -> Drawn:"
    modules = sorted((PACKAGE / "report" / "figures").glob("*.py"))
    return [name for path in modules for name in re.findall(signature, _source(path), re.MULTILINE)]


@cache
def measurements() -> list[str]:
    """List the measurements: modules of ``seminar`` with a function ``measure``."""
    modules = sorted((PACKAGE / "seminar").glob("*.py"))
    return [path.stem for path in modules if "\ndef measure(" in _source(path)]


@cache
def columns(measurement: str) -> list[str]:
    """List the columns that a claim may be about: those of finished runs, and those of a measurement if any."""
    if not measurement:
        return [*FINAL_COLUMNS]
    found = re.search(r"^COLUMNS = (\(.*?\))$", _source(PACKAGE / "seminar" / f"{measurement}.py"), re.M | re.S)
    return [*FINAL_COLUMNS, *(literal_eval(found[1]) if found else ())]


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")
