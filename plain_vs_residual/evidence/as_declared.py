"""Whether a run was trained as its setting and study say today, and by the code that is here today.

Members of a pair agree with each other also where all of them were changed alike. What they are compared with here
is what a reader of the page looks up: the setting, the study in the experiment's file, the code in this folder. A
recipe that differs is a fault, unless the run says itself that it was changed (as ``--learning-rate`` does); code
that differs is a remark, because results of an earlier commit stay what they are.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.evidence.own_faults import misnamed
from plain_vs_residual.evidence.summaries import not_recomputed
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.records.fingerprint import (
    PACKAGE,
    code,
    code_hashes,
    differing_code,
    hash_of,
    hashes_of_modules,
)
from plain_vs_residual.records.git import ask_git
from plain_vs_residual.records.models import Configuration, Environment, RunDescription
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.records.store import Record, read_measurement
from plain_vs_residual.settings import SETTINGS, Setting
from plain_vs_residual.training.schedule import num_iterations

# A trial may have its own number; nothing that is claimed depends on it.
OF_A_TRIAL = ("evaluations",)
BUDGET = ("epochs", "iterations")


def unlike_recipe(record: Record, study: Study) -> Iterator[str]:
    """Name the fields of a run's recipe that are not those of setting and study, and not declared by it."""
    run = record.run
    if run.setting != record.folder.path.parent.name:
        yield f"a run of setting {run.setting} in the folder of {record.folder.path.parent.name}"
    if run.setting not in SETTINGS:
        return
    setting = SETTINGS[run.setting].with_changes(study.changes)
    for field, (value, expected) in _changes(run.configuration, setting, study, run.network).items():
        if field in study.changes:
            yield f"{field}: {value}, but {expected} in its study"
        elif not _declared(run, field):
            yield f"{field}: {value}, but {expected} in setting {run.setting}, and the run does not say so"
    if not _budget_is_declared(run, setting, study):
        expected = num_iterations(setting, run.configuration.num_training)
        yield f"iterations: {run.configuration.iterations}, but {expected} in its setting and study"
    label = Architecture.parse(run.network).label
    if run.label != label:
        yield f"it is called {run.label} in figures, and is {label}"


def _changes(
    configuration: Configuration, setting: Setting, study: Study, network: str
) -> dict[str, tuple[object, object]]:
    """Return the recorded and the declared value of every field in which they differ, but for the budget."""
    recorded = configuration.recipe()
    led = bool(study.leader) and not study.leads(network)
    declared = setting.recipe() | ({"schedule": "replay"} if led else {})
    return {
        field: (recorded[field], declared[field])
        for field in declared
        if field not in (*BUDGET, *OF_A_TRIAL) and recorded[field] != declared[field]
    }


def _declared(run: RunDescription, field: str) -> bool:
    """Say whether a run's own list of departures tells of this change, or its name tells of the split."""
    recipe = run.configuration.recipe()
    if field == "split":
        return recipe["split"].replace("/", "-") in run.dataset.variant
    own = SETTINGS[run.setting]
    told = own.with_changes(recipe | {name: getattr(own, name) for name in BUDGET}).changed.get(field, "")
    words = f"{field.replace('_', ' ')} {told.partition(' instead of ')[0]} instead of "
    return bool(told) and any(words in departure for departure in run.departures)


def _budget_is_declared(run: RunDescription, setting: Setting, study: Study) -> bool:
    """Say whether a budget is that of setting and study, or one that the run's name or departures tell of."""
    recipe = run.configuration
    if recipe.iterations == num_iterations(setting, recipe.num_training):
        return True
    told = (f"budget {recipe.iterations:,} iterations", f"budget {recipe.epochs} epochs")
    by_list = any(words in departure for departure in run.departures for words in told)
    of_study = any(field in study.changes for field in BUDGET)
    return f"{recipe.iterations}-iterations" in run.dataset.variant or (by_list and not of_study)


