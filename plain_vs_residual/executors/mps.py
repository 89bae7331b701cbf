"""Several runs on one GPU at the same time, by NVIDIA's multi-process service (MPS).

Without it, the processes on a GPU take turns, and several runs of thin networks gain nothing.
See https://docs.nvidia.com/deploy/mps/.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDERS = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
SECONDS = 10.0  # in which the service starts, or ends once nobody uses it any more
# The service ends when the input does: when this process closes it or is gone, even if it was killed.
SERVE = 'exec 3<&0; { read -r _ <&3; echo quit | "$0"; } & "$0" -f; kill $!'


def control() -> str | None:
    """Return the program that starts the service, if there is one and the user has no service of their own."""
    return None if any(name in os.environ for name in FOLDERS) else shutil.which("nvidia-cuda-mps-control")


@contextmanager
def at_the_same_time() -> Iterator[None]:
    """Let processes that are started in this context compute on a GPU at the same time, where that is possible.

    The service is private to them. Where it does not start, they take turns, as without it.
    """
    program = control()
    if program is None:
        yield
        return
    with TemporaryDirectory(prefix="mps-") as folder:
        environment = dict.fromkeys(FOLDERS, folder)
        service = subprocess.Popen(
            ["sh", "-c", SERVE, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is not meant for it: its clients have runs to save
        )
        try:
            _wait_for(Path(folder, "control"), service)
            os.environ.update(environment)  # new processes inherit it
            yield
        finally:
            for name in environment:
                os.environ.pop(name, None)
            assert service.stdin is not None
            service.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                service.wait(SECONDS)


def _wait_for(pipe: Path, service: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS
    while not pipe.exists() and service.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
