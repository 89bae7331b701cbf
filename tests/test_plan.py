"""The plan needs neither torch nor images; the ledger knows the folders of runs; old records are read."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.arithmetic import Arithmetic, Execution
from plain_vs_residual.cli.app import main
from plain_vs_residual.cli.training import runs, train
from plain_vs_residual.evidence.differences import differences
from plain_vs_residual.experiment import Experiment, Study, load_experiments
from plain_vs_residual.ledger import Changed, Ledger
from plain_vs_residual.plan import Selection
from plain_vs_residual.records.atomic import write_json
from plain_vs_residual.records.files import REPOSITORY
from plain_vs_residual.records.models import Resumption, RunDescription
from plain_vs_residual.records.store import read_record, read_run, write_run
from plain_vs_residual.run import Job
from plain_vs_residual.settings import CIFAR10, DIGITS, SETTINGS, Setting
from tests.conftest import Silent
from tests.made_up_records import read_json, reseal
from tests.test_suite_and_verify import experiment_of

EXPERIMENTS = load_experiments()


def selected(*names: str, **changes: Any) -> Selection:
    return Selection(tuple(EXPERIMENTS[name] for name in names), DIGITS, changes.pop("seeds", range(1)), **changes)


def default_of(setting: str) -> tuple[Experiment, ...]:
    """Return the experiments that a setting trains without being named."""
    return tuple(
        one for one in EXPERIMENTS.values() if setting in one.networks and not one.waits_to_be_named(setting)
    )


def test_a_plan_needs_no_torch_no_images_and_no_folder(tmp_path: Path) -> None:
    program = f"""
