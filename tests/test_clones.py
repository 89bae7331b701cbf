"""Clones as people have them: owned by another user, without git, with line endings of Windows."""

import codecs
import subprocess
from pathlib import Path

import pytest

from plain_vs_residual.evidence.pairing import summary_line, verify
from plain_vs_residual.executors import description, doctor
from plain_vs_residual.executors.description import environment
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records import git
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.models import MeasurementRecord
from plain_vs_residual.records.rows import MeasuredRow
from plain_vs_residual.records.store import damage, read_final, read_measurement, read_record, write_measurement
from plain_vs_residual.report.tables import machine_table
from tests.conftest import CPU
from tests.made_up_records import ENVIRONMENT, read_json, read_runs, reseal, write_json, write_results, write_run

FIG4 = load_experiments()["fig4_depth"]
WORDS = "only its line endings differ (CRLF, as Git for Windows and some editors write them); nothing is lost"


# ---- what git knows --------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one module, of which the code of a run consists."""
    (tmp_path / "blocks.py").write_text("x = 1\n")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(git, "REPOSITORY", tmp_path)
    monkeypatch.setattr(description, "code_hashes", lambda: {"blocks.py": "0000"})
    return tmp_path


def known_to_git() -> tuple[bool, bool | None]:
    found = environment.__wrapped__(CPU)
    return found.git_commit is not None, found.git_changes


@pytest.mark.parametrize("other_owner", [False, True])
def test_changes_of_the_code_are_known_whoever_owns_the_clone(
    clone: Path, monkeypatch: pytest.MonkeyPatch, other_owner: bool
) -> None:
    if other_owner:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        asked = subprocess.run(["git", "-C", str(clone), "status"], capture_output=True, check=False)
        assert asked.returncode != 0  # what git says to everybody else
    assert known_to_git() == (True, False)
    (clone / "blocks.py").write_text("x = 2\n")
    assert known_to_git() == (True, True)


def test_a_hook_of_another_repository_does_not_say_what_commit_this_is(
    clone: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert known_to_git() == (True, False)
    assert git.ask_git("show", "HEAD:blocks.py") == (clone / "blocks.py").read_text()


@pytest.mark.parametrize("how", ["no repository", "no git"])
def test_what_git_cannot_say_is_unknown_and_not_false(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "no git":
        monkeypatch.setenv("PATH", "")
    else:
        (clone / ".git").rename(tmp_path / "elsewhere")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert known_to_git() == (False, None)


def with_changes(folder: RunFolder, value: bool | None) -> None:
    record = read_json(folder.run)
    record["environment"]["git_changes"] = value
    write_json(folder.run, record)
    reseal(folder)


@pytest.mark.parametrize("other", [False, True])
def test_a_run_of_which_git_knows_nothing_differs_from_no_other_and_verify_says_so(
    tmp_path: Path, other: bool
) -> None:
    write_results(tmp_path, [FIG4], "digits", seeds=[0])
    folders = [RunFolder(path.parent) for path in sorted((tmp_path / "digits").glob("*/run.json"))]
    for number, folder in enumerate(folders):
        with_changes(folder, other if number else None)
    recorded = read_runs(tmp_path, "digits")
    checks = verify(recorded, FIG4)
    assert {check.uncommitted for check in checks if folders[0].name in check.runs} == {False}
    line = summary_line(checks)
    assert "pairs agree" in line
    assert "git could not say of every run whether the code had uncommitted changes" in line
    assert "whether with changes is unknown" in machine_table(recorded)
    with_changes(folders[0], not other)
    assert "was trained with uncommitted changes" in summary_line(verify(read_runs(tmp_path, "digits"), FIG4))


# ---- line endings ----------------------------------------------------------------------------------------


def with_crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("name", ["metrics.csv", "training_curve.csv", "responses.csv", "run.json"])
def test_a_record_of_which_only_line_endings_differ_is_named_as_that(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "two words", "digits", "plain18", 0)
    folder = RunFolder(tmp_path / "two words" / "digits" / "plain18-s0")
    with_crlf(folder.path / name)
    with pytest.raises(ValueError, match="line endings") as refused:
        read_record(folder)
    said = str(refused.value)
    assert said.startswith(f"{folder.path / name}: {WORDS}: find ")
    assert "delete" not in said
    assert "rerun" not in said
    (finding,) = (one for one in doctor._records(folder.path.parent) if one.fix)
    assert finding.fix == "as it says"
    # The command that it names mends every record of the setting.
    subprocess.run(["bash", "-c", said.partition("nothing is lost: ")[2]], check=True)
    assert damage(folder) == []
    read_record(folder)


def test_what_changed_more_than_line_endings_is_damaged(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    folder = RunFolder(tmp_path / "digits" / "plain18-s0")
    with_crlf(folder.metrics)
    folder.metrics.write_bytes(folder.metrics.read_bytes().replace(b"1", b"2", 1))
    (line,) = damage(folder)
    assert line.startswith(f"{folder.metrics}: damaged, it does not match its SHA-256")


def test_final_json_with_other_line_endings_is_whole(tmp_path: Path) -> None:
    """Its own seal is over what it says."""
    write_run(tmp_path, "digits", "plain18", 0)
    folder = RunFolder(tmp_path / "digits" / "plain18-s0")
    with_crlf(folder.final)
    assert damage(folder) == []


@pytest.mark.parametrize("name", ["metrics.csv", "final.json", "run.json"])
def test_the_mark_that_editors_of_windows_put_first_is_no_damage(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    folder = RunFolder(tmp_path / "digits" / "plain18-s0")
    with_crlf(folder.path / name)
    (folder.path / name).write_bytes(codecs.BOM_UTF8 + (folder.path / name).read_bytes())
    lines = damage(folder)
    assert all(WORDS in line for line in lines)
    for line in lines:
        subprocess.run(["bash", "-c", line.partition("nothing is lost: ")[2]], check=True)
    read_record(folder)
    assert damage(folder) == []


def test_a_measurement_of_which_only_line_endings_differ_is_not_to_be_deleted(tmp_path: Path) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    folder = RunFolder(tmp_path / "digits" / "plain18-s0")
    record = MeasurementRecord(
        measurement="lesions",
        summary={},
        run=read_final(folder).checksum,
        sources={},
        environment=ENVIRONMENT,
        seconds=1.0,
    )
    row = MeasuredRow(iteration=1, quantity="error", place="network", position=0.0, value=1.0)
    write_measurement(folder, record, [row])
    with_crlf(folder.measured("lesions"))
    with pytest.raises(ValueError, match="line endings") as refused:
        read_measurement(folder, "lesions")
    assert "delete" not in str(refused.value)
