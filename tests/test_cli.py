"""The command line: what it lists, and that every mistake gives one line on standard error and exit code 2."""

import re
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.cli import app as cli
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.executors import progress
from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.records.files import RunFolder, plots_folder
from plain_vs_residual.settings import SETTINGS
from tests.made_up_records import reseal, write_results, write_run

pytestmark = pytest.mark.usefixtures("undrawn_figures")
EXPERIMENTS = load_experiments()
FIG4, FIG6 = EXPERIMENTS["fig4_depth"], EXPERIMENTS["fig6_cifar_depth"]
REPOSITORY = Path(__file__).parent.parent

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Return a function that runs a command in this process and gives its exit code, output and error output."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plain_vs_residual", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    threads = torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def mistake(command: Command) -> Callable[..., str]:
    """Return a function that runs a command with a user's mistake, checks its failure and gives the message."""

    def run(*arguments: object) -> str:
        code, _, err = command(*arguments)
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture
def training(mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs ``train`` with a mistake, which must be found before anything is trained."""

    def never(*_: object) -> NoReturn:
        pytest.fail("trained in spite of the mistake")

    monkeypatch.setattr("plain_vs_residual.executors.suite.train_all", never)
    return lambda *arguments: mistake("train", "--results", tmp_path / "results", *arguments)


def test_list_shows_every_experiment_setting_and_family(command: Command) -> None:
    code, out, err = command("list")
    assert (code, err) == (0, "")
    for name, experiment in EXPERIMENTS.items():
        assert re.search(rf"^  {name} .*{re.escape(experiment.title)}", out, re.MULTILINE)
    for setting in SETTINGS:
        assert re.search(rf"^  {setting} ", out, re.MULTILINE)
    assert "residualD-A" in out
    assert "cifar-plainD" in out


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["list"]])
def test_help_and_list_import_no_torch(arguments: list[str]) -> None:
    program = f"""
import sys
from plain_vs_residual.cli.app import main
sys.argv = ["plain_vs_residual", *{arguments!r}]
try:
    main()
finally:
    print("torch:", "torch" in sys.modules, "pandas:", "pandas" in sys.modules)
"""
    python = [sys.executable, "-c", program]
    done = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("torch: False pandas: False\n")


def test_help_names_every_command_and_option(command: Command) -> None:
    _, out, _ = command("--help")
    for name in ("list", "train", "plot", "report", "verify"):
        assert re.search(rf"^ +{name} ", out, re.MULTILINE)
    _, out, _ = command("train", "--help")
    for option in (
        "--setting",
        "--data",
        "--seeds",
        "--device",
        "--precision",
        "--network",
        "--results",
        "--rerun",
    ):
        assert option in out


def test_no_command_shows_the_help(command: Command) -> None:
    assert command() == command("--help")


def test_python_m_reaches_the_command_line() -> None:
    python = [sys.executable, "-m", "plain_vs_residual", "train", "--setting", "mnist"]
    done = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: unknown setting 'mnist'; accepted are fashion, digits, .*\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--setting", "mnist"], "unknown setting 'mnist'; accepted are fashion, digits, cifar10"),
        (["fig5"], "unknown experiment 'fig5'; accepted are fig4_depth"),
        (["fig4"], "unknown experiment 'fig4' (did you mean fig4_depth?); accepted are fig4_depth"),
        (["semniar"], "unknown experiment 'semniar' (did you mean seminar?)"),
        (["--setting", "fashon"], "unknown setting 'fashon' (did you mean fashion?); accepted are fashion"),
        (["--network", "resnet34"], "unknown network 'resnet34' (did you mean residual34-A or residual34-B?)"),
        (["--network", "resnet56"], "unknown network 'resnet56' (did you mean cifar-residual56-A?)"),
        (["--network", "plain-34"], "unknown network 'plain-34' (did you mean plain34?)"),
        (["--network", "vgg16"], "unknown network 'vgg16'; accepted are plainD"),
        (["--network", "cifar-plain21"], "depth 21 is not 6n+2"),
        (["--network", "plain20"], "no depth 20 in this family"),
        (["--network", "plain18-A"], "no option A"),
        (
            ["--network", "cifar-residual110-B", "--setting", "digits"],
            "none of the chosen experiments compares it",
        ),
        (["--seeds", "0"], "--seeds 0: input should be greater than or equal to 1"),
        (["--seeds", "-3"], "--seeds -3"),
        (["--seeds", "1001"], "--seeds 1001: input should be less than or equal to 1000"),
        (["--seeds", "three"], "Invalid value for '--seeds'"),
        (["--first-seed", "-1"], "--first-seed -1: a whole number from 0 to 2147483648 is needed"),
        (["--iterations", "0"], "--iterations 0: input should be greater than or equal to 1"),
        (["--evaluations", "0"], "--evaluations 0: input should be greater than or equal to 1"),
        (["--jobs", "0"], "--jobs 0"),
        (["--split", "50/50"], "--split 50/50: input should be 'test' or '45k/5k'"),
        (["--precision", "fp8", "--setting", "digits"], "--precision fp8: accepted are bf16, fp32, tf32, fp16"),
        (["--precision", "tf32"], "--precision tf32: only CUDA devices have it, not cpu; use fp32 or bf16"),
        (
            ["--execution", "jit"],
            "--execution jit: accepted are eager, graph, fused+graph, compile, compile+graph, native",
        ),
        (["--execution", "graph"], "--execution graph: graphs need a CUDA device, not cpu; use eager or compile"),
        (["--device", "tpu"], "--device tpu: accepted are cpu, cuda, cuda:N and mps"),
        (["--device", "meta"], "--device meta: accepted are"),
        (["--epochs", "3"], "No such option"),
        (["--setting"], "requires an argument"),
        (
            ["fig6_cifar_depth", "--setting", "imagenet"],
            "fig6_cifar_depth: not for setting imagenet; accepted are",
        ),
        (["--setting", "imagenet"], "setting imagenet: no images; give --data FOLDER"),
        (["--setting", "digits", "--data", "/no/such/folder"], "--data /no/such/folder: no such folder"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_accepted(
    training: Callable[..., str], arguments: list[str], words: str
) -> None:
    assert words in training("--device", "cpu", *arguments)


def test_an_unknown_command_is_a_mistake(mistake: Callable[..., str]) -> None:
    assert "No such command 'tran'" in mistake("tran")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_a_device_says_why_and_what_to_do(training: Callable[..., str], device: str) -> None:
    line = training("--setting", "digits", "--device", device)
    assert f"--device {device}: torch {torch.__version__} cannot use it" in line
    assert "try --device cpu" in line


def test_a_result_folder_that_cannot_be_written_is_named(mistake: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for path in (file, file / "below"):
        line = mistake("train", "--setting", "digits", "--device", "cpu", "--results", path)
        assert f"--results {path}: cannot be written" in line


def test_records_do_not_go_where_figures_are_nor_figures_where_records_are(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    write_run(tmp_path / "results", "digits", "plain18", 0)
    (tmp_path / "pages/digits").mkdir(parents=True)
    (tmp_path / "pages/digits/report.html").touch()
    there = "figures and reports go there, not records"
    for folder, words in (
        ("plots", there),
        ("plots/digits", there),
        ("pages", there),
        ("pages/digits", there),
        ("results/digits", f"the folder of one setting; name the one of all settings, {tmp_path}/results"),
        ("results/digits/plain18-s0", f"the folder of one run; name the one of all settings, {tmp_path}/results"),
    ):
        line = mistake("train", "--setting", "digits", "--results", tmp_path / folder)
        assert f"--results {tmp_path / folder}: {words}" in line
    for results in ("results", "elsewhere"):
        options = ("--results", tmp_path / results, "--plots", tmp_path / "results")
        assert "records are there, not figures" in mistake("train", "--setting", "digits", *options)
    assert not (tmp_path / "plots").exists()


def test_an_address_is_no_folder(mistake: Callable[..., str]) -> None:
    line = mistake("train", "--setting", "digits", "--results", "s3://bucket/results")
    assert "an address, not a folder of this machine" in line


@pytest.mark.parametrize("name", ["plot", "report"])
def test_a_plots_folder_that_cannot_be_written_is_named(
    mistake: Callable[..., str], tmp_path: Path, name: str
) -> None:
    write_run(tmp_path / "results", "digits", "plain18", 0)
    file = tmp_path / "file"
    file.write_text("in the way")
    assert str(file) in mistake(name, "fig4_depth", "--results", tmp_path / "results", "--plots", file)


def test_a_report_on_the_seminar_shows_its_experiments_and_no_others(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    write_results(tmp_path / "results", [EXPERIMENTS[name] for name in ("fig4_depth", "gradient_norms")], "digits")
    code, _, err = command("report", "seminar", "--results", tmp_path / "results")
    assert code == 0, err
    text = (tmp_path / "plots/digits/report.md").read_text()
    assert EXPERIMENTS["gradient_norms"].title in text
    assert EXPERIMENTS["fig4_depth"].title not in text


@pytest.mark.parametrize("name", ["plot", "report", "verify"])
def test_without_records_the_way_to_get_some_is_named(
    mistake: Callable[..., str], tmp_path: Path, name: str
) -> None:
    assert "no such folder; train some runs first: bash run_all.sh" in mistake(name, "--results", tmp_path / "no")
    (tmp_path / "empty").mkdir()
    line = mistake(name, "--results", tmp_path / "empty")
    assert f"no runs in {tmp_path / 'empty'}; train some first: bash run_all.sh" in line
    write_run(tmp_path / "results", "digits", "plain18", 0)
    line = mistake(name, "--results", tmp_path / "results", "--setting", "imagenet")
    assert "no runs of setting 'imagenet'" in line


@pytest.mark.parametrize("name", ["plot", "report", "verify"])
def test_an_unknown_name_is_refused_by_every_command(
    mistake: Callable[..., str], tmp_path: Path, name: str
) -> None:
    write_run(tmp_path, "digits", "plain18", 0)
    assert "unknown experiment 'fig5'" in mistake(name, "fig5", "--results", tmp_path)
    assert "unknown setting 'mnist'" in mistake(name, "--setting", "mnist", "--results", tmp_path)


@pytest.mark.parametrize("name", ["plot", "report", "verify"])
def test_a_torn_record_is_named(mistake: Callable[..., str], tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path, "digits", "plain18", 0)
    folder.final.write_text('{"outcome":')
    assert str(folder.final) in mistake(name, "--results", tmp_path)


@pytest.fixture(params=["digits", "cifar10"])
def with_images(request: pytest.FixtureRequest, training: Callable[..., str], image_folder: Path) -> Any:
    """Return a function that trains on a folder of images and gives the error line, and the folder to damage."""
    return lambda: training("--setting", request.param, "--device", "cpu", "--data", image_folder), image_folder


def test_an_empty_data_folder_says_what_belongs_there(with_images: Any) -> None:
    train, folder = with_images
    shutil.rmtree(folder)
    folder.mkdir()
    assert f"--data {folder}: needs the folders train/ and val/ (or test/), one folder per class" in train()


def test_a_missing_validation_part_says_what_belongs_there(with_images: Any) -> None:
    train, folder = with_images
    shutil.rmtree(folder / "val")
    assert f"--data {folder}: needs the folders train/ and val/ (or test/)" in train()


def test_one_class_is_too_few(with_images: Any) -> None:
    train, folder = with_images
    for part in ("train", "val"):
        for name in ("bee", "cat"):
            shutil.rmtree(folder / part / name)
    assert f"{folder / 'train'} holds 1 class folders; at least 2 are needed" in train()


def test_a_class_without_images_is_named(with_images: Any) -> None:
    train, folder = with_images
    for path in (folder / "val" / "bee").iterdir():
        path.unlink()
    assert f"{folder / 'val' / 'bee'} holds no images" in train()


def test_classes_in_one_part_alone_are_named(with_images: Any) -> None:
    train, folder = with_images
    (folder / "val" / "cat").rename(folder / "val" / "dog")
    line = train()
    assert f"--data {folder}" in line
    assert "['cat', 'dog']" in line


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "torn"])
def test_an_unreadable_image_is_named(with_images: Any, content: bytes | None) -> None:
    train, folder = with_images
    image = folder / "train" / "bee" / "3.png"
    image.write_bytes(image.read_bytes()[:200] if content is None else content)
    assert f"unreadable image {image}" in train()


def test_cifar_10_that_cannot_be_downloaded_says_where_to_put_it(
    training: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> NoReturn:
        raise urllib.error.URLError("no network\nhere")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", unreachable)
    monkeypatch.setattr("plain_vs_residual.data.cifar.DEFAULT_FOLDER", tmp_path / "data")
    line = training("--setting", "cifar10", "--device", "cpu")
    assert f"CIFAR-10 is not in {tmp_path / 'data'} and could not be downloaded" in line
    assert "no network here" in line
    assert "cifar-10-python.tar.gz (md5 c58f30108f718f92721af3b95e74349a)" in line
    assert "bash run_all.sh --setting digits" in line


def test_a_torn_archive_of_cifar_10_is_a_mistake(
    training: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupted(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", corrupted)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half of it")
    line = training("--setting", "cifar10", "--device", "cpu", "--data", tmp_path)
    assert f"CIFAR-10 is not in {tmp_path}" in line
    assert "corrupted" in line


def test_stopping_is_no_failure_and_says_how_to_go_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("plain_vs_residual.executors.suite.train_all", stopped)
    code, _, err = command("train", "fig4_depth", "--setting", "digits", "--device", "cpu", "--results", tmp_path)
    assert code == 130
    assert err == "\nstopped; what was saved is kept: the same command goes on from there\n"


@pytest.mark.usefixtures("one_core")
def test_training_records_a_run_and_a_second_call_finds_it_finished(command: Command, tmp_path: Path) -> None:
    arguments = ["train", "fig6_cifar_depth", "--network", "cifar-plain20", "--setting", "digits", "--seeds", 1]
    arguments += ["--device", "cpu", "--precision", "fp32", "--jobs", 1, "--no-report"]
    arguments += ["--iterations", 2, "--evaluations", 1]
    code, out, err = command(*arguments, "--results", tmp_path / "results")
    assert (code, err) == (0, "")
    assert "1,437 training and 360 validation images" in out
    (run,) = (tmp_path / "results" / "digits").glob("cifar*")
    assert run.name == "cifar-plain20-2-iterations-s0"
    assert (run / "final.json").exists()
    assert f"{run.name}: training error" in out
    before = (run / "final.json").stat().st_mtime_ns
    code, out, _ = command(*arguments, "--results", tmp_path / "results")
    assert code == 0
    assert "1 of 1 runs are finished already" in out
    assert (run / "final.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_without_cuda_fashion_is_chosen_and_it_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plain_vs_residual.executors.suite.train_all", lambda *_: None)
    code, out, _ = command("train", "--device", "cpu", "--results", tmp_path / "results", "--no-report")
    assert code == 0
    assert out.startswith("setting fashion, because no CUDA device is used: ")


def test_plot_writes_beside_the_results_and_prints_every_file(command: Command, tmp_path: Path) -> None:
    write_results(tmp_path / "results", [FIG4], "digits", seeds=[0])
    code, out, err = command("plot", "fig4_depth", "--results", tmp_path / "results")
    assert (code, err) == (0, "")
    printed = [Path(line) for line in out.splitlines()]
    assert [path.name for path in printed] == [
        "fig4_depth.png",
        "fig4_depth-final_errors.png",
        "claims.png",
    ]
    assert all(path.exists() and path.parent == tmp_path / "plots" / "digits" for path in printed)


@pytest.mark.parametrize(
    ("results", "plots"),
    [("results", "plots"), ("results/reference", "plots/reference"), ("mine", "mine-plots")],
)
def test_plots_lie_beside_their_results(results: str, plots: str) -> None:
    assert plots_folder(Path("/somewhere") / results, None) == Path("/somewhere") / plots
    assert plots_folder(Path("/somewhere") / results, Path("/else")) == Path("/else")


def test_an_experiment_that_the_recorded_setting_does_not_run_is_refused(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    write_results(tmp_path / "results", [FIG4], "imagenet", seeds=[0])
    for name in ("plot", "report", "verify"):
        line = mistake(name, "fig6_cifar_depth", "--results", tmp_path / "results")
        assert "fig6_cifar_depth" in line
    assert not (tmp_path / "plots").exists()


def test_verify_passes_when_pairs_agree_and_fails_naming_what_differs(command: Command, tmp_path: Path) -> None:
    write_results(tmp_path, [FIG4], "digits", seeds=[0])
    code, out, _ = command("verify", "fig4_depth", "--results", tmp_path)
    assert code == 0
    assert re.search(r"^digits fig4_depth: all \d+ pairs agree", out)
    path = tmp_path / "digits" / "plain34-s0" / "run.json"
    path.write_text(path.read_text().replace('"batch_size": 32', '"batch_size": 64'))
    reseal(RunFolder(path.parent))
    code, out, _ = command("verify", "fig4_depth", "--results", tmp_path)
    assert code == 1
    assert re.search(r"plain18-s0 and plain34-s0: batch_size: (32 against 64|64 against 32)", out)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3_000, "50 min"),
        (5_400, "1 h 30 min"),
        (7_199, "2 h 0 min"),
        (7_200, "2 h 0 min"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations_are_for_people(seconds: float, words: str) -> None:
    assert progress.minutes(seconds) == words


def test_progress_without_a_terminal_is_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    console = Console(file=sys.stdout, soft_wrap=True)
    shown = progress.RunProgress(console, "1/2 plain18-s0", "(suite: 3 min left)", bar=True)
    for iteration in (100, 200, 250, 400):
        shown.advanced(iteration, 400)
        row = SimpleNamespace(iteration=iteration, training_error=100 / iteration, validation_error=float("nan"))
        shown.evaluated(row, 400)  # type: ignore[arg-type]
    shown.close()
    assert capsys.readouterr().out.splitlines() == [
        "1/2 plain18-s0 (suite: 3 min left)",
        "  iteration 200 of 400; error: training 0.50 %, validation nan %; 40 s left",
    ]


NETWORKS = st.one_of(
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["", "cifar-", "CIFAR-", " "]),
        st.sampled_from(["plain", "residual", "Plain"]),
        st.one_of(st.sampled_from([18, 34, 50, 101, 152, 20, 32, 56, 110, 1202]), st.integers(-10, 100_000)),
        st.sampled_from(["", "-A", "-B", "-C", "-D", "A"]),
        st.sampled_from(["", "-1x1", "\n", " "]),
    ),
    st.text(),
)


@given(NETWORKS)
@example("plain１８")
@example("plain1８")
@example("residual0018")
@example("residual18")
@example("residual50-1x1")
def test_any_text_is_a_network_whose_name_parses_back_or_a_value_error(text: str) -> None:
    try:
        network = Architecture.parse(text)
    except ValueError as error:
        message = str(error)
    else:
        assert Architecture.parse(network.name) == network
        assert network.name.startswith(text.removesuffix("-1x1"))
        return
    assert "accepted are" in message or "no option" in message


@given(
    st.sampled_from(["plain", "residual"]),
    st.integers(1, 1_700),
    st.sampled_from([None, "A", "B", "C"]),
    st.sampled_from(["imagenet", "cifar"]),
    st.booleans(),
)
def test_a_network_is_read_back_from_its_name(
    kind: Any, depth: int, option: Any, family: Any, stride_in_1x1: bool
) -> None:
    try:
        network = Architecture(kind, depth, option, family, stride_in_1x1)
    except ValueError:
        return
    assert Architecture.parse(network.name) == network
