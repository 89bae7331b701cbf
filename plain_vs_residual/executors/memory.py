"""A run that does not fit into memory: how torch says it, and what a person can do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plain_vs_residual.run import Run

# oneDNN says no more than "a primitive"; "a primitive descriptor" is what it has no code for.
WORDS_OF_MEMORY = re.compile(
    "can't allocate memory|not enough memory|out of memory|_STATUS_ALLOC_FAILED"
    "|could not create a (primitive|memory object)$|bad_alloc"
)


class OutOfMemory(ValueError):
    """A run does not fit into memory."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error is one of memory, or was raised while one was handled, as when a recording fails."""
    if error is None:
        return False
    found = isinstance(error, MemoryError | torch.OutOfMemoryError) or WORDS_OF_MEMORY.search(str(error))
    return bool(found) or is_out_of_memory(error.__cause__ or error.__context__)


def what_to_try(run: Run, device: torch.device) -> str:
    """Say what did not fit, and what to try."""
    setting = run.setting
    peak = f", peak {torch.cuda.max_memory_allocated(device) / 2**20:,.0f} MiB" if device.type == "cuda" else ""
    return (
        f"{run.name}: out of memory on {device} with batches of {setting.batch_size} images of "
        f"{setting.input_size} px{peak}; the batch belongs to the recipe and stays as it is; try fewer runs at "
        "once (--jobs 1), --precision bf16, or a device with more memory. What was finished or saved is kept"
    )


@contextmanager
def within_memory(run: Run, device: torch.device) -> Iterator[None]:
    """Say what to try if what is computed in this context does not fit.

    Raises:
        OutOfMemory: says the batch, the peak and what to try; a smaller batch would be another recipe.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(what_to_try(run, device)) from error
