"""The renderer of pages: every block, texts that show as they are, and nothing that is fetched."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.presentation import html
from bench.presentation.chart import Chart, Choice, Chooser, Line, Panel, Records, Slider
from bench.presentation.chart_data import CONTRAST, PAPER, contrast, plain, seen_on
from bench.presentation.document import Bullets, Cell, Figure, Heading, Paragraph, Table, cell, code, link, strong
from bench.presentation.series import COLOURS, Looks

VOID = {"meta", "input", "img", "br"}
POINTS = pd.DataFrame(
    {"label": ["ddim", "heun"], **{c: [1.0, 2.0] for c in ("x", "x_low", "x_high", "y", "y_low", "y_high")}}, index=[3, 7]
)
PANEL = Panel("calls", "distance", POINTS, [Line("frontier", [1, 2], [2, float("inf")], "frontier")])
STYLES = {name: Looks([name])[name] for name in ("ddim", "heun")}
CHART = Chart([PANEL], {3: ["ddim"], 7: ["heun"]}, {"ddim": "euler", "heun": "heun"}, STYLES)


class Reader(HTMLParser):
    """Elements in order as (tag, attributes), the text of each, and whether every tag was closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.append((self.open[-1], data))

    def of(self, tag: str) -> list[str]:
        return [text for own, text in self.texts if own == tag]

    def data(self) -> list[dict]:
        (text,) = (text for own, text in self.texts if own == "script" and text.startswith("["))
        return json.loads(text)


@pytest.fixture
def page(tmp_path: Path):
    def read(*blocks) -> Reader:
        return Reader(html.render([Heading(1, "A page"), *blocks], tmp_path))

    return read


def test_every_block_and_span(page, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 24), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = page(
        Heading(2, "A heading"),
        Paragraph([strong("Bold"), ", ", code("a<b"), " and ", link("a file", "a.csv"), "."]),
        Bullets(["one", "two"]),
        Table(["name"], [[Cell("1.00", 1.0, "best", "(4)")], [Cell("1.01", 1.01, "tie")]], [0], "Few"),
        Figure("A figure", "a.png", "Of two."),
        Figure("A third", None, "nothing was drawn."),
    )  # fmt: skip
    assert read.of("h2") == ["A heading"]
    assert read.of("code") == ["a<b"]
    assert read.of("li")[-2:] == ["one", "two"]
    assert read.of("caption") == ["Few"]
    assert ("strong", {"class": "best"}) in read.elements
    assert ("u", {"class": "tie"}) in read.elements
    assert [a["data-value"] for t, a in read.elements if t == "td" and "data-value" in a] == ["1.0", "1.01"]
    (picture,) = (a["src"] for t, a in read.elements if t == "img")
    from base64 import b64decode
    from io import BytesIO

    assert (np.asarray(Image.open(BytesIO(b64decode(picture.partition(",")[2]))).convert("L")) == pixels).all()
    assert "no figure, because nothing was drawn." in "".join(read.of("p"))


def test_a_chart_takes_the_place_of_its_picture(page):
    read = page(Figure("Quality", "not-there.png", "A caption.", POINTS, CHART))
    (item,) = read.data()
    (panel,) = item["panels"]
    assert [(s["label"], s["rows"], s["x"]) for s in panel["series"]] == [("ddim", [3], [1.0]), ("heun", [7], [2.0])]
    assert panel["lines"][0]["y"] == [2, None]  # JSON has no infinity
    assert item["about"] == {"3": ["ddim"], "7": ["heun"]}
    assert "not-there.png" not in str(read.elements)


def test_a_chooser_is_read_without_a_script(page):
    choices = [Choice(v, f"{v} calls", [strong(f"use {v}")], ["because"], [3]) for v in (1, 2)]
    read = page(Chooser([Slider("calls", choices, 1, PANEL)], CHART, ["A note."]))
    assert "use 2" in read.of("strong")
    assert "A note." in read.of("p")
    assert [c["text"] for c in read.data()[0]["sliders"][0]["choices"]] == ["<strong>use 1</strong>", "<strong>use 2</strong>"]


def test_records_to_take_away_are_whole(page):
    data = pd.DataFrame({"name": ["a", None], "value": [0.1 + 0.2, float("nan")], "count": [5.0, 2.0]})
    item = page(Records(Table(["name"], [[cell("a")]]), data, "results")).data()[0]
    assert item["columns"] == ["name", "value", "count"]
    assert item["rows"] == [["a", 0.1 + 0.2, 5], [None, None, 2]]


def test_nothing_is_fetched_and_the_policy_allows_nothing(page):
    read = page(Figure("Quality", "a.png", "", POINTS, CHART))
    assert not [a for _, a in read.elements if a.get("src", "data:").partition(":")[0] != "data" or "rel" in a]
    (policy,) = (a["content"] for t, a in read.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert not re.findall(r"connect-src|https?:", policy)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30))
def test_text_shows_as_it_is(tmp_path_factory, text):
    shown = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in text)
    read = Reader(html.inline([strong(text + ".")]))
    assert "".join(read.of("strong")).split() == f"{shown}.".split()


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--", "<img src=x onerror=alert(1)>", "&lt;", "\"'>"])
def test_a_name_cannot_leave_its_place(page, text):
    points = POINTS.assign(label=text)
    chart = Chart([Panel(text, text, points)], {3: [text]}, {text: text}, {text: Looks([text])[text]})
    table = Records(Table([text], [[cell(text)]]), pd.DataFrame({text: [text]}), "results")
    read = page(Heading(2, text), Figure(text, "a.png", text, points, chart), table)
    assert [t for t, _ in read.elements].count("script") == 3
    assert not [a for _, a in read.elements if "onerror" in a]
    assert read.data()[0]["panels"][0]["x"] == text
    assert read.of("h2")[0] == text


def test_anchors_are_those_of_markdown_s_readers_and_differ(page):
    read = page(Heading(2, "Cells without a result"), Heading(2, "Table: one"), Heading(2, "Table, one"))
    ids = [a["id"] for t, a in read.elements if t == "h2"]
    assert ids == ["cells-without-a-result", "table-one", "table-one-1"]


def test_colours_are_seen_on_both_papers():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the usual example of what misses 4.5
    for paper in PAPER.values():
        assert all(contrast(seen_on(c, paper), paper) >= CONTRAST for c in (*COLOURS, paper))
    assert seen_on("#0072B2", PAPER["light"]) == "#0072b2"  # what is seen stays


def test_numbers_are_as_json_has_them():
    largest = 1.7976931348623157e308  # in fewer digits it would be infinite
    assert plain([1 / 3, largest, -largest, float("inf"), float("nan"), None, True, 2]) == [
        *[0.33333, largest, -largest],
        *[None, None, None, True, 2],
    ]