# ---- remarks ---------------------------------------------------------------------------------------------


def remarks(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[str]:
    """Say what holds of all members alike, so that no comparison of runs with each other shows it: a line each."""
    trained = [(one.run.sources, one.run.environment, code_hashes()) for one in recorded.records]
    done = [
        (name, read_measurement(record.folder, name))
        for record in recorded.records
        if record.final
        for name in record.folder.measurements()
    ]
    measured = [(one.sources, one.environment, _measured_by(name)) for name, one in done]
    unsummed = sorted({column for name, one in done for column in not_recomputed(name, one.summary)})
    return [
        *(fault for record in recorded.records for fault in misnamed(record)),
        *_other_code("runs were trained", trained),
        *_other_code("measurements were taken", measured),
        *([f"not computed again from their tables: {', '.join(unsummed)}"] if unsummed else []),
        *_changed_recipes(recorded, experiments),
    ]


def _measured_by(name: str) -> Mapping[str, str]:
    module = PACKAGE / "seminar" / f"{name}.py"
    return hashes_of_modules(module) if module.is_file() else {}


def _other_code(
    what: str, done: Sequence[tuple[Mapping[str, str], Environment, Mapping[str, str]]]
) -> Iterator[str]:
    """Say how many are of other code than that of this folder, which, and whether it is that of their commit."""
    numbers: Counter[str] = Counter()
    differing: dict[str, set[str]] = defaultdict(set)
    strange: dict[str, set[str]] = defaultdict(set)
    for sources, environment, now in done:
        commit = environment.git_commit or "unknown"
        if other := differing_code(sources, now):
            numbers[commit] += 1
            differing[commit].update(other)
            there = [path for path in other if path in sources]
            strange[commit].update(path for path in there if _hash_at(commit, path) not in (sources[path], None))
    for commit, number in sorted(numbers.items()):
        known = any(_hash_at(commit, path) for path in differing[commit])
        where = f"that of commit {commit}" if known else f"that of commit {commit}, which git does not know here"
        but = f", but for {_names(strange[commit])}, WHICH IS NOT THAT COMMIT'S" if strange[commit] else ""
        yield f"{number} {what} by other code than is here today, {where}{but} ({_names(differing[commit])})"


def _names(paths: Collection[str], most: int = 5) -> str:
    short = sorted(path.removeprefix(f"{PACKAGE.name}/") for path in paths)
    return ", ".join(short[:most]) + (f" and {len(short) - most} others" if len(short) > most else "")


@cache
def _hash_at(commit: str, path: str) -> str | None:
    """Hash the code of a module as it was at a commit; None where git does not know it."""
    text = ask_git("show", f"{commit}:{path}")
    return None if text is None else hash_of(code(text))


def _changed_recipes(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> Iterator[str]:
    """Say which fields of a recipe were changed and declared as that, and for how many runs."""
    studies = {
        (network, study.name): study
        for experiment in experiments
        for network, study in experiment.runs_in(recorded.setting)
    }
    changed: Counter[str] = Counter()
    for record in recorded.records:
        run, study = record.run, studies.get(record.identity[:2])
        if study is None or run.setting not in SETTINGS:
            continue
        setting = SETTINGS[run.setting].with_changes(study.changes)
        found = _changes(run.configuration, setting, study, run.network)
        told = {field: values for field, values in found.items() if _declared(run, field)}
        told |= {
            field: (getattr(run.configuration, field), getattr(setting, field))
            for field in OF_A_TRIAL
            if getattr(run.configuration, field) != getattr(setting, field)
        }
        budget = num_iterations(setting, run.configuration.num_training)
        if run.configuration.iterations != budget:
            told["iterations"] = (run.configuration.iterations, budget)
        changed.update(f"{field} {value} instead of {usual}" for field, (value, usual) in told.items())
    for words, number in sorted(changed.items()):
        yield f"{number} runs have a recipe of their own: {words} of the setting and study"
