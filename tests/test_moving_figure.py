"""The figure that moves with the iteration: its numbers, and what a browser makes of it."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from plain_vs_residual.experiment import load_experiments
from plain_vs_residual.report.figures import draw
from plain_vs_residual.report.html import as_html
from plain_vs_residual.report.moving_figure import moving_figure, numbers_of
from tests.made_up_records import write_results
from tests.test_page import browse, needs_browser

GRADIENTS = load_experiments()["gradient_norms"]
# Uses the slider as a person would, with the keys of the page, and writes down what is seen.
ACTOR = """<script>
window.addEventListener("error", event => document.body.dataset.fault = event.message);
window.addEventListener("load", () => {
  const box = document.querySelector(".moving"), slider = box.querySelector("input");
  const still = box.parentElement.querySelector(":scope > svg");
  const path = () => box.querySelector('path[data-curve="plain-56"][fill="none"]').getAttribute("d");
  const shown = one => one.getClientRects().length > 0;
  const seen = {said: [box.querySelector("output").textContent], paths: [path()], still: [shown(still)]};
  slider.value = 3;
  slider.dispatchEvent(new Event("input"));
  seen.said.push(box.querySelector("output").textContent);
  seen.spoken = slider.getAttribute("aria-valuetext");
  seen.paths.push(path());
  seen.letters = parseFloat(getComputedStyle(box.querySelector("svg text")).fontSize);
  const svg = box.querySelector("svg");
  seen.width = svg.getBoundingClientRect().width - svg.viewBox.baseVal.width;
  seen.focusable = [...box.querySelectorAll("input, button")].filter(one => one.tabIndex === 0).length;
  seen.play = shown(box.querySelector(".play"));
  box.querySelector(".still").click();
  seen.still.push(shown(still), shown(box.querySelector("svg")));
  box.querySelector(".still").click();
  document.querySelector('button[data-shows="plain-56"]').click();
  seen.hidden = !shown(box.querySelector('path[data-curve="plain-56"]'));
  window.dispatchEvent(new Event("resize"));
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify({...seen, fault: document.body.dataset.fault || ""});
  (window.parent.document.body || document.body).appendChild(out);
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page that holds the figure alone."""
    folder = tmp_path_factory.mktemp("moving")
    recorded = write_results(folder / "results", [GRADIENTS], "digits", seeds=range(2))
    picture = draw(recorded, GRADIENTS, "gradient_norms", folder)
    # Made-up gradients are those of one iteration: here each of the next ones is a tenth of the one before.
    table = pd.read_csv(picture.with_suffix(".csv"))
    weight = table[table["quantity"] == "weight"]
    later = [weight.assign(iteration=step, value=weight["value"] / 10**step) for step in range(5)]
    pd.concat(later).to_csv(picture.with_suffix(".csv"), index=False)
    html = folder / "page.html"
    html.write_text(as_html("## Gradient\n\n![Norms](gradient_norms.png)\n", "Title", folder), encoding="utf-8")
    return html


def test_numbers_are_means_and_ranges_over_seeds_by_network_iteration_and_layer() -> None:
    rows = [
        ("cifar-plain20", seed, iteration, layer, 10.0**layer * (1 + seed) * (1 + iteration))
        for seed in (0, 2)
        for iteration in (10, 0)
        for layer in (2, 1)
    ]
    rows += [("cifar-residual20-A", 0, 0, 1, float("nan"))]
    table = pd.DataFrame(rows, columns=["network", "seed", "iteration", "position", "value"])
    numbers = numbers_of(table)
    assert numbers["iterations"] == [0, 10]
    plain, residual = numbers["networks"]
    assert plain["label"] == "plain-20"
    assert plain["layers"] == [[[20, 10, 30], [200, 100, 300]], [[220, 110, 330], [2200, 1100, 3300]]]
    assert residual["layers"] == [[[None, None, None]], None]
    assert plain["colour"] != residual["colour"]
    json.loads(json.dumps(numbers, allow_nan=False))


HEAD = "network,seed,iteration,quantity,position,value\n"


@pytest.mark.parametrize("table", [None, "\n", HEAD, HEAD + "plain18,0,0,weight,1,\nplain18,0,9,weight,1,\n"])
def test_a_figure_without_numbers_stays_as_it_is(tmp_path: Path, table: str | None) -> None:
    picture = tmp_path / "gradient_norms.png"
    if table is not None:
        picture.with_suffix(".csv").write_text(table)
    assert moving_figure(picture, "words") == ""


def test_a_figure_of_one_iteration_and_any_other_figure_stay_as_they_are(tmp_path: Path) -> None:
    one = "network,seed,iteration,quantity,position,value\ncifar-plain20,0,0,weight,1,2.5\n"
    for name in ("gradient_norms", "lesions"):
        rows = one if name == "gradient_norms" else one + "cifar-plain20,0,1,weight,1,2.5\n"
        (tmp_path / f"{name}.csv").write_text(rows)
        assert moving_figure(tmp_path / f"{name}.png", "words") == ""


def test_without_a_script_the_static_figure_stands_and_names_images_and_seeds_stay(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    without = re.sub("<script>.*?</script>", "", text, flags=re.DOTALL)
    assert '<div class="moving" hidden>' in without
    figure = without[without.index("<figure>") :]
    assert figure.index("<svg") < figure.index('<div class="moving"')
    assert "<p>digits (scikit-learn), setting digits; 2 seeds" in without
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|"http://www.w3.org/2000/svg"', "", text)


@needs_browser
@pytest.mark.parametrize(("width", "reduced"), [(390, False), (1920, False), (1920, True)])
def test_the_figure_moves_in_a_browser(page: Path, tmp_path: Path, width: int, reduced: bool) -> None:
    acted = tmp_path / "acted.html"
    acted.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{ACTOR}</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body><iframe src="acted.html" style="width:{width}px;height:900px;border:0"></iframe></body>'
    )
    options = ["--dump-dom", "--virtual-time-budget=5000"]
    text = browse(frame.as_uri(), tmp_path, *options, *(["--force-prefers-reduced-motion"] if reduced else []))
    found = re.search(r'<pre id="seen">(.*?)</pre>', text, flags=re.DOTALL)
    assert found, text[:500]
    seen = json.loads(found[1])
    assert seen["fault"] == ""
    assert seen["said"] == ["0 of 4 iterations", "3 of 4 iterations"]
    assert seen["spoken"] == "3 of 4 iterations"
    before, after = ([float(one) for one in re.findall(r"[\d.]+", path)] for path in seen["paths"])
    assert before[::2] == after[::2]  # the layers stay, their gradients sink
    assert all(low > high for low, high in zip(after[1::2], before[1::2], strict=True))
    assert seen["letters"] >= (13 if width == 390 else 24)
    assert abs(seen["width"]) <= 1  # not scaled: letters are as large as they say
    assert seen["still"] == [False, True, False]
    assert seen["hidden"]
    assert seen["play"] == (not reduced)
    assert seen["focusable"] == 3
