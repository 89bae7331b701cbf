"""Experiments are checked when they are loaded: a wrong file is named and left out, and the others go on."""

import sys
from pathlib import Path

import pytest

from plain_vs_residual.cli.app import app, main
from plain_vs_residual.cli.options import chosen_experiments
from plain_vs_residual.experiment import EXPERIMENTS, KEYWORDS, load_experiments
from plain_vs_residual.records.recorded_runs import RecordedRuns
from plain_vs_residual.report.figures import FIGURES
from plain_vs_residual.settings import SETTINGS
from plain_vs_residual.vocabulary import columns, figures, final_columns, measurements
from tests.made_up_records import read_runs, write_results

PAGE = '''"""A page."""

from plain_vs_residual.experiment import Claim, Experiment, Study

EXPERIMENT = Experiment(
    title="My depths",
    paper="none",
    figures=("depth_curves",),
    networks={"fashion": ("plain18", "plain34"), "digits": ("plain18", "residual18-A")},
    studies={"digits": (Study(), Study("slow", {"learning_rate": 0.001}, networks=("plain18",)))},
    claims=(
        Claim("Deeper is worse", contrast={"plain34": 1, "plain18": -1}, above={"fashion": 2.0}),
        Claim("Slow is worse", contrast={"plain18@slow": 1, "plain18": -1}, above=0.5, settings=("digits",)),
    ),
    table=("costs",),
    code=("blocks.py:ResidualBlock.forward",),
    measurement="gradient_norms",
)
'''
# What is changed in the page, into what, and what the message then says.
WRONG = {
    "margin that is no number": (
        "above=0.5",
        'above=float("nan")',
        "weights and margins are finite numbers, not nan",
    ),
    "weight that is text": (
        '"plain18": -1}, above=0.5',
        '"plain18": "-1"}, above=0.5',
        "finite numbers, not '-1'",
    ),
    "weight of 0": (
        '"plain18": -1}, above=0.5',
        '"plain18": 0}, above=0.5',
        "a weight of 0 leaves its network out",
    ),
    "data of a study": (
        '"learning_rate": 0.001',
        '"data": "cifar10"',
        "data: the same in all studies of a setting",
    ),
    "seeds of a study": ('"learning_rate": 0.001', '"seeds": 5', "seeds: the same in all studies of a setting"),
    "figure": (
        '"depth_curves"',
        '"cifar_curve"',
        "'cifar_curve' is no figure (did you mean cifar_curves?); accepted",
    ),
    "no tuple of figures": (
        '("depth_curves",)',
        '("depth_curves")',
        "figures: ('depth_curves',) is needed, with a comma",
    ),
    "no tuple of networks": (
        '("plain18", "plain34")',
        '"plain18"',
        "fashion: ('plain18',) is needed, with a comma",
    ),
    "network": (
        '"plain34")',
        '"resnet34")',
        "unknown network 'resnet34' (did you mean residual34-A or residual34-B?)",
    ),
    "setting": (
        '{"fashion": (',
        '{"fashon": (',
        "'fashon' is no setting (did you mean fashion?); accepted are fashion",
    ),
    "setting of studies": (
        'studies={"digits"',
        'studies={"digts"',
        "'digts' is no setting (did you mean digits?)",
    ),
    "setting on request": (
        "table=",
        'on_request=("digit",), table=',
        "'digit' is no setting (did you mean digits?)",
    ),
    "setting of a margin": (
        '{"fashion": 2.0}',
        '{"fashion": 2.0, "mnist": 1.0}',
        "'mnist' is no setting; accepted",
    ),
    "no margin": ('{"fashion": 2.0}', '{"digits": 2.0}', "no margin for setting fashion, only for digits"),
    "setting of a claim": (
        'settings=("digits",)',
        'settings=("cifar10",)',
        "claim 'Slow is worse': 'cifar10' is no setting of the experiment; accepted are fashion, digits",
    ),
    "setting that cannot decide": (
        "above=0.5",
        'above=0.5, undecidable={"fashon": "too small"}',
        "'fashon' is no setting (did you mean fashion?)",
    ),
    "no networks": (
        '("plain18", "plain34")',
        "()",
        "networks: at least one setting is needed, and networks in each",
    ),
    "network of a claim": (
        '{"plain34": 1, "plain18": -1}',
        '{"cifar-plain32": 1, "plain18": -1}',
        "claim 'Deeper is worse': 'cifar-plain32' is no run of fashion; accepted are plain18, plain34",
    ),
    "network of a claim in its setting": (
        'settings=("digits",)',
        'settings=("digits", "fashion")',
        "claim 'Slow is worse': 'plain18@slow' is no run of fashion",
    ),
    "study of a claim": (
        "plain18@slow",
        "plain18@slwo",
        "'plain18@slwo' is no run of digits (did you mean plain18@slow",
    ),
    "network twice": (
        '"plain34": 1, "plain18"',
        '"residual18": 1, "residual18-A"',
        "needs networks, each of them once",
    ),
    "empty contrast": ('{"plain34": 1, "plain18": -1}', "{}", "its contrast needs networks, each of them once"),
    "column": (
        "above=0.5",
        'above=0.5, column="accuracy"',
        "'accuracy' is no column; accepted are running_training",
    ),
    "column of another measurement": ("above=0.5", 'above=0.5, column="rise"', "'rise' is no column"),
    "field of a study": ('"learning_rate"', '"learning_rat"', "a setting has no field 'learning_rat'"),
    "value of a study": ("0.001", "-1.0", "learning_rate cannot be -1.0"),
    "network of a study": ('networks=("plain18",)', 'networks=("plain34",)', "'plain34' is no network of digits"),
    "leader": (
        '{"learning_rate": 0.001}',
        '{"learning_rate": 0.001}, leader="plain50"',
        "'plain50' is no network of study 'slow'; accepted are plain18",
    ),
    "name of two studies": (
        "Study()",
        'Study("slow")',
        "studies of digits: each needs a name of its own",
    ),
    "name that is no folder's": (
        '"slow", {',
        '"lr/10", {',
        "study 'lr/10': accepted are letters, digits, and . _ + - in a name",
    ),
    "no tuple of studies": (
        '(Study(), Study("slow", {"learning_rate": 0.001}, networks=("plain18",)))',
        'Study("slow")',
        "digits: (Study(name='slow'",
    ),
    "measurement": (
        '"gradient_norms"',
        '"gradient_norm"',
        "no measurement (did you mean gradient_norms?); accepted",
    ),
    "table": (
        '"costs"',
        '"cost"',
        "'cost' is no column of a table (did you mean costs?); accepted are responses, costs",
    ),
    "module": ("blocks.py", "block.py", "code 'block.py:ResidualBlock.forward': there is no "),
    "line of code": (
        "ResidualBlock",
        "ResidualBlok",
        "'ResidualBlok' is no class or function of blocks.py (did you mean",
    ),
    "paper's network": ("code=", 'paper_errors={"plain-34": 1.0}, code=', "(did you mean plain34?)"),
    "keyword": ("above=0.5", "abvoe=0.5", "unexpected keyword argument 'abvoe'"),
    "import": ("import Claim", "import Cliam", "cannot import name 'Cliam'"),
    "syntax": ("figures=(", "figures=((", "was never closed"),
    "nothing": ("EXPERIMENT =", "EXPERIMENTS =", "declares no EXPERIMENT = Experiment(...)"),
    "error": ("EXPERIMENT =", "1 / 0\nEXPERIMENT =", "ZeroDivisionError: division by zero"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two right experiments, and an empty results folder beside it."""
    (tmp_path / "experiments").mkdir()
    for name in ("first", "last"):
        (tmp_path / "experiments" / f"{name}.py").write_text(PAGE)
    return tmp_path / "experiments"


def test_what_is_right_is_loaded_without_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(load_experiments(folder)) == ["first", "last"]
    assert list(load_experiments()) == [one.name for one in chosen_experiments(None)]
    assert len(load_experiments()) == len(list(EXPERIMENTS.glob("*.py")))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("old", "new", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_experiment_is_named_and_left_out_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in PAGE
    wrong = folder / "my_depths.py"
    wrong.write_text(PAGE.replace(old, new))
    assert list(load_experiments(folder)) == ["first", "last"]
    assert list(load_experiments(folder)) == ["first", "last"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"note: {wrong}: ")
    assert err.endswith("; this file is left out\n")
    assert err.count("\n") == 1  # said once, however often experiments are loaded
    assert words in err
    with pytest.raises(ValueError, match=r"my_depths\.py: "):
        chosen_experiments(["my_depths"], folder)
    assert [one.name for one in chosen_experiments(["last"], folder)] == ["last"]


def test_naming_a_wrong_experiment_is_an_error_before_anything_is_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "my_depths.py").write_text(PAGE.replace("depth_curves", "depth_curve"))
    monkeypatch.setattr(chosen_experiments, "__defaults__", (folder,))
    results = tmp_path / "results"
    monkeypatch.setattr(sys, "argv", ["plain_vs_residual", "train", "my_depths", "--results", str(results)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    line = f"error: {folder / 'my_depths.py'}: 'depth_curve' is no figure (did you mean depth_curves?)"
    assert capsys.readouterr().err.startswith(line)
    assert not results.exists()


@pytest.mark.parametrize("name", ["seminar", "list", "describe"])
def test_a_file_named_as_a_word_of_the_command_line_is_left_out_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / f"{name}.py").write_text(PAGE)
    assert list(load_experiments(folder)) == ["first", "last"]
    assert f"{name}.py: its name is a word of the command line; give it another one" in capsys.readouterr().err


def test_the_seminar_can_be_named_beside_a_file_of_that_name(folder: Path) -> None:
    (folder / "seminar.py").write_text(PAGE)
    (folder / "why.py").write_text(PAGE.replace("table=", "seminar=True, table="))
    assert [one.name for one in chosen_experiments(["seminar"], folder)] == ["why"]


def test_every_command_is_a_word_that_no_experiment_can_have_as_its_name() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore
    assert commands == set(KEYWORDS) - {"seminar"}


def test_if_every_file_is_wrong_the_first_one_is_the_error(folder: Path) -> None:
    for path in folder.glob("*.py"):
        path.write_text("EXPERIMENT = 3")
    with pytest.raises(ValueError, match=r"first\.py: declares no EXPERIMENT"):
        load_experiments(folder)


def test_figures_and_measurements_that_may_be_named_are_those_that_there_are() -> None:
    assert set(figures()) == set(FIGURES)
    measured = {one.measurement for one in load_experiments().values()} - {""}
    assert set(measurements()) == measured


def test_every_column_of_a_finished_run_may_be_named_and_no_other(tmp_path: Path) -> None:
    write_results(tmp_path, [load_experiments()["fig4_depth"]], "digits", seeds=range(1))
    recorded: RecordedRuns = read_runs(tmp_path, "digits")
    numbers = set(recorded.finals.select_dtypes("number").columns) - {"seed"}
    sometimes = {"test_error", "ten_crop_error", "ten_crop_top5_error", "peak_memory_mib"}
    assert numbers - set(final_columns()) == set()
    assert set(final_columns()) - numbers <= sometimes
    assert columns("") == final_columns()


def test_every_claim_is_judged_in_a_setting_and_every_margin_is_there() -> None:
    for experiment in load_experiments().values():
        judged = [claim for setting in experiment.networks for claim in experiment.claims_in(setting)]
        assert set(map(id, judged)) == set(map(id, experiment.claims))
        for setting in experiment.networks:
            assert setting in SETTINGS
            assert all(
                isinstance(claim.margin_in(setting), int | float) for claim in experiment.claims_in(setting)
            )


def test_what_is_left_out_is_named_by_those_that_stay(folder: Path) -> None:
    assert {one.left_out for one in load_experiments(folder).values()} == {()}
    for name in ("wrong", "also_wrong"):
        (folder / f"{name}.py").write_text(PAGE.replace("depth_curves", "depth_curve"))
    for loaded in (load_experiments(folder).values(), chosen_experiments(["last"], folder)):
        assert {one.left_out for one in loaded} == {("also_wrong.py", "wrong.py")}
