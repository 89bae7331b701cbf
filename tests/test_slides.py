"""The lecture: questions whose right answer the records give, and slides by keyboard, by touch and on paper."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from plain_vs_residual.evidence.verdicts import judge
from plain_vs_residual.experiment import Prediction, load_experiments
from plain_vs_residual.report.html import as_html
from plain_vs_residual.report.page import write_report
from plain_vs_residual.report.predictions import answer
from tests.made_up_records import write_results
from tests.test_page import browse, needs_browser

EXPERIMENTS = load_experiments()
ASKING = {name: one.prediction for name, one in EXPERIMENTS.items() if one.prediction}
PLANNED = {
    *("construction", "gradient_norms", "lesions", "fig4_depth", "fig6_cifar_depth", "fig7_layer_responses"),
    *("learning_rate_and_depth", "footnote3_longer", "folding", "table3_shortcuts"),
}
MARKDOWN = """# Title

Words.

![The whole](one.png)

## The line

```diff
- a
+ b
```

## Verdicts

![The verdicts](one.png)

![More verdicts](one.png)

### All others

![The others](one.png)

## First question (Fig. 1)

Background.

Predict: which?

- A: none
- B: this one
- C: that one
- D: all

![What came out](one.png)

Caption.

What to look for: the line.

Answer: B. It is 3.

### Errors

Many.

## Second question

Predict: and then?

![Then](one.png)

## How to read it

