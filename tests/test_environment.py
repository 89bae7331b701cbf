"""The set-up scripts, run in small copies of the repository with fake interpreters and installers."""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import environment

ROOT = Path(__file__).resolve().parent.parent
BASH = shutil.which("bash") or "bash"
TOOLS = [
    *("bash", "cat", "dirname", "env", "find", "grep", "head", "mkdir", "mv"),
    *("readlink", "rm", "sed", "sleep", "tail"),
]

# Runs the Python of these tests, but behaves like Debian's without python3-venv and pip.
BARE_PYTHON = f"""#!{BASH}
case "$*" in
    "-m venv --without-pip"*) ;;
    "-m venv"* | "-m pip"*) exit 1 ;;
    "-m mypy"*) exit "${{MYPY_STATUS:-0}}" ;;
    "-m ruff"* | "-m pytest"*) echo "$*"; exit 0 ;;
esac
exec "{sys.executable}" "$@"
"""

# Installs nothing, but writes the metadata of each package that is named with its version.
FAKE_UV = f"""#!{BASH}
echo "$*" >>"$UV_CALLS"
if [[ ${{UV_DOES:-}} == wait ]]; then exec sleep 30; fi
if [[ ${{UV_DOES:-}} == fail ]]; then echo "error: no such luck"; exit 1; fi
if [[ ${{UV_DOES:-}} == slowly ]]; then sleep 0.2; fi
while [[ $# -gt 0 ]]; do
    if [[ $1 == --python ]]; then site=$(echo "$(dirname "$2")"/../lib/python3*/site-packages); fi
    if [[ $1 == *==* ]]; then
        name=${{1%%==*}} version=${{1##*==}}
        information=$site/${{name//-/_}}-$version.dist-info
        mkdir -p "$information"
        printf 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n' "$name" "$version" >"$information/METADATA"
    fi
    if [[ $1 == unreachable* ]]; then echo "error: versions: none"; exit 1; fi
    shift
done
if [[ ${{UV_DOES:-}} == die ]]; then kill -9 "$PPID"; fi
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Copy:
    """A repository with the real scripts, its own requirements, and a package that prints its arguments."""

    said = ""  # by the first command, if it has set up an environment

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "my copy"
        self.venv = self.root / ".venv"
        self.environments = self.root / ".venvs"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.calls.touch()
        package = self.root / "plain_vs_residual"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text("import sys; print(sys.prefix, sys.argv[1:])\n", encoding="utf-8")
        for name in ("environment.sh", "environment.py", "run_all.sh", "run_tests.sh"):
            shutil.copy(ROOT / name, self.root)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.python = program(self.bin / "python3", BARE_PYTHON)
        program(self.bin / "uv", FAKE_UV)
        self.require({"torch": "9000.0", "small-thing": "1.0"}, {"small-tool": "1.0"})

    def require(self, runtime: dict[str, str], tests: dict[str, str], added: tuple[str, ...] = ()) -> None:
        def ranges(pins: dict[str, str]) -> str:
            return ", ".join(f'"{name}>={version}"' for name, version in pins.items())

        (self.root / "pyproject.toml").write_text(
            f'[project]\nrequires-python = ">=3.11"\ndependencies = [{ranges(runtime)}]\n'
            f"[project.optional-dependencies]\ntests = [{ranges(tests)}]\ncluster = {list(added)}\n",
            encoding="utf-8",
        )
        marker = ' ; sys_platform != "darwin" or platform_machine == "arm64"'
        lines = [f"{package}=={version}{marker}\n" for package, version in (runtime | tests).items()]
        (self.root / "constraints.txt").write_text("".join(lines), encoding="utf-8")

    def command(self, script: str, *arguments: str) -> list[str]:
        return [BASH, str(self.root / script), *arguments]

    def variables(self, **more: str) -> dict[str, str]:
        kept = {"HOME": os.environ.get("HOME", "/"), "PATH": str(self.bin), "UV_CALLS": str(self.calls)}
        return kept | more

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *arguments),
            cwd=self.bin.parent,  # the scripts must work from outside the repository
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def installs(self) -> int:
        return len(self.calls.read_text(encoding="utf-8").splitlines())

    def other_python(self) -> str:
        """Make another Python than the one on PATH."""
        folder = self.bin.parent / "other"
        venv.create(folder, with_pip=False)
        text = BARE_PYTHON.replace(sys.executable, str(folder / "bin" / "python"))
        return str(program(folder / "bare-python", text))

    def make_as_before(self) -> None:
        """Turn what was set up into a .venv as earlier versions made it: a folder and no link."""
        environment = self.venv.resolve()
        self.venv.unlink()
        environment.rename(self.venv)
        shutil.rmtree(self.environments)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("run_all.sh"),
            env=self.variables(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def files(folder: Path) -> dict[Path, float]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture(scope="module")
def set_up_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, Path]:
    """Return a copy after its first command, which set up an environment, and a twin of its folder."""
    copy = Copy(tmp_path_factory.mktemp("set_up"))
    first = copy.run("run_all.sh")
    assert first.returncode == 0, first.stderr
    copy.said = first.stdout
    twin = tmp_path_factory.mktemp("twin") / "of it"
    shutil.copytree(copy.folder, twin, symlinks=True)
    return copy, twin


@pytest.fixture
def ready(set_up_once: tuple[Copy, Path]) -> Copy:
    """Return that copy as it was then, in the place that it had: paths stand in its files."""
    copy, twin = set_up_once
    shutil.rmtree(copy.folder)
    shutil.copytree(twin, copy.folder, symlinks=True)
    return copy


def assert_one_line_and_2(done: subprocess.CompletedProcess[str], *, names: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "etting up .venv" not in line and "Adding" not in line]
    assert len(lines) == 1, done.stderr
    assert re.search(names, lines[0])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0+cpu", (2, 13)),
        ("2.11.0a0+1234", (2, 11)),
        ("2.11.0.post1", (2, 11)),
        ("3", (3,)),
        ("3.0.0", (3,)),
        ("10.2", (10, 2)),
        ("", ()),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert environment.numbers(version) == expected


def test_every_requirement_has_a_pin_that_meets_it() -> None:
    pins = environment.pins()
    wanted = environment.requirements("tests")
    del wanted["python"]
    for name, lowest in wanted.items():
        assert environment.numbers(pins[name]) >= environment.numbers(lowest), name
    for requirement in environment.added("tests"):
        assert re.split(r"[>=; ]", requirement)[0] in pins


def test_asking_what_is_missing_imports_no_torch() -> None:
    code = "import sys, environment; environment.main('report', 'tests'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_an_active_python_that_has_everything_is_used_as_it_is(copy: Copy) -> None:
    copy.require({"torch": "1.0"}, {"pytest": "1.0"})
    done = copy.run("run_all.sh", "--setting", "a b", "")
    assert done.stdout == f"{sys.prefix} {['--setting', 'a b', '']}\n"
    assert done.stderr == ""
    assert not copy.venv.exists()


def test_a_fresh_set_up_happens_once(copy: Copy) -> None:
    first = copy.run("run_all.sh")
    assert first.returncode == 0, first.stderr
    assert len(first.stderr.splitlines()) == 2
    assert str(copy.venv) in first.stdout
    second = copy.run("run_all.sh")
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert copy.installs() == 1


def test_changed_pins_set_up_anew(ready: Copy) -> None:
    ready.require({"torch": "9001.0"}, {})
    assert ready.run("run_all.sh").returncode == 0
    assert [path.name for path in ready.venv.glob("lib/python3*/site-packages/torch*")] == [
        "torch-9001.0.dist-info"
    ]


def test_what_tests_can_do_without_is_added_where_it_can_be_had(copy: Copy) -> None:
    added = ("small-extra==1.0", "unreachable-extra>=1.0 ; sys_platform != 'plan9'")
    copy.require({"torch": "9000.0"}, {"small-tool": "1.0"}, added)
    assert copy.run("run_all.sh").returncode == 0
    assert copy.installs() == 1
    assert "Set up in" in copy.run("run_tests.sh").stderr
    assert [path.name for path in copy.venv.glob("lib/python3*/site-packages/small_extra*")]
    assert "left out: unreachable-extra>=1.0" in (copy.venv / "set-up.log").read_text(encoding="utf-8")
    assert copy.installs() == 4
    assert "Adding" not in copy.run("run_tests.sh").stderr  # what could not be had is not tried at every call


def test_constraints_are_no_requirements(copy: Copy) -> None:
    (copy.root / "constraints.txt").write_text("torch==9000.0\nsmall-thing==1.0\nanother-thing==1.0\n")
    copy.run("run_all.sh")
    arguments = copy.calls.read_text(encoding="utf-8").split()
    assert arguments[-4:] == ["-c", "constraints.txt", "torch==9000.0", "small-thing==1.0"]
    assert "another-thing==1.0" in (copy.venv / "set-up.done").read_text(encoding="utf-8")


def test_an_environment_by_the_same_pins_in_two_files_goes_on_serving(copy: Copy) -> None:
    """Earlier versions wrote the text of two files of requirements into it, which had comments."""
    first = copy.run("run_tests.sh")
    stamp = copy.venv / "set-up.done"
    built_from, pins = stamp.read_text(encoding="utf-8").split("\n", 1)
    stamp.write_text(f"{built_from}\n# What a fresh .venv gets.\n{pins}\n# More.\n", encoding="utf-8")
    for script in ("run_all.sh", "run_tests.sh"):
        assert "etting up" not in copy.run(script).stderr
    assert copy.run("run_tests.sh").stdout == first.stdout
    stamp.write_text(f"{built_from}\n{pins}gone==1.0\n", encoding="utf-8")
    assert "Setting up" in copy.run("run_all.sh").stderr


@pytest.mark.parametrize("accident", ["fail", "die"])
def test_a_set_up_cut_short_is_not_believed(copy: Copy, accident: str) -> None:
    cut_short = copy.run("run_all.sh", UV_DOES=accident)
    assert cut_short.returncode in {2, -9}
    assert cut_short.stdout == ""
    assert copy.run("run_all.sh").returncode == 0
    assert copy.installs() == 2


def test_a_failed_installation_says_why_in_one_line(copy: Copy) -> None:
    assert_one_line_and_2(copy.run("run_all.sh", UV_DOES="fail"), names=r"no such luck.*/set-up\.log")


def test_tools_that_cannot_be_had_leave_what_was_set_up(ready: Copy) -> None:
    assert_one_line_and_2(ready.run("run_tests.sh", UV_DOES="fail"), names="no such luck")
    after = ready.run("run_all.sh")
    assert (after.returncode, after.stderr) == (0, "")
    assert ready.installs() == 2


def test_two_set_ups_at_once_install_once(copy: Copy) -> None:
    calls = [
        subprocess.Popen(
            copy.command("run_all.sh"),
            env=copy.variables(UV_DOES="slowly"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert [call.wait(60) for call in calls] == [0, 0, 0]
    assert copy.installs() == 1


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="needs pip")
def test_small_packages_are_added_on_top_of_a_python_that_has_torch(copy: Copy, tmp_path: Path) -> None:
    copy.require({"torch": "1.0", "small-thing": "1.0"}, {})
    (copy.root / "constraints.txt").write_text("torch==9000.0\nsmall-thing==1.0\n", encoding="utf-8")
    information = "small_thing-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "small_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: small-thing\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    done = copy.run("run_all.sh", PIP_NO_INDEX="1", PIP_FIND_LINKS=tmp_path.as_uri(), PIP_USER="1")
    assert done.returncode == 0, done.stderr
    assert str(copy.venv) in done.stdout
    own = {path.name for path in copy.venv.glob("lib/python3*/site-packages/*")}
    assert information in own
    assert not any(name.startswith("torch") for name in own)


def test_a_named_interpreter_is_not_served_from_another_ones_venv(ready: Copy) -> None:
    stamp = ready.venv / "set-up.done"
    _, pins = stamp.read_text(encoding="utf-8").split("\n", 1)
    stamp.write_text(f"Python 3.99.0 in /elsewhere\n{pins}", encoding="utf-8")
    assert ready.run("run_all.sh").stderr == ""
    assert "Set up in" in ready.run("run_all.sh", PYTHON="bin/python3").stderr
    assert ready.run("run_all.sh", PYTHON=str(ready.python)).stderr == ""


def test_another_interpreter_gets_an_environment_beside_and_the_first_one_stays(ready: Copy) -> None:
    first = ready.venv.resolve()
    before = files(first)
    done = ready.run("run_all.sh", "--help", PYTHON=ready.other_python())
    second = ready.venv.resolve()
    assert done.stdout == f"{second} ['--help']\n"
    assert first != second
    assert {first.parent, second.parent} == {ready.environments}
    assert "beside the present one" in done.stderr
    assert f"rm -rf {shlex.quote(str(first))}".replace("'", "") in done.stderr.replace("\\", "")
    assert files(first) == before
    again = ready.run("run_all.sh", PYTHON=str(ready.python))  # kept, and hence not built anew
    assert (again.stdout, again.stderr) == (ready.said, "")
    named = ready.run("run_all.sh", PYTHON=str(first / "bin" / "python"))
    assert (named.stdout, named.stderr) == (ready.said, "")
    assert ready.installs() == 2


def test_a_suite_keeps_the_environment_that_it_runs_from(ready: Copy) -> None:
    (late,) = ready.venv.glob("lib/python3*/site-packages")
    (late / "late.py").write_text("word = 'found'\n", encoding="utf-8")
    main = ready.root / "plain_vs_residual" / "__main__.py"
    kept = main.read_text(encoding="utf-8")
    main.write_text("print(flush=True); input(); import late; print(late.word)\n", encoding="utf-8")
    suite = subprocess.Popen(
        ready.command("run_all.sh"),
        env=ready.variables(PATH=f"{ready.venv / 'bin'}:{ready.bin}"),  # by way of the link, which is swapped
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert suite.stdout is not None
    suite.stdout.readline()
    main.write_text(kept, encoding="utf-8")
    ready.require({"torch": "9001.0"}, {})
    assert "Set up in" in ready.run("run_all.sh", PYTHON=ready.other_python()).stderr
    assert suite.communicate("go on\n", timeout=30) == ("found\n", None)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_leaves_the_old_one_and_nothing_of_the_new_one(ready: Copy, end: int) -> None:
    call = ready.start(PYTHON=ready.other_python(), UV_DOES="wait")
    wait_until(lambda: ready.installs() == 2)
    os.killpg(call.pid, end)
    output, error = call.communicate(timeout=30)
    assert (call.returncode, output) == (130, "")
    assert error.endswith("set-up interrupted; the next call starts it anew\n")
    assert [path for path in ready.environments.iterdir() if path.is_dir()] == [ready.venv.resolve()]
    after = ready.run("run_all.sh")
    assert (after.stdout, after.stderr) == (ready.said, "")


@pytest.mark.parametrize("accident", ["fail", "die"])
def test_a_set_up_that_fails_leaves_the_old_one_and_the_next_one_tidies_up(ready: Copy, accident: str) -> None:
    other = ready.other_python()
    assert ready.run("run_all.sh", PYTHON=other, UV_DOES=accident).returncode in {2, -9}
    after = ready.run("run_all.sh")
    assert (after.stdout, after.stderr) == (ready.said, "")
    assert ready.run("run_all.sh", PYTHON=other).returncode == 0
    assert len([path for path in ready.environments.iterdir() if path.is_dir()]) == 2


def test_tools_cut_short_leave_the_environment_to_suites(ready: Copy) -> None:
    assert ready.run("run_tests.sh", UV_DOES="die").returncode == -9
    after = ready.run("run_all.sh")
    assert (after.stdout, after.stderr) == (ready.said, "")
    assert "Adding the test tools" in ready.run("run_tests.sh").stderr
    assert ready.run("run_all.sh").stdout == ready.said


def test_a_folder_that_an_earlier_version_made_goes_on_serving(ready: Copy) -> None:
    ready.make_as_before()
    done = ready.run("run_all.sh")
    assert (done.stdout, done.stderr) == (f"{ready.venv} ['train']\n", "")
    assert "Adding the test tools" in ready.run("run_tests.sh").stderr
    assert ready.run("run_all.sh").stdout == done.stdout
    assert ready.installs() == 2


def test_a_folder_that_an_earlier_version_made_is_left_and_what_removes_it_is_said(ready: Copy) -> None:
    ready.make_as_before()
    before = files(ready.venv)
    ready.require({"torch": "9001.0"}, {})
    done = ready.run("run_all.sh")
    assert (done.returncode, files(ready.venv)) == (0, before)
    second = ready.run("run_all.sh")
    assert (second.stdout, second.stderr) == (done.stdout, "")
    (remedy,) = re.findall(r"when nothing does: (.*)", done.stderr)
    subprocess.run([BASH, "-c", remedy], cwd=ready.root, check=True)
    assert ready.venv.resolve().parent == ready.environments
    third = ready.run("run_all.sh")
    assert (third.stdout, third.stderr) == (done.stdout, "")


def test_activating_venv_names_the_environment_and_not_the_link(ready: Copy) -> None:
    activation = f'source {shlex.quote(str(ready.venv / "bin" / "activate"))}; echo "$VIRTUAL_ENV"'
    done = subprocess.run([BASH, "-c", activation], capture_output=True, text=True, check=True)
    assert done.stdout == f"{ready.venv.resolve()}\n"


def test_the_link_and_the_environments_are_no_part_of_the_repository() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")
    names = [".venv", ".venvs/3.12.1"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == names


def test_a_venv_made_by_somebody_else_is_left_alone(copy: Copy) -> None:
    copy.venv.mkdir()
    (copy.venv / "pyvenv.cfg").touch()
    assert_one_line_and_2(copy.run("run_all.sh"), names="not made here")
    assert [path.name for path in copy.venv.iterdir()] == ["pyvenv.cfg"]


def test_a_wrong_interpreter_is_named(copy: Copy) -> None:
    assert_one_line_and_2(copy.run("run_all.sh", PYTHON="/nowhere/python3"), names="/nowhere/python3")
    assert_one_line_and_2(copy.run("run_all.sh", PYTHON="cat"), names="does not run as a Python")


def test_an_old_python_is_named(copy: Copy) -> None:
    old = '[[ $1 == -c && $2 == *print* ]] && echo 3.9 && exit 0\necho "Traceback" >&2\nexit 1\n'
    program(copy.python, f"#!{BASH}\n{old}")
    assert_one_line_and_2(copy.run("run_all.sh"), names=r"is Python 3\.9; name Python 3\.11 or newer")


def test_no_python_at_all(copy: Copy) -> None:
    copy.python.unlink()
    assert_one_line_and_2(copy.run("run_all.sh"), names=r"no python3 .* PYTHON=")


def test_no_way_to_install(copy: Copy) -> None:
    (copy.bin / "uv").unlink()
    # ensurepip may work where these tests run, so it is disabled as well.
    text = BARE_PYTHON.replace('exec "', 'if [[ $* == "-m venv"* ]]; then exit 1; fi\nexec "')
    program(copy.python, text)
    assert_one_line_and_2(copy.run("run_all.sh"), names=r"makes no \.venv.*python3-venv")


@pytest.mark.parametrize("obstacle", ["file", "read-only"])
def test_a_repository_that_cannot_be_written(copy: Copy, obstacle: str) -> None:
    if obstacle == "file":
        copy.venv.touch()
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    else:
        copy.root.chmod(0o555)
    assert_one_line_and_2(copy.run("run_all.sh"), names="cannot write to")
    copy.root.chmod(0o755)


def test_run_tests_goes_on_after_a_failure_and_names_it(copy: Copy) -> None:
    copy.require({"torch": "1.0"}, {"pytest": "1.0"})
    done = copy.run("run_tests.sh", "-k", "a b", MYPY_STATUS="1")
    assert done.returncode == 1
    assert "-m pytest -k a b" in done.stdout
    assert done.stderr == "run_tests.sh: failed: mypy\n"
    assert copy.run("run_tests.sh").returncode == 0


def test_scripts_are_checked_where_shellcheck_is_and_left_out_by_a_line_where_it_is_not(copy: Copy) -> None:
    copy.require({"torch": "1.0"}, {"pytest": "1.0"})
    without = copy.run("run_tests.sh")
    assert without.returncode == 0
    assert f"== shellcheck\nleft out: there is no {copy.bin}/shellcheck\n" in without.stdout
    program(copy.bin / "shellcheck", f'#!{BASH}\necho "checked $*"; exit "${{STATUS:-0}}"\n')
    assert "checked .ci/run ./environment.sh ./run_all.sh ./run_tests.sh " in copy.run("run_tests.sh").stdout
    failed = copy.run("run_tests.sh", "--only", "shellcheck", STATUS="1")
    assert (failed.returncode, failed.stderr) == (1, "run_tests.sh: failed: shellcheck\n")
    assert "ruff" not in failed.stdout