import sys
sys.argv = ["x", "runs", "seminar", "--setting", "digits", "--results", {str(tmp_path / "none")!r}]
from plain_vs_residual.cli.app import main
main()
print(*sorted({{"torch", "numpy", "pandas", "matplotlib"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    *lines, loaded = done.stdout.split("\n")[:-1]
    assert loaded == ""
    assert "cifar-plain56-grown-s0 cifar-plain20-s0" in lines
    assert not (tmp_path / "none").exists()


def test_whoever_lists_runs_gives_the_options_of_whoever_trains_them() -> None:
    assert inspect.signature(runs) == inspect.signature(train)


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [
        ("--device", "tpu", "accepted are cpu, cuda, cuda:N and mps"),
        ("--precision", "fp8", "accepted are bf16, fp32, tf32, fp16"),
        ("--execution", "auto", "accepted are eager, graph, fused+graph, compile, compile+graph, native"),
        ("--jobs", "0", "a whole number from 1 to 256 is needed"),
        ("--jobs", "257", "a whole number from 1 to 256 is needed"),
        ("--devices-per-run", "0", "a whole number from 1 to 4096 is needed"),
    ],
)
@pytest.mark.parametrize("command", ["runs", "train"])
def test_what_no_machine_accepts_is_refused_when_runs_are_listed(
    command: str, option: str, value: str, accepted: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A scheduler would else hear of it once per job."""
    monkeypatch.setattr(sys, "argv", ["x", command, "--setting", "digits", option, value])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == f"error: {option} {value}: {accepted}\n"


def test_seeds_need_not_be_consecutive_and_come_in_their_order() -> None:
    planned = selected("fig4_depth", seeds=(7, 3)).plan()
    assert [run.seed for run in planned] == [7] * 4 + [3] * 4
    assert planned[0].name == "plain18-s7"


def test_the_networks_of_figures_4_and_1_are_trained_first() -> None:
    planned = [run.name for run in Selection(default_of("cifar10"), CIFAR10, range(2)).plan()]
    figure_4 = ["plain18-s0", "plain34-s0", "residual18-A-s0", "residual34-A-s0"]
    figure_1 = ["cifar-plain20-s0", "cifar-residual20-A-s0", "cifar-plain56-s0", "cifar-residual56-A-s0"]
    assert planned[:8] == figure_4 + figure_1
    assert planned[8] == "cifar-plain32-s0"
    half = len(planned) // 2
    assert [name.replace("-s1", "-s0") for name in planned[half:]] == planned[:half]


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_whatever_comes_first_comes_after_what_it_needs(name: str, setting: Setting) -> None:
    done: set[str] = set()
    experiment = EXPERIMENTS[name]
    runs = Selection((experiment,), setting, range(2)).plan()
    assert len(runs) == 2 * len(experiment.runs_in(setting.name))
    for run in runs:
        assert done.issuperset(run.needs)
        done.add(run.name)


def test_some_networks_and_some_runs() -> None:
    networks = frozenset({"plain18", "plain34"})
    planned = selected("fig4_depth", only_networks=networks, only_runs=frozenset({"plain34-s0"})).plan()
    assert [run.name for run in planned] == ["plain34-s0"]
    with pytest.raises(ValueError, match="run plain34-s1: no such run is planned"):
        selected("fig4_depth", only_runs=frozenset({"plain34-s1"})).plan()


def test_other_images_are_part_of_every_name_and_of_those_that_are_needed() -> None:
    planned = selected("construction", images_variant="letters").plan()
    grown = next(run for run in planned if run.grown_from and run.architecture.depth == 56)
    assert grown.name == "cifar-plain56-grown-letters-s0"
    assert grown.needs == ("cifar-plain20-letters-s0",)
    assert grown.needs[0] in [run.name for run in planned]


def test_a_trial_wins_over_what_a_study_changes() -> None:
    study = Study("longer", {"iterations": 900, "learning_rate": 0.5})
    experiment = experiment_of("plain18", studies={"digits": (study,)})
    (run,) = Selection((experiment,), DIGITS, range(1), trial={"iterations": 8}).plan()
    assert (run.setting.iterations, run.setting.learning_rate) == (8, 0.5)


def test_a_leader_lowers_its_own_rate_and_the_others_of_its_seed_replay_it() -> None:
    study = Study("led", {"schedule": "plateau"}, leader="residual18-A")
    experiment = experiment_of("plain18", "residual18-A", "plain34", studies={"digits": (Study(), study)})
    planned = {run.name: run for run in Selection((experiment,), DIGITS, (3, 4)).plan()}
    for seed in (3, 4):
        leader = planned[f"residual18-A-led-s{seed}"]
        assert (leader.setting.schedule, leader.leader, leader.needs) == ("plateau", "", ())
        for name in ("plain18", "plain34"):
            follower = planned[f"{name}-led-s{seed}"]
            assert (follower.setting.schedule, follower.leader) == ("replay", leader.name)
            assert planned[f"{name}-s{seed}"].setting.schedule == DIGITS.schedule


def test_a_run_that_is_probed_is_not_compiled_and_all_others_are(tmp_path: Path) -> None:
    study = Study("probed", {"probe_iterations": 2})
    experiment = experiment_of("plain18", "residual18-A", studies={"digits": (Study(), study)})
    planned = Selection((experiment,), DIGITS, range(1)).plan()
    arithmetic = Arithmetic(precision="bf16", execution=Execution.COMPILE_AND_GRAPH, threads=3)
    jobs = Ledger(tmp_path).jobs(planned, arithmetic)
    assert {(job.run.study, job.arithmetic.execution) for job in jobs} == {
        ("", Execution.COMPILE_AND_GRAPH),
        ("probed", Execution.GRAPH),
    }
    assert jobs[0].folder.path == tmp_path / "digits" / "plain18-s0"


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoint.previous.pt"])
def test_a_checkpoint_alone_is_of_unknown_origin_and_so_is_the_one_before_it(tmp_path: Path, name: str) -> None:
    study = Study("longer", leader="residual18-A")
    planned = Selection((experiment_of("residual18-A", "plain18", studies={"digits": (study,)}),), DIGITS, [0])
    jobs = Ledger(tmp_path).jobs(planned.plan(), Arithmetic(precision="fp32", threads=1))
    leader, follower = jobs
    assert follower.needs == [leader.folder]
    assert Ledger(tmp_path).check(jobs, described_by_nobody, rerun=False) == []
    for job, reason in ((follower, "residual18-A-longer-s0: trained anew"), (leader, "run.json: missing")):
        job.folder.path.mkdir(parents=True)
        (job.folder.path / name).touch()
        with pytest.raises(Changed, match=reason):
            Ledger(tmp_path).check(jobs, described_by_nobody, rerun=False)
    assert len(Ledger(tmp_path).check(jobs, described_by_nobody, rerun=True)) == 2


def described_by_nobody(job: Job) -> RunDescription:
    raise AssertionError(f"{job.name} has no record to be compared with")


# ---- what was recorded before arithmetic was one record ---------------------------------------------------


def as_version_1_wrote(record: dict[str, Any]) -> dict[str, Any]:
    """Put the arithmetic of ``run.json`` back to where it once stood."""

    def apart(values: dict[str, Any]) -> dict[str, Any]:
        arithmetic = values["arithmetic"]
        values = {name: value for name, value in values.items() if name != "arithmetic"}
        places = {name: arithmetic[name] for name in ("threads", "devices")}
        return values | {"environment": values["environment"] | places}

    chosen = {name: record["arithmetic"][name] for name in ("precision", "execution", "deterministic")}
    old = apart(record) | {"resumed": [apart(session) for session in record["resumed"]]}
    return old | {"configuration": record["configuration"] | chosen}


def test_a_record_of_version_1_is_read_checked_and_gone_on_from(make_suite: Any) -> None:
    suite = make_suite("plain18")
    (job,) = suite.plan()
    suite.train([job], Silent())
    now = read_run(job.folder)
    session = Resumption(iteration=4, started="then", environment=now.environment, arithmetic=now.arithmetic)
    write_run(job.folder, now.model_copy(update={"resumed": [session]}))
    reseal(job.folder)
    expected = read_record(job.folder).run
    write_json(job.folder.run, as_version_1_wrote(read_json(job.folder.run)))
    reseal(job.folder)
    assert "arithmetic" not in read_json(job.folder.run)
    read = read_record(job.folder).run
    assert read.model_copy(update={"checksum": ""}) == expected.model_copy(update={"checksum": ""})
    assert read.arithmetic == Arithmetic(precision="fp32", threads=1)
    assert suite.check([job], rerun=False) == []


def test_the_reference_records_are_still_read() -> None:
    folder = Ledger(REPOSITORY / "results" / "reference").results / "fashion"
    (path,) = folder.glob("plain18-s10")
    recorded = json.loads((path / "run.json").read_text())
    (job,) = Ledger(folder.parent).jobs(
        [run for run in selected_fashion() if run.name == "plain18-s10"], Arithmetic(precision="bf16", threads=1)
    )
    read = read_run(job.folder)
    assert read.arithmetic.precision == recorded["configuration"]["precision"]
    assert read.arithmetic.threads == recorded["environment"]["threads"]


def selected_fashion() -> Any:
    from plain_vs_residual.settings import FASHION

    return Selection((EXPERIMENTS["fig4_depth"],), FASHION, range(10, 11)).plan()


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("devices", 4, "devices: 1 against 4"), ("deterministic", True, "deterministic: False against True")],
)
def test_members_of_a_pair_that_were_computed_differently_are_named(
    make_suite: Any, field: str, value: Any, named: str
) -> None:
    suite = make_suite(experiments=(experiment_of("plain18", "residual18-A"),))
    first, second = suite.plan()
    suite.train([first, second], Silent())
    record = read_json(second.folder.run)
    write_json(second.folder.run, record | {"arithmetic": record["arithmetic"] | {field: value}})
    reseal(second.folder)
    assert named in list(differences(*(read_record(job.folder) for job in (first, second))))


def test_a_run_that_went_on_with_another_number_of_devices_is_named(make_suite: Any) -> None:
    suite = make_suite(experiments=(experiment_of("plain18", "residual18-A"),))
    first, second = suite.plan()
    suite.train([first, second], Silent())
    now = read_run(second.folder)
    elsewhere = now.arithmetic.model_copy(update={"devices": 2})
    session = Resumption(iteration=4, started="then", environment=now.environment, arithmetic=elsewhere)
    write_run(second.folder, now.model_copy(update={"resumed": [session]}))
    reseal(second.folder)
    found = list(differences(*(read_record(job.folder) for job in (first, second))))
    assert f"{second.name} went on from iteration 4 with devices 2, not 1" in found
