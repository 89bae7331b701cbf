"""CUDA code paths without a CUDA device: nothing on the wrong device, no needless wait, no operation too many.

Each test starts a process of its own, in which torch believes in a device (``tests/pretended_cuda``).
"""

import fcntl
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from plain_vs_residual.architecture import Architecture
from plain_vs_residual.records.files import REPOSITORY, RunFolder
from tests.made_up_records import read_json
from tests.pretended_cuda import CANNOT_PRETEND, PROVEN_WITH
from tests.test_resume import assert_equal_runs

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

ENLARGED = {"stem": "7x7", "enlarge_to": 224, "crop_padding": 0}  # as in experiments/resnet50_study.py
CIFAR = ("cifar-plain8", "cifar-residual8-A", "cifar-residual8-B", "cifar-residual8-C")
IMAGENET = ("plain18", "residual18-A", "residual18-B", "residual18-C")
BOTTLENECKS = ("plain50", "residual50-A", "residual50-B-1x1", "residual50-C")


def answered(job: str, wanted: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Have a process that believes in a CUDA device do something, and return its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pretended_cuda", job],
        input=json.dumps(wanted),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode == CANNOT_PRETEND:
        reason = done.stdout.strip()
        # With another torch, headers and hooks may be others; with this one, the guard is known to compile.
        assert not importlib.metadata.version("torch").startswith(PROVEN_WITH), reason
        pytest.skip(reason)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def answered_once(job: str, wanted: dict[str, dict[str, Any]], folders: pytest.TempPathFactory) -> dict[str, Any]:
    """Have that done by the first of pytest's processes; the others wait for its answer and share it."""
    folder = folders.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / f"pretended-{job}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / f"pretended-{job}.json"
        if not path.exists():
            path.write_text(json.dumps(answered(job, wanted)))
        answer: dict[str, Any] = json.loads(path.read_text())
    assert answer.keys() == wanted.keys()
    return answer


# ---- steps and evaluations without numbers ----------------------------------------------------------------


def assert_nothing_is_wrong(seen: dict[str, Any]) -> None:
    """What the digest weighs pixels with is made on the CPU, once for each size of a batch; nothing else is."""
    assert seen["step"]["waits"] == seen["first"]["waits"] == {}
    assert seen["step"]["faults"] == []
    assert [fault for fault in seen["first"]["faults"] if not fault.endswith("Checksum.__call__")] == []
    if "evaluation in 1" in seen:
        one, two = seen["evaluation in 1"], seen["evaluation in 2"]
        assert two["operations"] > one["operations"]
        assert two["waits"] == one["waits"] != {}  # it reads what it counted, once
        assert sorted(two["faults"]) == sorted(one["faults"])  # which images, once; and the digest's weights


def every_network() -> dict[str, dict[str, Any]]:
    """Return every kind, family, block, option and precision, the latter with small networks."""
    narrow = {"stem_width": 8}
    wanted: dict[str, dict[str, Any]] = {
        f"{network} {precision}": {"network": network, "precision": precision}
        for network, precision in product(CIFAR, ("bf16", "fp32", "tf32", "fp16"))
    }
    for network in CIFAR:
        wanted[f"{network} bf16"]["evaluations"] = (1, 2)
    for network in (*IMAGENET, *BOTTLENECKS):
        wanted[network] = {"network": network, "changes": narrow}
    wanted["fp16 evaluated"] = {"network": "residual18-B", "precision": "fp16", "evaluations": (1, 2)}
    enlarged = {"changes": ENLARGED | narrow}
    wanted["plain50 enlarged"] = {"network": "plain50", **enlarged}
    wanted["residual50-B enlarged"] = {"network": "residual50-B", **enlarged, "evaluations": (1, 2)}
    wanted["imagenet"] = {"network": "residual18-A", "setting": "imagenet", "changes": narrow}
    return wanted


# Operations that start something on the device, in a step of the setting cifar10 in bf16. Fewer are welcome: lower
# the ceiling then. How many nodes of a graph they make is an estimate.
CEILINGS = {"cifar-residual110-A": 821, "cifar-plain110": 705, "residual34-A": 293}


STEP_BUGS = {
    "tensor_on_the_cpu": "arange on cpu: Stepper.take > ResidentFeed.batch > crop_and_flip",
    "indices_on_the_cpu": "_to_copy on cpu: Stepper.take > ResidentFeed.batch",
    "item_in_the_step": "_local_scalar_dense: Stepper.take > Trainer.step",
    "totals_on_the_cpu": "on cpu: Stepper.take > Trainer.step > Trainer._pass > Totals.add",
    "gradient_of_another_stride": "weight (16, 3, 3, 3) has strides",
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Watch every step that is needed below."""
    wanted = every_network() | {network: {"network": network} for network in CEILINGS}
    small = {"network": "cifar-plain8"}
    wanted |= {bug: {**small, "bug": bug} for bug in STEP_BUGS}
    wanted["item_in_an_evaluation"] = {**small, "bug": "item_in_an_evaluation", "evaluations": (1, 2)}
    return answered_once("steps", wanted, tmp_path_factory)


@pytest.mark.parametrize("name", every_network())
def test_a_network_steps_and_is_evaluated_on_the_device_alone(name: str, steps: dict[str, Any]) -> None:
    """No CPU tensor, no wait, equal strides."""
    assert_nothing_is_wrong(steps[name])


@pytest.mark.parametrize("network", CEILINGS)
def test_a_step_has_no_operation_too_many(network: str, steps: dict[str, Any]) -> None:
    assert_nothing_is_wrong(steps[network])
    step = steps[network]["step"]
    by_name = sorted(step["by_name"].items(), key=lambda entry: -entry[1])
    print(f"{network}: {step['operations']} operations a step, about {step['nodes']} nodes of a graph; {by_name}")
    assert step["by_name"]["convolution_backward"] == Architecture.parse(network).depth - 1  # all of it was seen
    assert step["operations"] <= CEILINGS[network], by_name


@pytest.mark.parametrize("bug", STEP_BUGS)
def test_a_planted_bug_is_seen_in_a_step_without_numbers(bug: str, steps: dict[str, Any]) -> None:
    step = steps[bug]["step"]
    assert [line for line in (*step["faults"], *step["waits"]) if STEP_BUGS[bug] in line]
    with pytest.raises(AssertionError):
        assert_nothing_is_wrong(steps[bug])


def test_a_wait_in_every_batch_of_an_evaluation_is_seen(steps: dict[str, Any]) -> None:
    seen = steps["item_in_an_evaluation"]
    assert seen["step"]["waits"] == {}
    with pytest.raises(AssertionError, match="item: evaluate"):
        assert_nothing_is_wrong(seen)


# ---- whole runs with numbers ------------------------------------------------------------------------------

# Where a run may wait for the device: by the part of train() and the function that waits. At its start and end and
# for a checkpoint, these functions may wait as often as they like.
BORDERS = {
    "Session.open": {
        *("on_device", "ResidentFeed.__init__", "LoaderFeed.__init__", "Trainer.restore", "Totals.restore"),
        "make_optimizer",  # SGD asks whether its rate is negative
        *("multiply_adds", "hashes_of"),
        *(
            "Network.forward",
            "ResidualBlock.forward",
            "PlainBlock.residual_function",
        ),  # BN that averages all batches
        *("_Sums.add", "_Block._note_output", "ResidentFeed.evaluation_batches"),
        *("ConsumptionDigest.evaluated", "Checksum.__call__", "PixelChain.state"),
    },
    "record_outcome": {
        *("", "_final_record", "_Sums.add", "_Block._note_output", "ResidentFeed.evaluation_batches"),
        # As at the beginning, BN that averages all batches.
        *("Network.forward", "ResidualBlock.forward", "PlainBlock.residual_function"),
        *("ConsumptionDigest.evaluated", "Checksum.__call__", "PixelChain.state", "Totals.counts", "Totals.read"),
        *("Network.forward", "ResidualBlock.forward", "PlainBlock.residual_function"),  # likewise
    },
    "Session.save_and_stop": {"save_checkpoint", "PixelChain.state", "Trainer.state"},
    "Session.save_between_evaluations": {"save_checkpoint", "PixelChain.state", "Trainer.state"},
    "Session.evaluate_and_save": {"save_checkpoint", "Trainer.state"},
}


def between(evaluations: int, points: int, sessions: int = 1, stops: int = 0, **others: int) -> dict[str, int]:
    """Say how often a run may wait between its start and its end, at the most; fewer waits are welcome.

    Args:
        evaluations: how many there are.
        points: of the training curve, evaluations included.
        sessions: how often training began or went on.
        stops: how often it was stopped between two evaluations.
        others: waits of this run, by the function that waits.
    """
    taking, evaluating = "Session.take_step ... ", "Session.evaluate_and_save ... "
    return {
        "Session.inputs_until ... ResidentFeed.inputs": 3 * (evaluations + stops),  # indices, crops and flips
        taking + "Totals.counts": points,
        taking + "Checksum.__call__": 2 * sessions,  # weights for pixels and for labels, at the first step
        evaluating + "ResidentFeed.evaluation_batches": 2 * evaluations,  # which images, for each of two parts
        evaluating + "Checksum.__call__": 4 * sessions,  # weights, at the first evaluation of each part
        evaluating + "Totals.counts": 2 * evaluations,
        evaluating + "Totals.read": 2 * evaluations,
        evaluating + "PixelChain.state": 4 * evaluations,  # of each part, for the row and for the checkpoint
        **others,
    }


def assert_waits_are_at_most(allowed: dict[str, int], found: dict[str, int]) -> None:
    assert found["Session.take_step ... Totals.counts"] > 0  # the watch sees what is there
    for place, number in found.items():
        phase, _, function = place.partition(" ... ")
        if function not in BORDERS.get(phase, ()):
            assert number <= allowed.get(place, 0), f"{place} waits {number} times"


RUN_BUGS = {
    "tensor_on_the_cpu": "expected all tensors to be on the same device",
    "totals_on_the_cpu": "expected all tensors to be on the same device",
    "gradient_of_another_stride": "has strides",
    "indices_on_the_cpu": "ResidentFeed.batch waits",
    "item_in_the_step": "Trainer.step waits",
    "item_in_an_evaluation": "Session.evaluate_and_save ... evaluate waits",
    "item_in_the_step graph": "not permitted when stream is capturing",
    "counter_in_python": "",
    "counter_in_python graph": "",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Train every run that is needed below."""
    folder = tmp_path_factory.mktemp("pretended")
    small, paired = {"network": "cifar-residual8-A"}, {"network": "cifar-plain8", "leader": "cifar-residual8-B"}
    plateau = {"schedule": "plateau", "learning_rate": 0.5, "evaluations": 12, "split": "45k/5k", "enlarge_to": 12}
    probed = {"changes": {"probe_iterations": 3}}
    loaded = {"network": "residual18-B", "decoded": True}
    stopped = {"execution": "graph", "stop_after": 6}
    wanted: dict[str, dict[str, Any]] = {
        "cpu": {**small, "device": "cpu"},
        "eager": small,
        "graph": {**small, **stopped},
        "bf16": {**small, "precision": "bf16"},
        "bf16 graph": {**small, "precision": "bf16", **stopped},
        "fp16": {**small, "precision": "fp16"},
        "fp16 stopped": {**small, "precision": "fp16", "stop_after": 6},
        "plateau cpu": {**paired, "changes": plateau, "device": "cpu"},
        "plateau": {**paired, "changes": plateau, **stopped},
        "probed cpu": {**small, **probed, "device": "cpu"},
        "probed": {**small, **probed, "checkpoint_seconds": 0.0, "stop_after": 2},
        "loaded cpu": {**loaded, "device": "cpu"},
        "loaded": {**loaded, **stopped, "stop_after": 4},
    }
    for name in RUN_BUGS:
        bug, _, execution = name.partition(" ")
        wanted[name] = {"network": "cifar-plain8", "bug": bug, "execution": execution or "eager"}
    for name, one in wanted.items():
        one["results"] = str(folder / name)
    return answered_once("runs", wanted, tmp_path_factory)


def folders(answer: dict[str, Any]) -> list[RunFolder]:
    return [RunFolder(Path(path)) for path in answer["folders"]]


def assert_equal_answers(first: dict[str, Any], second: dict[str, Any]) -> None:
    pairs = list(zip(folders(first), folders(second), strict=True))
    assert pairs
    for one, other in pairs:
        assert_equal_runs(one, other)


def test_a_run_on_the_device_equals_one_on_the_cpu(made: dict[str, Any]) -> None:
    """Eagerly; and recorded, stopped between two evaluations, resumed and recorded anew."""
    assert_equal_answers(made["cpu"], made["eager"])
    assert_equal_answers(made["eager"], made["graph"])
    assert_waits_are_at_most(between(evaluations=3, points=6), made["eager"]["waits"])
    assert_waits_are_at_most(between(3, 6, sessions=2, stops=1), made["graph"]["waits"])
    assert made["cpu"]["waits"] == {}


@pytest.mark.parametrize(("undisturbed", "stopped"), [("bf16", "bf16 graph"), ("fp16", "fp16 stopped")])
def test_half_precision_is_resumed_as_if_nothing_had_happened(
    made: dict[str, Any], undisturbed: str, stopped: str
) -> None:
    assert_equal_answers(made[undisturbed], made[stopped])
    assert_waits_are_at_most(between(3, 6), made[undisturbed]["waits"])
    assert_waits_are_at_most(between(3, 6, sessions=2, stops=1), made[stopped]["waits"])


def test_a_leader_on_a_plateau_is_followed_on_the_device(made: dict[str, Any]) -> None:
    """A tenth held out, images enlarged, both runs stopped and resumed."""
    assert_equal_answers(made["plateau cpu"], made["plateau"])
    leader, follower = (read_json(folder.final) for folder in folders(made["plateau"]))
    assert leader["learning_rates"] == follower["learning_rates"]
    assert leader["test_error"] is not None
    # Two runs, each of 12 evaluations, stopped at one.
    assert_waits_are_at_most(between(24, 24, sessions=4), made["plateau"]["waits"])


def test_probed_iterations_and_old_checkpoints_wait_and_change_nothing(made: dict[str, Any]) -> None:
    assert_equal_answers(made["probed cpu"], made["probed"])
    (first,), (second,) = folders(made["probed cpu"]), folders(made["probed"])
    assert first.first_iterations.read_bytes() == second.first_iterations.read_bytes()
    taking = "Session.take_step ... "
    probing = {taking + "_rms": 3 * 6, taking + "Stepper.take": 3, taking + "FirstIterations.row": 3}
    waits = made["probed"]["waits"]
    assert_waits_are_at_most(between(3, 6, sessions=2, stops=1, **probing), waits)
    assert waits["Session.save_between_evaluations ... save_checkpoint"] > 0


def test_images_that_are_decoded_on_the_way_arrive_without_a_wait_for_each_step(made: dict[str, Any]) -> None:
    assert_equal_answers(made["loaded cpu"], made["loaded"])
    assert_waits_are_at_most(between(2, 5, sessions=2, stops=1), made["loaded"]["waits"])


@pytest.mark.parametrize(
    "name", [name for name, message in RUN_BUGS.items() if "waits" not in message and message]
)
def test_a_planted_bug_ends_a_run(name: str, made: dict[str, Any]) -> None:
    assert RUN_BUGS[name] in made[name]["error"]


@pytest.mark.parametrize("name", [name for name, message in RUN_BUGS.items() if "waits" in message])
def test_a_planted_wait_is_one_that_a_run_may_not_make(name: str, made: dict[str, Any]) -> None:
    assert made[name]["error"] == ""
    with pytest.raises(AssertionError, match=RUN_BUGS[name]):
        assert_waits_are_at_most(between(3, 6), made[name]["waits"])


def test_a_step_that_a_recording_cannot_repeat_shows_in_the_records(made: dict[str, Any]) -> None:
    eager, graph = made["counter_in_python"], made["counter_in_python graph"]
    assert eager["error"] == graph["error"] == ""
    with pytest.raises(AssertionError, match="are different"):
        assert_equal_answers(eager, graph)
