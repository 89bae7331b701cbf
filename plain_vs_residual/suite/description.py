"""What a run's record says before the run is trained."""

import time

from plain_vs_residual.data.images import Dataset
from plain_vs_residual.records.fingerprint import hash_of, source_hashes
from plain_vs_residual.records.models import Configuration, DatasetRecord, RunDescription
from plain_vs_residual.records.store import read_final
from plain_vs_residual.suite.machine import environment
from plain_vs_residual.training.run import Run
from plain_vs_residual.training.schedule import num_iterations


def describe(run: Run, dataset: Dataset) -> RunDescription:
    """Write down everything that is known of a run before its network is built.

    Args:
        run: the run.
        dataset: its images, split as its setting says.
    """
    setting = run.setting
    return RunDescription(
        network=run.architecture.name,
        label=run.architecture.label,
        setting=setting.name,
        study=run.study,
        seed=run.seed,
        dataset=DatasetRecord(
            name=dataset.name,
            caveat=dataset.caveat,
            variant=run.variant,
            classes=list(dataset.classes),
            validation_name=dataset.validation_name,
        ),
        caveat=setting.caveat,
        departures=list(setting.departures),
        configuration=configuration(run, dataset),
        sources=source_hashes(),
        environment=environment(run.device).model_copy(update={"devices": run.group.size}),
        started=time.strftime("%Y-%m-%d %H:%M:%S"),
    )


def configuration(run: Run, dataset: Dataset) -> Configuration:
    """Resolve everything that was chosen for a run: two runs of equal configuration and code are the same."""
    source = run.source[1] if run.source and run.source[1].finished else None
    led = run.leader is not None and run.leader.finished
    resolved = {"iterations": num_iterations(run.setting, len(dataset.training))}
    return Configuration(
        **run.setting.recipe() | resolved,
        network=run.architecture.name,
        seed=run.seed,
        num_training=len(dataset.training),
        num_validation=len(dataset.validation),
        data_fingerprint=dataset.fingerprint,
        precision=run.precision,
        execution=run.execution,
        deterministic=run.deterministic,
        replayed_rates=hash_of(list(run.leader_rates())) if led else None,
        source_weights=read_final(source).files[source.weights.name] if source else None,
    )