Words.
"""
# Presses keys and taps, and writes down what a room would see after each.
ACTOR = """<script>
window.addEventListener("load", () => {
  const visible = which => [...document.querySelectorAll(which)].filter(one => one.checkVisibility());
  const shown = () => visible("h1, h2, .predict, .predict + ul, figure, .look, .answer p, pre, aside output")
    .filter(one => !one.matches("output") || one.textContent.includes("no slide"))
    .map(one => one.matches("figure") ? one.firstElementChild.getAttribute("aria-label") : one.textContent.trim());
  const press = key => document.dispatchEvent(
    new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const tap = clientX => document.querySelector("main").dispatchEvent(
    new MouseEvent("click", {clientX, bubbles: true, cancelable: true}));
  const seen = [];
  for (const act of ACTS) {
    typeof act === "number" ? tap(act) : act === "lecture" ? document.querySelector("[data-does=lecture]").click()
      : press(act);
    seen.push([act, shown(), visible(".right").length, location.hash]);
  }
  const out = document.createElement("div");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.appendChild(out);
});

</script>"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return a page with a title, a line of code, verdicts, two questions and an appendix."""
    (tmp_path / "one.svg").write_text('<svg viewBox="0 0 20 9"><path d="M0 0H20V9"/></svg>', encoding="utf-8")
    (tmp_path / "one.png").write_bytes(b"made-up picture")
    path = tmp_path / "report.html"
    path.write_text(as_html(MARKDOWN, "Title", tmp_path), encoding="utf-8")
    return path


def walk(page: Path, acts: list[str | int], folder: Path, mark: str = "") -> list[list[str]]:
    """Act on the page; return after each act what is seen, and where that is."""
    acted = folder / "acted.html"
    script = ACTOR.replace("ACTS", json.dumps(acts))
    acted.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    text = browse(acted.as_uri() + mark, folder, "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'<div id="seen">(.*?)</div>', text, flags=re.DOTALL)
    assert found, text[-500:]
    return [[*words, *(["right"] * right), place] for _, words, right, place in json.loads(found[1])]


FIRST, ANSWERS = "First question (Fig. 1)", "A: none\nB: this one\nC: that one\nD: all"
ASKED = [FIRST, "Predict: which?", ANSWERS, "#lecture/first-question"]
SHOWN = [FIRST, "What came out", "What to look for: the line.", "#lecture/first-question"]
TOLD = [FIRST, ANSWERS, "What came out", "B. It is 3.", "right", "#lecture/first-question"]
LINE = ["The line", "- a\n+ b", "#lecture/the-line"]
TITLE, VERDICTS = ["Title", "The whole", "#lecture/"], ["Verdicts", "The verdicts", "#lecture/verdicts"]
SECOND = ["Second question", "Predict: and then?", "#lecture/second-question"]
MORE = ["Verdicts", "More verdicts", "#lecture/verdicts"]
THEN = ["Second question", "Then", "#lecture/second-question"]


@needs_browser
def test_a_lecture_by_keyboard_shows_a_figure_once_the_room_has_predicted(page: Path, tmp_path: Path) -> None:
    acts: list[str | int] = [
        *("lecture", "ArrowRight", " ", "PageDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"),
        *("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "Home", "ArrowLeft", "End", "x"),
        *(500, 500, 10, 10),
    ]
    assert walk(page, acts, tmp_path) == [
        *(LINE, ASKED, SHOWN, TOLD, SECOND, THEN, TITLE, VERDICTS),
        *(MORE, MORE, VERDICTS, TITLE, THEN, LINE, LINE, VERDICTS, VERDICTS),
        *(MORE, MORE, VERDICTS, TITLE),
    ]


@needs_browser
def test_an_address_of_no_slide_is_named_and_the_lecture_begins_with_the_first(page: Path, tmp_path: Path) -> None:
    mistyped, next_one = walk(page, ["x", "ArrowRight"], tmp_path, "#lecture/frist-question")
    assert mistyped == [*LINE[:-1], 'no slide "frist-question": 1 / 5', LINE[-1]]
    assert next_one == ASKED


@needs_browser
def test_a_lecture_begins_at_its_address_and_is_left_at_its_section(page: Path, tmp_path: Path) -> None:
    told, left = walk(page, ["ArrowDown", "Escape"], tmp_path, "#lecture/first-question")
    assert told == SHOWN
    assert left[-1] == "#first-question"
    assert {"The line", "Verdicts", *ASKED[:3], *SHOWN[1:3]} < set(left)


@needs_browser
def test_a_lecture_is_printed_a_slide_a_page_and_the_article_on_a4(page: Path, tmp_path: Path) -> None:
    boxes = []
    for mark in ("#lecture", ""):
        printed = tmp_path / "page.pdf"
        browse(page.as_uri() + mark, tmp_path, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
        boxes.append(re.findall(rb"/MediaBox \[([^]]*)\]", printed.read_bytes()))
    lecture, article = boxes
    assert lecture == [b"0 0 960 540"] * 5
    assert {tuple(round(float(side)) for side in box.split()[2:]) for box in article} == {(595, 842)}


READER = """<script>
window.addEventListener("load", () => {
  const contents = document.querySelector("nav details"), seen = [contents.open];
  contents.querySelector("summary").click();
  document.querySelector("nav a[href='#second-question']").click();
  document.getElementById("second-question").scrollIntoView();
  window.dispatchEvent(new Event("scroll"));
  seen.push(contents.open, [...document.querySelectorAll("nav a[aria-current]")].map(one => one.textContent));
  const wide = [...document.querySelectorAll("figure")].filter(one => one.getClientRects().length);
  seen.push(wide.every(one => one.matches(".wide")), document.documentElement.scrollWidth <= window.innerWidth);
  const unfold = document.querySelector("[data-does=unfold]");
  const folds = [...document.querySelectorAll("main details")];
  for (const words of ["Fold all", "Unfold all"]) {
    unfold.click();
    seen.push(unfold.textContent === words && folds.every(one => one.open === (words === "Fold all")));
  }
  const out = document.createElement("div");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  window.parent.document.body.appendChild(out);
});
</script>"""


@needs_browser
def test_on_a_phone_contents_close_and_mark_the_place_and_what_is_wide_says_so(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("</body>", f"{READER}</body>")
    (tmp_path / "acted.html").write_text(text, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text('<body><iframe src="acted.html" style="width:390px;height:844px;border:0"></iframe></body>')
    found = re.search(
        r'<div id="seen">(.*?)</div>', browse(frame.as_uri(), tmp_path, "--dump-dom", "--virtual-time-budget=5000")
    )
    assert found
    assert json.loads(found[1]) == [False, False, ["Second question"], True, True, True, True]


def test_a_page_without_slides_has_no_lecture(tmp_path: Path) -> None:
    text = as_html("# Title\n\n## One\n\nWords.\n\n### More\n\nWords.\n", "Title", tmp_path)
    assert "lecture" not in text.split("</style>")[-1]
    assert "<section>\n<h2" in text
    assert "<details><summary>More</summary>\n<p>Words.</p>\n</details>\n</section>\n" in text


def test_sections_of_one_name_have_anchors_of_their_own(tmp_path: Path) -> None:
    text = as_html("## One: a/b\n\n## One: a b\n", "Title", tmp_path)
    assert re.findall(r'<h2 id="([^"]*)">', text) == re.findall(r'<a href="#([^"]*)">', text)
    assert re.findall(r'<h2 id="([^"]*)">', text) == ["one-a-b", "one-a-b-more"]


def test_a_file_beside_the_page_is_named_without_a_link_that_would_die(tmp_path: Path) -> None:
    (tmp_path / "one.svg").touch()
    text = as_html("[one](one.svg) and [two](https://example.org/two.svg)\n", "Title", tmp_path)
    assert '<p><span>one</span> and <a href="https://example.org/two.svg">two</a></p>' in text


# ---- questions with four answers -------------------------------------------------------------------------


def test_the_experiments_of_the_seminars_plans_ask_a_question() -> None:
    assert set(ASKING) >= PLANNED


def test_the_right_answer_is_that_of_the_number_with_its_interval(tmp_path: Path) -> None:
    fig4 = EXPERIMENTS["fig4_depth"]
    recorded = write_results(tmp_path / "results", [fig4], "digits")
    verdicts = judge(recorded, [fig4])
    assert fig4.prediction
    # In made_up_records, 16 more layers cost plain networks 16/5 = 3.2 points.
    said = answer(fig4.prediction, verdicts, "digits")
    assert said.startswith("C. training error: plain-34 - plain-18: +3.20, interval +3.")
    assert said.endswith(" (95 %), 3 seeds.")
    cut = replace(fig4.prediction, limits=(3.19, 3.21, 20))
    assert answer(cut, verdicts, "digits").startswith("B. ")
    assert answer(cut, verdicts, "digits").endswith("; the interval reaches from A to C.")
    assert answer(replace(cut, claim="another"), verdicts, "digits") == ""


def test_an_answer_that_decides_nothing_says_so_and_without_runs_there_is_none(tmp_path: Path) -> None:
    fig7 = EXPERIMENTS["fig7_layer_responses"]
    assert fig7.prediction
    recorded = write_results(tmp_path / "results", [fig7], "digits", seeds=[0])
    said = answer(fig7.prediction, judge(recorded, [fig7]), "digits")
    assert re.match(r"[A-D]\. median response estimated: ResNet-20 A - ResNet-56 A: \S+, 1 seed\. It ", said)
    assert ". It decides nothing: so few iterations" in said
    others = write_results(tmp_path / "others", [EXPERIMENTS["fig4_depth"]], "digits", seeds=[0])
    assert answer(fig7.prediction, judge(others, [fig7]), "digits") == ""


def test_the_page_asks_before_its_figure_and_folds_the_answer(tmp_path: Path) -> None:
    fig4 = EXPERIMENTS["fig4_depth"]
    recorded = write_results(tmp_path / "results", [fig4], "digits")
    markdown, html = write_report(recorded, [fig4], tmp_path / "plots")
    text = markdown.read_text(encoding="utf-8")
    assert fig4.prediction
    wanted = [
        *("![Error at the end", "## The line", "## Verdicts", f"## {fig4.title}", fig4.prediction.question),
        *("- A: below it\n- B: at most", "![Fig. 4", "What to look for: ", "Answer: C. ", "**Holds here:** Depth"),
        *("Exercise: ", "### Errors", "### Claims", "## How to read"),
    ]
    places = [text.index(words) for words in wanted]
    assert places == sorted(places)
    assert '<details class="answer"><summary>Answer</summary><p>C. ' in html.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limits": (0, 2)}, "three ascending limits are needed"),
        ({"limits": (0, 20, 2)}, "three ascending limits are needed"),
        ({"limits": (0, 2, 2)}, "three ascending limits are needed"),
        ({"answers": ("a", "b", "c")}, "four different answers are needed"),
        ({"answers": ("a", "b", "c", "a")}, "four different answers are needed"),
    ],
)
def test_a_wrong_prediction_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prediction(**{"question": "q", "claim": "c", "limits": (0, 1, 2), "answers": tuple("abcd")} | change)  # type: ignore[arg-type]


def test_a_prediction_of_a_claim_that_is_not_there_is_refused_before_training() -> None:
    fig4 = EXPERIMENTS["fig4_depth"]
    assert fig4.prediction
    wrong = replace(fig4.prediction, claim=fig4.prediction.claim.replace("higher", "larger"))
    with pytest.raises(ValueError, match=r"is no claim \(did you mean .*higher training error than plain-18"):
        replace(fig4, prediction=wrong).check()
