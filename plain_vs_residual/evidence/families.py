"""Which primary claims share an error rate: a family each, by how their experiments come to be trained.

Read before anything is trained, when claims are registered: imports neither pandas nor SciPy.
"""

from collections.abc import Sequence

from plain_vs_residual.experiment import Experiment

ERROR_RATE = 0.05


def family_of(experiment: Experiment, setting: str) -> str:
    """Name the experiments whose primary claims share an error rate with those of this one."""
    if experiment.seminar:
        return "the seminar"
    return "on request" if experiment.waits_to_be_named(setting) else "by default"


def num_primary(setting: str, experiment: Experiment, experiments: Sequence[Experiment]) -> int:
    """Count the primary claims that share the error rate with those of an experiment.

    All are declared beforehand, whether or not they have been run. A file that was left out because it is wrong
    counts in every family: no interval becomes narrower by a mistake in it.
    """
    family = family_of(experiment, setting)
    declared = sum(
        claim.primary
        for other in experiments
        if family_of(other, setting) == family
        for claim in other.claims_in(setting)
    )
    return declared + len(experiment.left_out)
