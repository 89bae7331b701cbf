"""Studies: the plateau schedule and its replay, input scaling, enlarged images, the first iterations."""

from typing import Any

import pandas as pd
import pytest
import torch

from plain_vs_residual.data.feeds import ResidentFeed
from plain_vs_residual.data.images import Images
from plain_vs_residual.evidence.pairing import verify
from plain_vs_residual.experiment import Claim, Experiment, Study
from plain_vs_residual.records.files import RunFolder
from plain_vs_residual.records.recorded_runs import load_recorded_runs
from plain_vs_residual.training.plateau import PATIENCE, Plateau
from tests.conftest import InterruptedAfter, Silent
from tests.made_up_records import read_json

CPU = torch.device("cpu")


def study_of(networks: tuple[str, ...], *studies: Study, claims: tuple[Claim, ...] = ()) -> Experiment:
    return Experiment(
        "Study", "none", ("final_errors",), {"digits": networks}, claims, {"digits": studies}, name="s"
    )


def train(suite: Any) -> list[RunFolder]:
    runs = suite.plan()
    suite.check(runs, rerun=False)
    suite.train(runs, Silent())
    return [run.folder for run in runs]


def test_the_rate_falls_after_ten_evaluations_without_progress() -> None:
    plateau = Plateau(0.01)
    rates = []
    for _ in range(PATIENCE + 3):
        rates.append(plateau(0))
        plateau.watch(1.0)
    assert rates == [0.01] * (PATIENCE + 2) + [pytest.approx(0.001)]


def test_a_plateau_divides_by_ten_after_more_than_ten_evaluations_without_progress() -> None:
    plateau = Plateau(0.01)
    losses = [1.0, 0.9, *[0.9] * 10, 0.8, *[0.8] * 11, 0.7]
    rates = []
    for loss in losses:
        plateau.watch(loss)
        rates.append(plateau(0))
    # Ten evaluations without progress are borne, eleven are not; progress begins the count anew.
    assert rates == [0.01] * 23 + [pytest.approx(0.001)] * 2


def test_a_plateau_goes_on_where_another_stopped() -> None:
    whole, first = Plateau(0.1), Plateau(0.1)
    losses = [3.0, 2.0, *[2.5] * 30]
    for loss in losses:
        whole.watch(loss)
    for loss in losses[:9]:
        first.watch(loss)
    resumed = Plateau(0.1)
    resumed.restore(first.state())
    for loss in losses[9:]:
        resumed.watch(loss)
    assert resumed.state() == whole.state()
    assert resumed(0) < 0.1


