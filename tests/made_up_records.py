"""Plausible results from simple formulas, written without torch and without training anything."""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.evidence.registering import register, registrations_of
from plain_vs_residual.evidence.summaries import SUMMARIES
from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Experiment, Study
from plain_vs_residual.plan import Selection
from plain_vs_residual.recipe import Recipe
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import RunFolder, run_name
from plain_vs_residual.records.models import (
    RESPONSE_MEANS,
    Configuration,
    DatasetRecord,
    Environment,
    FinalRecord,
    MeasurementRecord,
    Moment,
    ResponseKind,
    RunRecord,
)
from plain_vs_residual.records.recorded_runs import RecordedRuns, load_recorded_runs
from plain_vs_residual.records.registered import digests
from plain_vs_residual.records.rows import CurveRow, FirstIterationRow, MeasuredRow, MetricsRow, ResponseRow
from plain_vs_residual.records.store import (
    read_final,
    read_record,
    sealed,
    write_final,
    write_measurement,
    write_rows,
)
from plain_vs_residual.records.store import write_run as write_run_record
from plain_vs_residual.settings import find_setting
from plain_vs_residual.training.schedule import evaluation_points

NUM_IMAGES = {
    "fashion": (3_000, 1_000),
    "digits": (1_437, 360),
    "cifar10": (50_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}
NAMES = {
    "fashion": "Fashion-MNIST (4,000 images)",
    "digits": "digits (scikit-learn)",
    "cifar10": "CIFAR-10",
    "imagenet": "ILSVRC2012",
}
ENVIRONMENT = Environment(
    python="3.12.1",
    torch="2.99.0+made-up",
    torchvision="0.99.0",
    numpy="2.9.9",
    platform="Linux",
    device="cpu",
    device_name="Abacus",
    cuda=None,
    cudnn=None,
    git_commit="0123456789ab",
    git_changes=False,
)

# What each measurement of the seminar writes: its quantities, and how often through training it looks.
MEASURED = {
    "construction": (("error_E", "error_R", "error_T"), (0, 2_000)),
    "folding": (("error_trained", "error_folded", "logit_difference"), (2_000,)),
    "shortcut_gain": (("row_sum", "column_sum", "change"), (0, 2_000)),
    "gradient_norms": (("output", "weight", "weights"), (0, 10, 2_000)),
    "shattered_gradients": (("correlation",), (0, 2_000)),
    "lesions": (
        (
            "kendall_tau",
            *(
                f"{what}_{mode}"
                for what in ("intact", "removed", "removed_at_random", "exchanged")
                for mode in "ER"
            ),
        ),
        (2_000,),
    ),
    "signal_propagation": (("variance_of_images", "squared_mean_of_images", "before_bn_of_images"), (0,)),
    "path_lengths": (("gradient", "share", "paths"), (0, 2_000)),
    "loss_landscape": (("loss_E", "loss_R", "line_R", "plane_E"), (2_000,)),
    "residual_functions": (("ratio", "cosine"), (0, 10, 2_000)),
}

Errors = Callable[[Architecture, int], tuple[float, float]]
Outcome = Literal["finished", "diverged"]


def usual_errors(architecture: Architecture, seed: int) -> tuple[float, float]:
    """Return final training and validation error (percent); depth costs plain networks ten times as much."""
    training = 1 + architecture.depth / (5 if architecture.kind == "plain" else 50) + 0.05 * seed
    return training, training + 2


def write_run(
    results: Path,
    setting: str,
    network: str,
    seed: int,
    *,
    study: Study | None = None,
    dataset: str = "",
    variant: str = "",
    caveat: str = "",
    classes: Sequence[str] = tuple("0123456789"),
    errors: Errors = usual_errors,
    outcome: Outcome = "finished",
    finished: bool = True,
) -> RunFolder:
    """Write run.json and metrics.csv and, for a finished run, responses.csv and final.json."""
    known = Architecture.parse(network)
    changed = find_setting(setting).with_changes(study.changes if study else {})
    num_training, num_validation = NUM_IMAGES[changed.data]
    iterations = changed.iterations or round((changed.epochs or 0) * num_training / changed.batch_size)
    study_name = study.name if study else ""
    folder = RunFolder(results / setting / run_name(network, (study_name, variant), seed))
    folder.path.mkdir(parents=True)
    parameters = _parameters(known, seed)
    run = RunRecord(
        network=network,
        label=known.label,
        setting=setting,
        study=study_name,
        seed=seed,
        dataset=DatasetRecord(
            name=dataset or NAMES[changed.data],
            caveat=caveat,
            variant=variant,
            classes=list(classes),
            validation_name="test"
            if changed.data in ("fashion", "cifar10") and changed.split == "test"
            else "validation",
        ),
        caveat=changed.caveat,
        departures=list(changed.departures),
        configuration=Configuration(
            **changed.recipe() | {"iterations": iterations},
            network=network,
            seed=seed,
            num_training=num_training,
            num_validation=num_validation,
            data_fingerprint=_hash(dataset, variant),
        ),
        arithmetic=Arithmetic(precision="fp32", threads=2),
        sources={"plain_vs_residual/blocks.py": _hash("blocks")},
        environment=ENVIRONMENT,
        started="2026-01-01 00:00:00",
        registered=digests(results / setting, variant),
        parameters=sum(math.prod(map(int, text.split(":")[0].split("x"))) for text in parameters.values()),
        multiply_adds=1_000_000 * known.depth,
        initial_parameters=parameters,
        initial_buffers={
            f"{name.removesuffix('weight')}running_mean": f"16:{_hash('zeros')}"
            for name in parameters
            if ".bn" in f".{name}" and name.endswith("weight")
        },
        resumed=[],
    )
    write_run_record(folder, run)
    rates = _rates(changed, known.depth, iterations)
    curve = _curve(run, errors, outcome)
    rows = _metrics(run, rates, curve, errors)
    write_rows(folder.metrics, rows if finished else rows[: len(rows) // 2])
    write_rows(folder.training_curve, curve)
    if changed.probe_iterations:
        names = set(FirstIterationRow.model_fields) - {"iteration"}
        probed = [
            FirstIterationRow(iteration=iteration, **dict.fromkeys(names, 1 + iteration / 10))
            for iteration in range(changed.probe_iterations)
        ]
        write_rows(folder.first_iterations, probed)
    if finished:
        responses = _responses(known, seed, diverged=outcome == "diverged")
        write_rows(folder.responses, responses)
        held_out = changed.split != "test"
        wrong = round(num_validation * rows[-1].validation_error / 100)
        confusion = _confusion(len(classes), *((180, 90) if held_out else (num_validation, wrong)))
        final = _final(known, rates, rows[-1], responses, outcome)
        final["images_per_second"] = _speed(known)
        final["running_training_error"] = _last_tenth(curve)
        looked_at = {
            "confusion": confusion,
            "confusion_on": "test" if held_out else "validation",
            "test_error": 50.0 if held_out else None,
        }
        write_final(folder, FinalRecord(**final | looked_at))
    return folder


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def reseal(folder: RunFolder) -> None:
    """Recompute the checksums of a run after a test has changed one of its files."""
    write_json(folder.run, sealed(read_json(folder.run)))
    final = read_json(folder.final)
    files = {name: hashlib.sha256((folder.path / name).read_bytes()).hexdigest() for name in final["files"]}
    write_json(folder.final, sealed(final | {"files": files}))


def write_results(
    results: Path,
    experiments: Collection[Experiment],
    setting: str,
    *,
    seeds: Collection[int] = range(3),
    **changes: Any,
) -> RecordedRuns:
    """Register the experiments, write each run once (``changes``: see :func:`write_run`), read the runs back."""
    variant = changes.get("variant", "")
    selection = Selection(tuple(experiments), find_setting(setting), list(seeds), images_variant=variant)
    register(selection, list(experiments), results)
    wanted = {
        (network, study.name, seed): study
        for experiment in experiments
        for network, study in experiment.runs_in(setting)
        for seed in seeds
    }
    folders = {
        identity: write_run(results, setting, identity[0], identity[2], study=study, **changes)
        for identity, study in wanted.items()
    }
    for experiment in experiments:
        for network, study in experiment.runs_in(setting) if experiment.measurement else ():
            for seed in seeds:
                write_made_up_measurement(folders[network, study.name, seed], experiment)
    return read_runs(results, setting)


def write_made_up_measurement(folder: RunFolder, experiment: Experiment) -> None:
    """Write what an experiment measures on a finished run, and leave an unfinished one alone."""
    if not folder.finished:
        return
    rows = _measured_rows(folder, experiment.measurement)
    table, of = pd.DataFrame([row.model_dump() for row in rows]), read_record(folder)
    columns = SUMMARIES[experiment.measurement]
    record = MeasurementRecord(
        measurement=experiment.measurement,
        summary={column: summary(table, of) for column, summary in columns.items()},
        run=read_final(folder).checksum,
        sources={f"plain_vs_residual/seminar/{experiment.measurement}.py": _hash(experiment.measurement)},
        environment=ENVIRONMENT,
        registered=digests(folder.path.parent, ""),
        seconds=1,
    )
    write_measurement(folder, record, rows)


def _measured_rows(folder: RunFolder, measurement: str) -> list[MeasuredRow]:
    quantities, iterations = MEASURED[measurement]
    steps = (-0.25, 0.0, 0.25, 0.5, 0.75, 1.0)

    def place_of(quantity: str, place: int) -> str:
        if quantity.startswith("loss"):
            return "direction0"
        return f"{place}" if quantity.startswith("plane") else f"layer1.{place}.conv1"

    return [
        MeasuredRow(
            iteration=iteration,
            quantity=quantity,
            place=place_of(quantity, place),
            position=steps[place] if quantity.startswith("loss") else 2**place,
            value=0.1 + place / (10 + iteration) + _trifle(folder.name, quantity, iteration),
        )
        for iteration in iterations
        for quantity in quantities
        for place in range(1 if quantity.startswith("intact") or measurement == "folding" else 6)
    ]


def read_runs(results: Path, setting: str) -> RecordedRuns:
    """Read the only recorded runs of a setting."""
    (recorded,) = load_recorded_runs(results, setting)
    return recorded


def registered(
    recorded: RecordedRuns, experiments: Sequence[Experiment], seeds: Iterable[int] | None = None
) -> RecordedRuns:
    """Return the runs as if all had begun after their experiments and seeds (those there are) were registered."""
    planned = recorded.seeds if seeds is None else list(seeds)
    selection = Selection(tuple(experiments), find_setting(recorded.setting), planned)
    new = registrations_of(selection, experiments, ())
    began = [one.digest for one in new]
    records = tuple(
        replace(one, run=one.run.model_copy(update={"registered": [*one.run.registered, *began]}))
        for one in recorded.records
    )
    return replace(recorded, records=records, registrations=(*recorded.registrations, *new))


def judged(recorded: RecordedRuns, experiments: Sequence[Experiment]) -> list[Verdict]:
    """Judge runs as if all had begun after their experiments and seeds were registered."""
    return judge(registered(recorded, experiments), experiments)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _consumed(seed: int, iteration: int, evaluations: int) -> dict[str, str]:
    drawn = {name: _hash(name, seed, iteration) for name in ("indices", "crops", "flips", "pixels")}
    evaluated = {name: _hash(name, evaluations) for name in ("evaluated_training", "evaluated_validation")}
    return drawn | evaluated | {"measured_training": _hash("measured")}


def _parameters(architecture: Architecture, seed: int) -> dict[str, str]:
    shapes = dict.fromkeys(architecture.parameter_names, "16")
    shapes |= {"conv1.weight": "16x3x3x3", "fc.weight": "10x64"}
    if architecture.option in ("B", "C"):
        shapes["layer2.0.shortcut.0.weight"] = "32x16x1x1"
    return {name: f"{shape}:{_hash(seed, name, shape)}" for name, shape in shapes.items()}


def _rates(recipe: Recipe, depth: int, iterations: int) -> list[tuple[int, float]]:
    """Return the trace of learning rates; where the rate falls continuously, in steps of fifty iterations."""
    if recipe.schedule == "linear":
        return [(start, recipe.learning_rate * (1 - start / iterations)) for start in range(0, iterations, 50)]
    trace = [(0, recipe.learning_rate)]
    if recipe.warm_up_iterations and depth >= recipe.warm_up_depth:
        trace = [(0, recipe.learning_rate / 10), (recipe.warm_up_iterations, recipe.learning_rate)]
    for number, drop in enumerate(recipe.drops, start=1):
        trace.append((round(drop * iterations), recipe.learning_rate / 10**number))
    return trace


def _curve(run: RunRecord, errors: Errors, outcome: Outcome) -> list[CurveRow]:
    """Return fifty points, and those of the evaluations; the last loss of a run that diverged is not finite."""
    architecture, recipe = Architecture.parse(run.network), run.configuration
    assert recipe.iterations is not None
    final, _ = errors(architecture, run.seed)
    evaluated = evaluation_points(recipe.iterations, recipe.evaluations)
    last = evaluated[max(2, len(evaluated) // 2) - 1] if outcome == "diverged" else recipe.iterations
    rows = []
    for iteration in sorted({*evaluated, *evaluation_points(recipe.iterations, 50)}):
        # The last tenth is flat, so that its mean is the final error.
        still = (1 - iteration / recipe.iterations) ** 3 * (iteration <= 0.9 * recipe.iterations + 1)
        error = final + (90 - final) * still
        # No two runs have the same losses.
        loss = error / 40 + int(_hash(run.network, run.study, run.seed, iteration)[:4], 16) / 1e9
        if outcome == "diverged" and iteration == last:
            loss = math.nan
        epoch = _epoch(run, iteration)
        row = CurveRow(iteration=iteration, epoch=epoch, running_training_loss=loss, running_training_error=error)
        rows += [row] * (iteration <= last)
    return rows


def _epoch(run: RunRecord, iteration: int) -> float:
    return round(iteration * run.configuration.batch_size / run.configuration.num_training, 4)


def _metrics(
    run: RunRecord, rates: Sequence[tuple[int, float]], curve: Sequence[CurveRow], errors: Errors
) -> list[MetricsRow]:
    architecture, recipe = Architecture.parse(run.network), run.configuration
    assert recipe.iterations is not None
    final_training, final_validation = errors(architecture, run.seed)
    points = evaluation_points(recipe.iterations, recipe.evaluations)
    rows: list[MetricsRow] = []
    before = 0
    for number, iteration in enumerate(points, start=1):
        if iteration > curve[-1].iteration:
            break
        still = (1 - number / len(points)) ** 3
        training, validation = (final + (90 - final) * still for final in (final_training, final_validation))
        loss, error = _mean_of(curve, before, iteration)
        finite = 1.0 if math.isfinite(loss) else math.nan
        seconds = iteration * recipe.batch_size / _speed(architecture)
        consumed = _consumed(run.seed, iteration, number)
        rows.append(
            MetricsRow(
                iteration=iteration,
                epoch=_epoch(run, iteration),
                learning_rate=[rate for start, rate in rates if start < iteration][-1],
                running_training_loss=loss,
                running_training_error=error,
                training_loss=finite * (training / 50 + loss / 1e6),
                training_error=training,
                validation_loss=finite * validation / 50,
                validation_error=validation,
                validation_top5_error=validation / 4,
                training_seconds=seconds,
                evaluation_seconds=number / 10,
                consumed="/".join(f"{name}:{value}" for name, value in consumed.items()),
            )
        )
        before = iteration
    return rows


def _speed(architecture: Architecture) -> float:
    """Return images per second."""
    return 50_000 / architecture.depth * (0.8 if architecture.option == "C" else 1.0)


def _mean_of(curve: Sequence[CurveRow], first: int, last: int) -> tuple[float, float]:
    """Return mean loss and error of the iterations from one point of a curve to another."""
    starts = [0, *(row.iteration for row in curve[:-1])]
    chosen = [
        (row.iteration - start, row)
        for start, row in zip(starts, curve, strict=True)
        if start >= first and row.iteration <= last
    ]
    num = sum(steps for steps, _ in chosen)
    losses = sum(steps * row.running_training_loss for steps, row in chosen)
    return losses / num, sum(steps * row.running_training_error for steps, row in chosen) / num


def _confusion(num_classes: int, images: int, wrong: int) -> list[list[int]]:
    """Return images by class and prediction: as many as can be of each class, so many of them in the next one."""
    confusion = [[0] * num_classes for _ in range(num_classes)]
    for label in range(num_classes):
        own = images // num_classes + (label < images % num_classes)
        missed = wrong // num_classes + (label < wrong % num_classes)
        confusion[label][label] += own - missed
        confusion[label][(label + 1) % num_classes] += missed
    return confusion


def _last_tenth(curve: Sequence[CurveRow]) -> float:
    last = curve[-1].iteration
    begin = max(start for start in (0, *(row.iteration for row in curve[:-1])) if start <= 0.9 * last)
    return _mean_of(curve, begin, last)[1]


def _responses(architecture: Architecture, seed: int, *, diverged: bool) -> list[ResponseRow]:
    rows: list[ResponseRow] = []
    size = 1.0 if architecture.kind == "plain" else 0.8 - architecture.depth / 1000
    for moment in get_args(Moment):
        trained = moment != "initial"
        nearer = 0.5 if moment == "estimated" else 1.0  # to what it was before training
        lost = diverged and trained
        for order in range(1, architecture.depth):
            # The values are not monotonic, so that sorting changes the line.
            value = size * (1 + 0.3 * math.sin(order)) + 0.01 * seed if trained else 1.0
            value = 1 + nearer * (value - 1)
            name = f"conv{order}"
            value = math.nan if lost else value + _trifle(architecture, seed, order)
            rows.append(ResponseRow(moment=moment, kind="response_std", order=order, layer=name, value=value))
        residual = architecture.kind == "residual"
        for order in range(1, sum(architecture.blocks_per_stage) + 1):
            values: dict[ResponseKind, float] = {"shortcut_share": 0.5 if residual else 0.0}
            if residual:
                values["ratio"] = (1 - 0.5 * nearer if trained else 1.0) / order**0.5 + 0.01 * seed
                values["cosine"] = -0.3 * nearer if trained else 0.0
            for kind, value in values.items():
                value = math.nan if lost else value
                rows.append(ResponseRow(moment=moment, kind=kind, order=order, layer=f"block{order}", value=value))
    return rows


def _trifle(*of: object) -> float:
    """Return next to nothing, by which no two runs are the same."""
    return int(_hash(*of)[:4], 16) / 1e13


def _final(
    architecture: Architecture,
    rates: list[tuple[int, float]],
    last: MetricsRow,
    responses: Sequence[ResponseRow],
    outcome: Outcome,
) -> dict[str, Any]:
    columns = ("training_error", "validation_error", "running_training_error", "validation_top5_error")
    return {
        "outcome": outcome,
        "iteration": last.iteration,
        **{name: getattr(last, name) for name in (*columns, "training_loss", "validation_loss")},
        **{
            column: of.of([row.value for row in responses if (row.kind, row.moment) == (of.kind, of.moment)])
            for column, of in RESPONSE_MEANS.items()
        },
        "skipped_steps": 0,
        "responses_on": "1,000 training images, evenly spaced, no augmentation, evaluation mode",
        "training_seconds": last.training_seconds,
        "evaluation_seconds": last.evaluation_seconds,
        "last_session_seconds": last.training_seconds,
        "waited_for_data_seconds": 0.0,
        "peak_memory_mib": None,
        "consumed": dict(part.split(":") for part in last.consumed.split("/")),
        "learning_rates": rates,
    }
