"""Works on one job after the other in this process."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from plain_vs_residual.executors.executor import Begins, DatasetOf, Work
from plain_vs_residual.executors.signals import StopRequest
from plain_vs_residual.run import Job
from plain_vs_residual.training.place import Place
from plain_vs_residual.training.session import Stopped


@dataclass(frozen=True)
class Here:
    """This process.

    Attributes:
        place: where it computes.
        dataset_of: gives the images of a run.
    """

    place: Place
    dataset_of: DatasetOf
    at_once: int = 1

    def carry_out(self, jobs: Sequence[Job], work: Work, begins: Begins) -> Generator[Job, None, None]:
        """Do the work with each job. A signal while the caller handles one is obeyed before the next begins.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; says what was saved.
        """
        if not jobs:  # and so no signal to wait for: only the main thread may ask for them
            return
        with StopRequest() as stops:
            for job in jobs:
                if stops():
                    raise Stopped(f"{job.name} was about to begin")
                work(job, self.place, self.dataset_of(job.run), begins(job), stops)
                yield job
            # The caller would go on to measure and publish.
            if stops():
                raise Stopped("every run came to its end, and what comes after them is left")
