"""Disks as they are: full ones, those that cannot sync a folder; every refusal names the path."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plain_vs_residual.cli.checks import in_words
from plain_vs_residual.executors.children import handed_over
from plain_vs_residual.records import atomic
from plain_vs_residual.records.atomic import write_bytes, write_text
from plain_vs_residual.records.files import REPOSITORY

WORDS = "cannot sync, so that a power cut could lose the last record"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], None]]:
    """Let ``fsync`` or ``open`` of the system refuse folders with an error."""
    open_, fsync = os.open, os.fsync

    def refuse(number: int, name: str) -> None:
        def refused_fsync(handle: int) -> None:
            if Path(f"/proc/self/fd/{handle}").resolve().is_dir():
                raise OSError(number, os.strerror(number))
            fsync(handle)

        def refused_open(path: Path, flags: int) -> int:
            if Path(path).is_dir():
                raise OSError(number, os.strerror(number), str(path))
            return open_(path, flags)

        refused = {"fsync": refused_fsync, "open": refused_open}[name]
        monkeypatch.setattr(atomic.os, name, refused)

    atomic._said.clear()
    yield refuse
    atomic._said.clear()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        *((number, "fsync") for number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY)),
        (errno.EACCES, "open"),
        (errno.EPERM, "open"),
    ],
)
def test_a_folder_that_cannot_be_synced_is_said_once(
    tmp_path: Path,
    answers: Callable[[int, str], None],
    capsys: pytest.CaptureFixture[str],
    number: int,
    name: str,
) -> None:
    answers(number, name)
    for file in ("a", "b"):
        write_text(tmp_path / file, "whole")
        assert (tmp_path / file).read_text() == "whole"
    said = capsys.readouterr().err
    assert said.count(WORDS) == 1
    assert said.startswith(f"note: {tmp_path}: ")
    assert os.strerror(number) in said


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_should_have_been_synced_is_an_error_with_its_path(
    tmp_path: Path, answers: Callable[[int, str], None], number: int
) -> None:
    answers(number, "fsync")
    with pytest.raises(OSError, match=rf"\[Errno {number}\].*: '{tmp_path}/a'"):
        write_text(tmp_path / "a", "whole")


@contextmanager
def no_room() -> Iterator[None]:
    """Let every write end as one on a full disk does: after the file was opened, and so without its name."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_with_the_file_that_found_no_room(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match="File too large") as bare:
        (tmp_path / "bare").write_bytes(b"1234")
    assert bare.value.filename is None  # the system's own error
    assert in_words(bare.value) == f"[Errno {errno.EFBIG}] File too large: {tmp_path / 'bare'}"
    with no_room(), pytest.raises(OSError, match=f"File too large: '{tmp_path}/named'"):
        write_bytes(tmp_path / "named", b"1234")
    assert list(tmp_path.iterdir()) == [tmp_path / "bare"]
    with no_room(), pytest.raises(OSError, match=r"File too large: '.*handed_over'"), handed_over(7):
        pass


def test_an_error_of_no_file_does_not_name_one() -> None:
    path = Path("innocent")
    with pytest.raises(OSError, match="Broken pipe") as broken:
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
    assert in_words(broken.value).endswith("Broken pipe: standard output, or a file that the system did not name")
    assert path.name == "innocent"
    assert in_words(OSError("said by a library")) == "said by a library"
    assert in_words(FileNotFoundError(2, "No such file", "x")) == "[Errno 2] No such file: 'x'"


@pytest.mark.usefixtures("one_core")
def test_a_suite_on_a_disk_that_cannot_sync_folders_trains_and_says_so(tmp_path: Path, image_folder: Path) -> None:
    program = (
        "import errno, os, stat, sys\n"
        "whole = os.fsync\n"
        "def fsync(handle):\n"
        "    if stat.S_ISDIR(os.fstat(handle).st_mode):\n"
        "        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))\n"
        "    whole(handle)\n"
        "os.fsync = fsync\n"
        "from plain_vs_residual.cli.app import main\n"
        "main()\n"
    )
    options = "fig4_depth --setting digits --seeds 1 --iterations 2 --evaluations 1 --network plain18 --jobs 1"
    where = ("--data", str(image_folder), "--results", str(tmp_path / "results"))
    done = subprocess.run(
        [sys.executable, "-c", program, *options.split(), "--no-report", *where],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(WORDS) == 1
    assert f"note: {tmp_path / 'results'}: " in done.stderr


def test_a_file_reaches_the_disk_before_it_takes_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    name = lambda handle: Path(os.readlink(f"/proc/self/fd/{handle}")).name  # noqa: E731
    monkeypatch.setattr(atomic.os, "fsync", lambda handle: done.append(name(handle)))
    path = tmp_path / "record.json"
    atomic.atomically(
        path,
        lambda temporary: (temporary.write_text("{}"), done.append("written")),
        before_replacing=lambda: done.append("old one kept" if not path.exists() else "late"),
    )
    assert done == ["written", f".record.json.{os.getpid()}.tmp", "old one kept", tmp_path.name]
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
