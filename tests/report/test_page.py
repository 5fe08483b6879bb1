"""The page in a browser: what is seen first, the search, downloads, phones, print, and axe-core."""

import csv
import io
import os
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from reported import AGREE, reported
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.report.answers_page import AnswersReport, render_answers
from crowdllm_jax.report.charts import said
from crowdllm_jax.report.page import ReportedRun, render
from crowdllm_jax.report.shares import closest_first, questions_of
from crowdllm_jax.score.metrics import Score

EVIL = (
    "<script>alert(1)</script>",
    "=1+1",
    '"><img src=x onerror=alert(1)>',
    "$x_{ & 'so' </title>",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no browser is installed (chromium, google-chrome)")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=found, args=flags)
        yield chrome
        chrome.close()


class Shown:
    """A report in a browser that has no network; what it complains of is in `told`."""

    def __init__(self, browser: Any, folder: Path, run: ReportedRun | str, **options: Any):
        path = folder / "report.html"
        path.write_text(run if isinstance(run, str) else render(run), encoding="utf-8")
        self.told: list[str] = []
        options = {"viewport": {"width": 1280, "height": 900}} | options
        self.page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", lambda dialog: self.told.append(dialog.message))
        self.page.goto(path.as_uri())

    def downloaded(self, click: Any) -> bytes:
        with self.page.expect_download() as awaited:
            click.click()
        return Path(awaited.value.path()).read_bytes()

    def violations(self) -> list[str]:
        """What axe-core finds, all that is folded unfolded."""
        unfold = "for (const one of document.querySelectorAll('details')) one.open = true"
        self.page.evaluate(unfold)
        self.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
        found = self.page.evaluate("axe.run()")["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def read_csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_the_first_screen_is_a_sentence_and_labelled_shares(browser, tmp_path):
    run = reported(texts=("Do you like tea?",))
    shown = Shown(browser, tmp_path, run)
    page = shown.page
    assert page.locator(".message").inner_text().startswith("The crowd goes 60% of the way")
    chart = page.locator(".lead svg.chart").first
    box = chart.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    labels = chart.locator(".row text.label tspan").all_text_contents()
    assert labels == list(AGREE.labels)
    # Bars are as long as their shares, on the axis that is written below them.
    title = page.locator(".lead h2").inner_text()
    question = next(q for q in questions_of(run.study, run.humans, run.answers) if q.text == title)
    end = float(chart.locator("text.soft").all_text_contents()[-1].rstrip("%")) / 100
    line = chart.locator("line.grid").nth(4).bounding_box()
    start = chart.locator("line.grid").nth(0).bounding_box()
    for kind, shares in (("human", question.human), ("crowd", question.crowd)):
        bars = [bar.bounding_box() for bar in chart.locator(f"rect.{kind}").all()]
        whole = (line["x"] - start["x"]) / end
        assert [bar["width"] / whole for bar in bars] == pytest.approx(list(shares), abs=0.005)
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    assert shown.told == []


@pytest.fixture(scope="module")
def of_many_scales() -> ReportedRun:
    names = ("rating", "frequency", "agree", "price", "pick", "rank", "share")
    return reported({name: EVERY_SCALE[name] for name in names}, tasks=4, people=40)


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_no_violation_and_no_sideways_scrolling(browser, tmp_path, of_many_scales, scheme, width):
    size = {"width": width, "height": 844}
    shown = Shown(browser, tmp_path, of_many_scales, viewport=size, color_scheme=scheme)
    assert shown.violations() == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    assert shown.told == []


def test_the_page_about_twins_leads_with_a_sentence_and_a_chart(browser, tmp_path):
    run = reported()
    scores = [
        Score(model, "answers", 0, metric, value, value - 0.02, value + 0.02)
        for model, rps in (("twin", 0.46), ("task_person", 0.5), ("task_marginal", 0.6))
        for metric, value in (("rps", rps), ("gain", 1 - rps / 0.5))
    ]
    page = render_answers(
        AnswersReport(run.study, run.config, scores, run.humans, run.losses, run.facts, [])
    )
    size = {"width": 390, "height": 844}
    shown = Shown(browser, tmp_path, page, viewport=size)
    message = shown.page.locator(".message").inner_text()
    assert message.startswith("The error of twins' predictions is 8.0% lower (between 6.0% and")
    bars = [bar.bounding_box()["width"] for bar in shown.page.locator(".errors rect").all()]
    assert [bar / bars[0] for bar in bars] == pytest.approx([1, 0.5 / 0.46, 0.6 / 0.46], abs=0.01)
    assert shown.violations() == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 390
    assert shown.told == []


def test_too_few_people_are_not_over_read(browser, tmp_path):
    page = Shown(browser, tmp_path, reported(people=9, tasks=20, few=True)).page
    message = page.locator(".message").inner_text()
    assert (
        message == "Too few to tell how close the crowd comes: 9 people with 180 answers held out."
    )
    text = page.locator("main").inner_text()
    assert "closest" not in text
    assert "furthest" not in text
    assert page.locator("figure.way").count() == 0
    assert page.locator("#order option").all_inner_texts() == ["as in the study"]


def test_many_questions_are_searched(browser, tmp_path):
    texts = ("Do you like tea?", "Do you like coffee?")
    run = reported(tasks=1682, people=12, share=0.6, texts=texts, answers_of=make_study(tasks=1682))
    shown = Shown(browser, tmp_path, run)
    page = shown.page
    assert (tmp_path / "report.html").stat().st_size < 2e6
    assert page.locator("#found").inner_text().startswith("1,682 questions")
    assert page.locator("table.finder tbody tr").count() == 10
    page.fill("#search", "LIKE cof")
    assert page.locator("table.finder tbody tr").count() == 1
    page.locator("table.finder button").focus()
    page.keyboard.press("Enter")
    figure = page.locator("table.finder figure")
    assert figure.locator(".title").inner_text() == "Do you like coffee?"
    question = questions_of(run.study, run.humans, run.answers)[1]
    values = figure.locator(".value").all_text_contents()
    expected = [
        f"{s:.0%}" for pair in zip(question.human, question.crowd, strict=True) for s in pair
    ]
    assert values == expected
    page.fill("#search", "nobody asks this")
    assert page.locator("#found").inner_text() == "No question holds these words."
    page.fill("#search", "")
    page.select_option("#order", "far")
    ranked = closest_first(questions_of(run.study, run.humans, run.answers))
    first = page.locator("table.finder tbody tr").first.locator("td").all_text_contents()
    assert first == [f"{ranked[-1].people}", said(ranked[-1].distance), said(ranked[-1].chance)]
    assert shown.told == []


def test_every_figure_and_table_is_downloaded(browser, tmp_path):
    run = reported(texts=EVIL)
    shown = Shown(browser, tmp_path, run)
    page = shown.page
    assert shown.told == []
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for figure in page.locator("figure[data-name]:visible").all():
        kinds = figure.locator(".downloads button").all_inner_texts()
        assert kinds[:2] == ["SVG", "PNG"]
    lead = page.locator(".lead .downloads")
    picture = shown.downloaded(lead.get_by_text("SVG")).decode()
    assert picture.startswith("<svg")
    assert "not at all" in picture
    assert shown.downloaded(lead.get_by_text("PNG")).startswith(b"\x89PNG")
    rows = read_csv(shown.downloaded(lead.get_by_text("CSV")))
    assert rows[0] == ["answer", "people", "low", "high", "crowd"]
    assert [row[0] for row in rows[1:]] == list(AGREE.labels)
    for box in page.locator(".wide[data-name]").all():
        button = page.locator(".wide[data-name] + .downloads button")
        assert button.count() == page.locator(".wide[data-name]").count()
        assert box.is_visible()
    whole = shown.downloaded(page.locator("#finder-downloads").get_by_text("CSV", exact=True))
    table = read_csv(whole)
    # A spreadsheet does not take a question for a formula.
    assert [row[0] for row in table[1:5]] == [EVIL[0], "'=1+1", *EVIL[2:]]
    assert len(table) == 1 + 6
    text = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in text
    assert "<img" not in text


def test_terms_are_explained_to_the_keyboard(browser, tmp_path):
    page = Shown(browser, tmp_path, reported()).page
    button = page.get_by_role("button", name="knowing nothing")
    tip = page.locator(f"#{button.get_attribute('aria-describedby')}")
    assert not tip.is_visible()
    button.focus()
    assert tip.is_visible()
    assert "gives every question the same answers" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.mouse.move(0, 0)
    button.hover()
    assert tip.is_visible()


def test_print_holds_what_is_folded(browser, tmp_path):
    page = Shown(browser, tmp_path, reported()).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("way from floor to ceiling").is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator(".downloads").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_the_table_of_contents_opens_what_it_leads_to(browser, tmp_path):
    page = Shown(browser, tmp_path, reported()).page
    page.get_by_role("navigation").get_by_text("Scorecard").click()
    page.get_by_text("way from floor to ceiling").wait_for()
    ids = page.eval_on_selector_all("nav a", "links => links.map(a => a.hash)")
    assert all(page.locator(id).count() == 1 for id in ids)


def test_the_page_stands_alone_and_says_so():
    text = render(reported())
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "default-src &#39;none&#39;" in text
    assert text == render(reported()), "the same run makes the same page"


def test_a_crowd_that_answers_otherwise_is_far_off():
    other = make_study({"agree": AGREE}, tasks=6, people=80, seed=1)
    turned = type(other)(**{**vars(other), "answer": 3 - other.answer})
    near, far = (reported(answers_of=people) for people in (None, turned))
    distances = [
        sum(q.excess for q in questions_of(run.study, run.humans, run.answers))
        for run in (near, far)
    ]
    assert distances[0] < 0 < 1 < distances[1]
