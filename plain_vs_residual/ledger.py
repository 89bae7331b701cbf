"""Where runs are recorded, and what of them is done: finished, changed since, taken by somebody, or due."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.fingerprint import differences
from plain_vs_residual.records.locks import RunLocks
from plain_vs_residual.records.models import RunDescription
from plain_vs_residual.records.store import damage, read_run
from plain_vs_residual.run import Job, Run

Describe = Callable[[Job], RunDescription]


class Changed(ValueError):
    """Runs were made by other code, data or configuration.

    Attributes:
        reasons: what differs, a line each.
    """

    def __init__(self, folder: Path, number: int, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"{number} recorded runs in {folder} are not what would be trained now ({'; '.join(reasons)})"
        )


@dataclass(frozen=True)
class Ledger:
    """The records under one results folder.

    Attributes:
        results: holds a folder per setting, which holds a folder per run.
    """

    results: Path

    def folder(self, run: Run) -> RunFolder:
        """Return where a run is recorded."""
        return RunFolder(self.results / run.setting.name / run.name)

    def jobs(self, runs: Iterable[Run], arithmetic: Arithmetic) -> list[Job]:
        """Make of each run what can be handed to whoever trains it.

        What is noted of the first iterations is read on the host, which compiled code cannot do.
        """
        uncompiled = arithmetic.model_copy(update={"execution": arithmetic.execution.uncompiled})
        eager = arithmetic.model_copy(update={"execution": Execution.EAGER})

        def arithmetic_of(run: Run) -> Arithmetic:
            if run.setting.eager_alone:
                return eager
            return uncompiled if run.setting.probe_iterations else arithmetic

        return [Job(run, arithmetic_of(run), self.folder(run)) for run in runs]

    def locked(self, runs: Iterable[Run]) -> RunLocks:
        """Keep others from checking or training these runs for a while; raises ``Locked`` if somebody does."""
        return RunLocks(self.folder(run).path for run in runs)

    def check(self, jobs: Iterable[Job], describe: Describe, *, rerun: bool) -> list[Path]:
        """Compare recorded runs with what would be trained now, and each with its checksums.

        Args:
            jobs: those that others need come before them.
            describe: says what the record of a job would say now.
            rerun: whether changed runs are set aside.

        Returns:
            Where changed runs were set aside.

        Raises:
            Changed: if runs differ and ``rerun`` is not given.
        """
        reasons: dict[str, list[str]] = {}
        jobs = list(jobs)
        for job in jobs:
            # Runs that this one needs, and that are to be trained, for the first time or anew.
            to_be_trained = [
                one.name for one in job.needs if reasons.get(one.name) or not one.finished or damage(one)
            ]
            if to_be_trained:
                depends = f"{to_be_trained[0]}: trained anew, and others depend on it"
                reasons[job.name] = [depends] if _is_begun(job.folder) else []
            else:
                reasons[job.name] = changes(job, describe)
        changed = [job for job in jobs if reasons[job.name]]
        if changed and not rerun:
            said = sorted({reason for job in changed for reason in reasons[job.name]})
            raise Changed(changed[0].folder.path.parent, len(changed), said)
        return [job.folder.set_aside() for job in changed]


def _is_begun(folder: RunFolder) -> bool:
    """Say whether there is anything that a run would go on from, or that records it."""
    traces = (folder.run, folder.checkpoint, folder.previous_checkpoint)
    return folder.finished or any(path.exists() for path in traces)


def changes(job: Job, describe: Describe) -> list[str]:
    """Say why a recorded run is not the one that would be trained now; nothing if it is, or is not recorded."""
    folder = job.folder
    if not folder.run.exists() and not folder.finished:
        # Nothing says what a checkpoint without it was made by.
        return [f"{folder.run}: missing"] if _is_begun(folder) else []
    return damage(folder) or differences(read_run(folder), describe(job))
