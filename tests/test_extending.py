"""docs/extending.md, followed to the letter in a copy of the repository, trains and draws what it adds."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")


def followed(copy: Path) -> None:
    """Make every change that the page shows: a diff whose old lines are there once, or a new file."""
    for language, body in re.findall(r"^```(diff|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        first, *lines = body.splitlines()
        path = copy / first.removeprefix("--- ").removeprefix("# ")
        if language == "python":
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            continue
        # An empty line of context has lost its blank.
        old, new = (
            "".join(f"{line[1:]}\n" for line in lines if line[:1] in (sign, " ", "")) for sign in ("-", "+")
        )
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{first}: not there once:\n{old}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def trained(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("extended") / "copy"
    shutil.copytree(
        REPOSITORY / "plain_vs_residual", copy / "plain_vs_residual", ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy / "experiments").mkdir()
    followed(copy)
    arguments = ("train", "stripes", "--setting", "stripes", "--device", "cpu", "--jobs", "1")
    ended = subprocess.run(
        [sys.executable, "-m", "plain_vs_residual", *arguments],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return copy


def record(copy: Path, run: str, name: str) -> Any:
    return json.loads((copy / "results" / "stripes" / run / f"{name}.json").read_text(encoding="utf-8"))


def test_the_new_shortcut_is_trained_and_has_its_parameters(trained: Path) -> None:
    a, s = (record(trained, f"cifar-residual8-{option}-s0", "run") for option in "AS")
    added = s["initial_parameters"].keys() - a["initial_parameters"].keys()
    assert added == {f"layer{stage}.0.shortcut.1.factors" for stage in (1, 2, 3)}
    assert s["parameters"] - a["parameters"] == 16 + 32 + 64
    assert s["label"] == "ResNet-8 S"


def test_the_new_schedule_is_what_was_applied(trained: Path) -> None:
    rates = record(trained, "cifar-plain8-s0", "final")["learning_rates"]
    assert [rate for _, rate in rates] == pytest.approx(
        [0.002 * (1 + math.cos(math.pi * iteration / 12)) / 2 for iteration in range(12)]
    )


def test_the_new_optimizer_is_recorded(trained: Path) -> None:
    assert record(trained, "cifar-plain8-s0", "run")["configuration"]["optimizer"] == "adam"


def test_the_new_images_and_setting_are_recorded_with_their_words(trained: Path) -> None:
    run = record(trained, "cifar-plain8-s0", "run")
    assert run["dataset"]["name"] == "stripes"
    assert run["dataset"]["classes"] == ["horizontal", "vertical"]
    assert run["caveat"] == "12 iterations are an example and no experiment"
    assert len(run["departures"]) == 2


def test_the_new_figure_and_the_new_markers_are_on_the_page(trained: Path) -> None:
    plots = trained / "plots" / "stripes"
    table = pd.read_csv(plots / "stripes-training_time.csv")
    assert set(table["network"]) == {"cifar-plain8", "cifar-residual8-A", "cifar-residual8-S"}
    assert set(pd.read_csv(plots / "stripes.csv")["network"]) == set(table["network"])
    page = (plots / "report.md").read_text(encoding="utf-8")
    assert "S trains better than A" in page
    assert "stripes-training_time.png" in page


def test_the_new_pairs_are_pairs(trained: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "plain_vs_residual", "verify"],
        cwd=trained,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "agree" in ended.stdout