def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the plateau schedule act after every evaluation, so that three evaluations are enough for a drop."""
    monkeypatch.setattr("plain_vs_residual.training.plateau.PATIENCE", -1)


def test_the_leader_watches_itself_and_the_other_replays_it(
    make_suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch)
    study = Study("watch", {"schedule": "plateau", "learning_rate": 1e-4}, leader="residual18-A")
    claim = Claim("pair", {"plain18": 1, "residual18-A": -1}, above=0.0)
    suite = make_suite(experiments=(study_of(("plain18", "residual18-A"), study, claims=(claim,)),))
    folders = train(suite)
    assert [folder.path.name.split("-")[0] for folder in folders] == ["residual18", "plain18"]
    runs = [read_json(folder.run)["configuration"]["schedule"] for folder in folders]
    assert runs == ["plateau", "replay"]
    traces = [read_json(folder.final)["learning_rates"] for folder in folders]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 1
    (recorded,) = load_recorded_runs(suite.results, "digits")
    assert [check.differences for check in verify(recorded, suite.experiments[0])] == [()]


def test_a_plateau_watches_the_validation_loss(make_suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(Plateau, "watch", lambda _, loss: seen.append(loss))
    study = Study("watch", {"schedule": "plateau"}, leader="residual18-A")
    (folder,) = train(make_suite(experiments=(study_of(("residual18-A",), study),)))
    metrics = pd.read_csv(folder.metrics)
    assert seen == pytest.approx(metrics["validation_loss"].tolist(), rel=1e-6)
    assert seen != pytest.approx(metrics["training_loss"].tolist(), rel=1e-3)


def test_a_replay_without_its_leader_is_refused(make_suite: Any) -> None:
    study = Study("watch", {"schedule": "plateau"}, leader="residual18-A")
    suite = make_suite(experiments=(study_of(("plain18", "residual18-A"), study),), only=frozenset({"plain18"}))
    with pytest.raises(ValueError, match=r"replays the learning rates of residual18-A-watch.*not finished"):
        suite.train(suite.plan(), Silent())


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_plateau_run_resumes_exactly(
    make_suite: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    falling(monkeypatch)
    study = Study("watch", {"schedule": "plateau", "probe_iterations": 6}, leader="residual18-A")
    experiment = study_of(("residual18-A",), study)
    (undisturbed,) = train(make_suite(experiments=(experiment,), results=tmp_path / "a"))
    suite = make_suite(experiments=(experiment,), results=tmp_path / "b")

    with pytest.raises(KeyboardInterrupt):
        suite.train(suite.plan(), InterruptedAfter(stopped_after))
    (resumed,) = train(suite)
    finals = [read_json(folder.final) for folder in (undisturbed, resumed)]
    assert finals[0]["learning_rates"] == finals[1]["learning_rates"]
    assert finals[0]["training_loss"] == finals[1]["training_loss"]
    assert undisturbed.first_iterations.read_bytes() == resumed.first_iterations.read_bytes()
    assert pd.read_csv(resumed.first_iterations)["iteration"].tolist() == list(range(6))


def test_every_study_of_an_experiment_is_trained_and_compared(make_suite: Any) -> None:
    claim = Claim("rate", {"plain18@slow": 1, "plain18@fast": -1}, above=0.0)
    studies = (Study("slow", {"learning_rate": 1e-6}), Study("fast", {"learning_rate": 0.02}))
    suite = make_suite(experiments=(study_of(("plain18",), *studies, claims=(claim,)),))
    train(suite)
    (recorded,) = load_recorded_runs(suite.results, "digits")
    (check,) = verify(recorded, suite.experiments[0])
    assert check.differences == ()
    assert recorded.missing(suite.experiments[0]) == []


def test_held_out_images_leave_the_test_images_for_the_end(make_suite: Any) -> None:
    suite = make_suite(experiments=(study_of(("plain18",), Study("split", {"split": "45k/5k"})),))
    (folder,) = train(suite)
    run, final = read_json(folder.run), read_json(folder.final)
    assert (run["configuration"]["num_training"], run["configuration"]["num_validation"]) == (27, 3)
    assert final["confusion_on"] == "test"
    assert sum(map(sum, final["confusion"])) == 12
    wrong = 12 - sum(row[i] for i, row in enumerate(final["confusion"]))
    assert final["test_error"] == pytest.approx(100 * wrong / 12)


def test_the_confusion_matrix_agrees_with_the_validation_error(make_suite: Any) -> None:
    (folder,) = train(make_suite("plain18"))
    final = read_json(folder.final)
    right = sum(row[i] for i, row in enumerate(final["confusion"]))
    assert final["confusion_on"] == "validation"
    assert final["validation_error"] == pytest.approx(100 * (12 - right) / 12)


@pytest.mark.parametrize(
    ("pixels", "mean"), [("0..1", True), ("0..255", True), ("0..1", False), ("0..255", False)]
)
def test_input_scaling_is_what_its_name_says(
    tiny_setting: Any, tiny_dataset: Any, pixels: str, mean: bool
) -> None:
    setting = tiny_setting.with_changes({"pixel_range": pixels, "subtract_mean": mean})
    images, _ = next(iter(ResidentFeed(tiny_dataset, setting, 0, CPU).evaluation_batches("training")))
    assert isinstance(tiny_dataset.training, Images)
    raw = tiny_dataset.training.pixels.double()
    expected = (raw - raw.mean(dim=0) * mean) / (255 if pixels == "0..1" else 1)
    torch.testing.assert_close(images.double(), expected.permute(0, 3, 1, 2), atol=1e-4, rtol=1e-5)


def test_images_are_enlarged_on_the_device(tiny_setting: Any, tiny_dataset: Any) -> None:
    feed = ResidentFeed(tiny_dataset, tiny_setting.with_changes({"enlarge_to": 20}), 0, CPU)
    small = ResidentFeed(tiny_dataset, tiny_setting, 0, CPU)
    (images, _), (originals, _) = (one.batch(*next(one.inputs(0, 1))) for one in (feed, small))
    assert images.shape == (8, 1, 20, 20)
    wanted = torch.nn.functional.interpolate(originals, (20, 20), mode="bilinear")
    torch.testing.assert_close(images, wanted)
    assert feed.digest.state() == small.digest.state()


def test_bn_takes_the_scale_of_the_input_out_again(make_suite: Any) -> None:
    studies = tuple(
        Study(f"s{pixels}", {"pixel_range": pixels, "probe_iterations": 3}) for pixels in ("0..1", "0..255")
    )
    folders = train(make_suite(experiments=(study_of(("residual18-A",), *studies),)))
    unit, byte = (pd.read_csv(folder.first_iterations).iloc[0] for folder in folders)
    assert byte["input"] / unit["input"] == pytest.approx(255, rel=1e-4)
    assert byte["conv1"] / unit["conv1"] == pytest.approx(255, rel=1e-4)
    assert byte["bn1"] == pytest.approx(unit["bn1"], rel=0.01)
    assert byte["loss"] == pytest.approx(unit["loss"], rel=0.01)
