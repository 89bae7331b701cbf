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
# What records/recorded_runs.py puts beside the numbers of a final record.
BESIDE_FINAL = ("parameters", "multiply_adds", "ratio_change", "ratio_change_estimated")


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
def measurable() -> list[str]:
    """List the measurements that ask for a trained network alone, and not how it was trained."""
    modules = (PACKAGE / "seminar" / f"{name}.py" for name in measurements())
    return [path.stem for path in modules if "\ndef measure(subject: Subject)" in _source(path)]


@cache
def final_columns() -> list[str]:
    """List the numbers of a finished run, that of most claims first: fields of ``FinalRecord``, and a few more."""
    _, _, fields = _source(PACKAGE / "records" / "models.py").partition("\nclass FinalRecord(Model):\n")
    fields, _, _ = fields.partition("\n\n\n")
    numbers = re.findall(r"^    (\w+): (?:Annotated\[\s*)?(?:int|float)\b", fields, re.MULTILINE)
    return sorted([*numbers, *BESIDE_FINAL], key=lambda name: name != "running_training_error")


@cache
def columns(measurement: str) -> list[str]:
    """List the columns that a claim may be about: those of finished runs, and those of a measurement if any."""
    if not measurement:
        return final_columns()
    found = re.search(r"^COLUMNS = (\(.*?\))$", _source(PACKAGE / "seminar" / f"{measurement}.py"), re.M | re.S)
    return [*final_columns(), *(literal_eval(found[1]) if found else ())]


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")
