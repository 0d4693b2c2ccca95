"""The page of the large run in a real browser: what moves moves, nothing leaves it, and no error is told.

Takes playwright and a Chromium, of the system or playwright's own; without either these tests are skipped.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from bench.reports.report import write_report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RESULTS = Path(__file__).parents[3] / "results"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The page, its pictures (not its charts) empty ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.presentation.looks.save", lambda figure, path: Image.new("L", (1080, 600), 255).save(path))
        return write_report([RESULTS / "mnist32-cpu"], tmp_path_factory.mktemp("page")).with_suffix(".html")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as p:
        try:
            made = p.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        except sync_api.Error:
            pytest.skip("no Chromium that starts; 'playwright install chromium-headless-shell' gets one")
        yield made
        made.close()


@pytest.fixture
def opened(browser, report) -> Iterator[Callable]:
    """A function that opens the page, width and colour scheme as given; in the end no page had told an error or a request."""
    contexts, heard = [], []

    def open_page(size: str = "wide", scheme: str = "light"):
        width, height = WIDTHS[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else heard.append(r.url))
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []


def shown(page, chart: int = 0) -> set[str]:
    """The series that are drawn in a chart."""
    script = "n => document.querySelectorAll('.panel')[n].data.filter(t => t.visible !== false).map(t => t.name)"
    return set(page.evaluate(script, chart))


def axis(page, which: str) -> str:
    return page.evaluate(f"document.querySelector('.panel')._fullLayout.{which}axis.type")


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_it_fits_its_window_and_says_the_answer_first(opened, size, scheme):
    page = opened(size, scheme)
    width, height = WIDTHS[size]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    use = page.locator(".use")
    assert use.bounding_box()["y"] + use.bounding_box()["height"] < height
    assert "use consistency, 2 steps (2 calls, 2 teacher-equivalents, 5.94" in use.inner_text()
    assert "1 call of dsno is 4 forwards" in page.locator(".advice").inner_text()


def test_the_slider_moves_the_recommendation(opened):
    page = opened()
    slider = page.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    assert "use ddpm, 20 steps" in page.inner_text(".use")
    assert page.inner_text("output") == "50 calls"
    marked = page.evaluate("document.querySelector('.panel').data.at(-1)")
    assert (marked["x"], marked["y"][0]) == ([20], pytest.approx(1.89, abs=0.01))
    assert page.evaluate("document.querySelector('.panel').layout.shapes[0].x0") == 50
    page.keyboard.press("Home")
    assert "use consistency, 1 step" in page.inner_text(".use")
    page.check("text=milliseconds")
    assert "At most 20 ms for one image: use" in page.inner_text(".use")
    assert "latency of one image" in page.evaluate("document.querySelector('.panel').layout.xaxis.title.text")


def test_families_and_samplers_are_hidden_and_shown_in_all_charts(opened):
    page = opened()
    assert {"heun", "unipc", "recommended"} < shown(page)
    page.click(".controls summary")
    page.uncheck(".controls label:has-text('heun') >> nth=0")
    assert all("heun" not in shown(page, n) for n in range(3))
    page.click("button:has-text('none')")
    assert shown(page) == {"frontier of all", "frontier without training", "best at ≥ 50 calls", "recommended"}
    page.check("text=consistency_training")
    assert "consistency_training" in shown(page)
    assert "consistency" not in shown(page)
    family = page.locator(".controls label:has-text('consistency') input").first
    assert family.evaluate("box => box.indeterminate")
    page.click("button:text-is('all')")
    assert "heun" in shown(page, 2)


def test_a_legend_hides_its_series_everywhere(opened):
    page = opened()
    second = page.locator(".panel").nth(1)
    second.scroll_into_view_if_needed()
    second.locator(".traces:has(.legendtext:text-is('ddim')) .legendtoggle").click()
    page.wait_for_selector(".controls input:not(:checked)", state="attached")  # plotly waits for a second click
    assert "ddim" not in shown(page, 0)


def test_ticks_of_whole_numbers_are_measured_values_and_those_of_times_are_round(opened):
    page = opened()
    panels = """[...document.querySelectorAll('figure .panel')].map(p => ({
        title: p.layout.xaxis.title.text, ticks: p.layout.xaxis.tickvals, x: p.data.flatMap(t => t.x)}))"""
    found = {p["title"]: p for p in page.evaluate(panels)}
    calls = found["network calls (sequential depth)"]
    assert set(calls["ticks"]) <= set(calls["x"])
    assert {1, 2, 5, 10, 50} <= set(calls["ticks"])
    times = found["latency of one image, ms (batch 1)"]
    assert {1, 2, 5, 10, 20, 50, 100} <= set(times["ticks"])


def test_axes_become_linear_and_logarithmic(opened):
    page = opened()
    page.click(".controls summary")
    assert (axis(page, "x"), axis(page, "y")) == ("log", "log")
    page.uncheck("text=y logarithmic")
    assert (axis(page, "x"), axis(page, "y")) == ("log", "linear")


def test_pointing_at_a_point_shows_its_record(opened):
    page = opened()
    point = page.locator("figure .panel").first.locator(".trace:has(path)").last.locator(".point").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".hoverlayer .hovertext")
    told = page.locator(".hoverlayer").first.text_content() or page.locator(".hovertext").text_content()
    assert "unipc, 20 steps" in told
    assert "3.86 [3.26, 4.46]" in told
    assert page.locator("[data-title*=Share]").count() == 0  # plotly's button that would send the data away


def test_the_table_is_sorted_and_filtered(opened):
    page = opened()
    rows = page.locator(".records tbody tr:not([hidden])")
    assert rows.count() == 83
    page.click(".records th:has-text('fd_mnist') button")
    assert rows.first.locator("td").first.inner_text() == "ddpm"  # 1.89
    page.click(".records th:has-text('fd_mnist') button")
    assert rows.first.locator("td").first.inner_text() == "heun"  # 521
    assert rows.last.locator("td").last.inner_text().startswith("no progressive student of")  # what has no score stays last
    page.fill("input[type=search]", "ddim uniform")
    assert rows.count() == 7
    assert page.inner_text("[role=status]") == "7 of 83 records"


def test_the_records_are_taken_away(opened, report):
    page = opened()
    with page.expect_download() as got:
        page.click("button[data-format=csv]")
    assert got.value.suggested_filename == "results.csv"
    taken, kept = Path(got.value.path()).read_text(), (report.parent / "results.csv").read_text()
    assert taken.splitlines()[0] == kept.splitlines()[0]
    with page.expect_download() as got:
        page.click("button[data-format=json]")
    rows = json.loads(Path(got.value.path()).read_text())
    assert len(rows) == 83
    assert {r["counted.calls"] for r in rows if r["sampler"] == "heun"} == {1, 3, 5, 9, 19}


def test_themes_follow_the_system_and_the_button_and_print_is_light(opened):
    page = opened("wide", "dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(20, 24, 29)"
    page.emulate_media(media="print")
    page.wait_for_selector("html[data-theme=light]")
    assert not page.is_visible(".records")
    page.emulate_media(media="screen")
    page.wait_for_selector("html[data-theme=dark]")
    page.click("#theme")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    ink = page.evaluate("document.querySelector('.panel').layout.font.color")
    assert ink == "#1b1f24"


def test_a_picture_is_enlarged_and_closed(opened):
    page = opened()
    page.locator(".zoom").first.click()
    assert page.locator("dialog img").evaluate("image => image.clientWidth > image.naturalWidth")
    page.keyboard.press("Escape")
    assert page.locator("dialog").count() == 0


def test_the_file_is_small(report):
    assert report.stat().st_size < 3_000_000
