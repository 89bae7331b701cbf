"""Writes believable results by simple formulas, without torch and without training anything."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from plain_vs_residual import records
from plain_vs_residual.analysis import Edition, load_editions
from plain_vs_residual.experiment import Experiment, Network, Study
from plain_vs_residual.settings import find_setting
from plain_vs_residual.training.schedule import Schedule, schedule_of

NUM_IMAGES = {"digits": (1_437, 360), "cifar10": (50_000, 10_000), "imagenet": (1_281_167, 50_000)}
NAMES = {"digits": "digits (scikit-learn)", "cifar10": "CIFAR-10", "imagenet": "ILSVRC2012"}
ENVIRONMENT = {
    "python": "3.12.1",
    "torch": "2.99.0+made-up",
    "torchvision": "0.99.0",
    "numpy": "2.9.9",
    "platform": "Linux",
    "device": "cpu",
    "device_name": "Abacus",
    "cuda": None,
    "cudnn": None,
    "threads": 2,
    "git_commit": "0123456789ab",
    "git_changes": False,
}

Errors = Callable[[Network, int], tuple[float, float]]


def usual_errors(network: Network, seed: int) -> tuple[float, float]:
    """Training and validation error at the end (percent): depth costs plain networks ten times as much."""
    training = 1 + network.depth / (5 if network.kind == "plain" else 50) + 0.05 * seed
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
    outcome: str = "finished",
    finished: bool = True,
) -> records.RunFolder:
    """Writes run.json, metrics.csv and, unless it is to be unfinished, responses.csv and final.json."""
    known = Network.parse(network)
    changed = find_setting(setting).with_changes(study.changes if study else {})
    num_training, num_validation = NUM_IMAGES[changed.data]
    schedule = schedule_of(changed, known.depth, num_training)
    study_name = study.name if study else ""
    folder = records.RunFolder(results / setting / records.run_name(network, (study_name, variant), seed))
    folder.path.mkdir(parents=True)
    records.write_run(
        folder,
        {
            "network": network,
            "label": known.label,
            "setting": setting,
            "study": study_name,
            "seed": seed,
            "dataset": {
                "name": dataset or NAMES[changed.data],
                "caveat": caveat,
                "variant": variant,
                "classes": list(classes),
            },
            "caveat": changed.caveat,
            "departures": list(changed.departures),
            "configuration": {
                "network": network,
                "seed": seed,
                **changed.recipe(),
                "iterations": schedule.iterations,
                "num_training": num_training,
                "num_validation": num_validation,
                "data_fingerprint": _hash(dataset, variant),
                "precision": "fp32",
                "execution": "eager",
            },
            "sources": {"plain_vs_residual/blocks.py": _hash("blocks")},
            "environment": ENVIRONMENT,
            "started": "2026-01-01 00:00:00",
            "parameters": 1_000 * known.depth + {None: 0, "A": 0, "B": 10, "C": 20}[known.option],
            "multiply_adds": 1_000_000 * known.depth,
            "initial_parameters": _parameters(known, seed),
        },
    )
    rows = _metrics(known, seed, schedule, changed.evaluations, errors, outcome)
    if not finished:
        rows = rows[: len(rows) // 2]
    records.write_rows(folder.metrics, records.METRICS, rows)
    if changed.probe_iterations:
        probed = [
            dict.fromkeys(records.FIRST_ITERATIONS, 1 + iteration / 10) | {"iteration": iteration}
            for iteration in range(changed.probe_iterations)
        ]
        records.write_rows(folder.first_iterations, records.FIRST_ITERATIONS, probed)
    if finished:
        responses = _responses(known, seed, diverged=outcome == "diverged")
        records.write_rows(folder.responses, records.RESPONSES, responses)
        looked_at = "validation" if changed.split == "test" else "test"
        confusion = [[9 if row == column else 1 for column in classes] for row in classes]
        final = _final(known, seed, schedule, rows[-1], responses, outcome)
        looked = {f"{looked_at}_confusion": confusion} | ({"test_error": 50.0} if looked_at == "test" else {})
        records.write_final(folder, final | looked)
    return folder


def reseal(folder: records.RunFolder) -> None:
    """Makes the checksums of a run agree with its files again, after a test changed one."""
    records.write_run(folder, records.read_json(folder.run))
    final = records.read_json(folder.final)
    records.write_final(folder, {key: value for key, value in final.items() if key not in ("files", "checksum")})


def write_results(
    results: Path,
    experiments: Iterable[Experiment],
    setting: str,
    *,
    seeds: Iterable[int] = range(3),
    **changes: Any,
) -> Edition:
    """Writes every run that the experiments need once, ``changes`` as in :func:`write_run`; returns them read."""
    wanted = {
        (network, study.name, seed): study
        for experiment in experiments
        for network, study in experiment.runs_in(setting)
        for seed in seeds
    }
    for (network, _, seed), study in wanted.items():
        write_run(results, setting, network, seed, study=study, **changes)
    return read_edition(results, setting)


def read_edition(results: Path, setting: str) -> Edition:
    """The one edition of a setting."""
    (edition,) = load_editions(results, setting)
    return edition


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _consumed(seed: int, iteration: int) -> dict[str, str]:
    return {name: _hash(name, seed, iteration) for name in ("indices", "crops", "flips", "pixels")}


def _parameters(network: Network, seed: int) -> dict[str, str]:
    shapes = {"conv1.weight": "16x3x3x3", "layer1.0.conv1.weight": "16x16x3x3", "fc.weight": "10x64"}
    if network.option in ("B", "C"):
        shapes["layer2.0.shortcut.0.weight"] = "32x16x1x1"
    return {name: f"{shape}:{_hash(seed, name, shape)}" for name, shape in shapes.items()}


def _metrics(
    network: Network, seed: int, schedule: Schedule, evaluations: int, errors: Errors, outcome: str
) -> list[dict[str, Any]]:
    final_training, final_validation = errors(network, seed)
    rows: list[dict[str, Any]] = []
    for number in range(1, evaluations + 1):
        iteration = round(number * schedule.iterations / evaluations)
        still = (1 - number / evaluations) ** 3
        training, validation = (final + (90 - final) * still for final in (final_training, final_validation))
        diverged = outcome == "diverged" and number == max(2, evaluations // 2)
        rows.append(
            {
                "iteration": iteration,
                "epoch": number,
                "learning_rate": schedule(iteration - 1),
                "running_training_loss": math.nan if diverged else training / 40,
                "running_training_error": training,
                "training_loss": math.nan if diverged else training / 50,
                "training_error": training,
                "validation_loss": math.nan if diverged else validation / 50,
                "validation_error": validation,
                "validation_top5_error": validation / 4,
                "training_seconds": float(number),
                "evaluation_seconds": number / 10,
                "consumed": "/".join(f"{name}:{value}" for name, value in _consumed(seed, iteration).items()),
            }
        )
        if diverged:
            break
    return rows


def _responses(network: Network, seed: int, *, diverged: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    size = 1.0 if network.kind == "plain" else 0.8 - network.depth / 1000
    for moment in ("initial", "final"):
        trained = moment == "final"
        for order in range(1, network.depth):
            # Not in order of size, so that sorting changes the line.
            value = size * (1 + 0.3 * math.sin(order)) + 0.01 * seed if trained else 1.0
            name = f"conv{order}"
            rows.append({"moment": moment, "kind": "response_std", "order": order, "layer": name, "value": value})
        for order in range(1, network.depth // 2) if network.kind == "residual" else ():
            value = (0.5 if trained else 1.0) / order**0.5 + 0.01 * seed
            name = f"block{order}"
            rows.append({"moment": moment, "kind": "ratio", "order": order, "layer": name, "value": value})
    return [row | {"value": math.nan} if diverged and row["moment"] == "final" else row for row in rows]


def _final(
    network: Network,
    seed: int,
    schedule: Schedule,
    last: dict[str, Any],
    responses: list[dict[str, Any]],
    outcome: str,
) -> dict[str, Any]:
    def mean(kind: str) -> float | None:
        values = [row["value"] for row in responses if row["kind"] == kind and row["moment"] == "final"]
        return sum(values) / len(values) if values else None

    columns = ("training_error", "validation_error", "running_training_error", "validation_top5_error")
    changes = {0, schedule.warm_up, *schedule.drops}
    if schedule.linear:
        changes |= set(range(0, schedule.iterations, 50))
    return {
        "outcome": outcome,
        "iteration": last["iteration"],
        **{name: last[name] for name in (*columns, "training_loss", "validation_loss")},
        "mean_response": mean("response_std"),
        "mean_ratio": mean("ratio"),
        "responses_on": "1,000 training images, evenly spaced, no augmentation, evaluation mode",
        "training_seconds": last["training_seconds"],
        "evaluation_seconds": last["evaluation_seconds"],
        "last_session_seconds": last["training_seconds"],
        "images_per_second": 50_000 / network.depth * (0.8 if network.option == "C" else 1.0),
        "peak_memory_mib": 100,
        "consumed": _consumed(seed, last["iteration"]),
        "learning_rates": [[start, schedule(start)] for start in sorted(changes)],
    }
