"""The renderer of documents: each block as it is written, and texts that show as they are, whatever is in them."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.presentation import markdown
from bench.presentation.document import (
    Bullets,
    Cell,
    Figure,
    Heading,
    Paragraph,
    Table,
    cell,
    code,
    emphasis,
    link,
    strong,
    underlined,
    woven,
)
from bench.presentation.text import LONGEST, measured, one_line

PAGE = [
    Heading(2, "A heading"),
    Paragraph([strong("Bold"), ", ", underlined("tied"), ", ", code("a`b"), " and ", link("a file", "a.csv"), "."]),
    Bullets(["one", ["two, ", emphasis("three")]]),
    Table(
        ["name", "value"],
        [
            [cell("a"), Cell("1.00", 1.0, "best", "(4)")],
            [cell("b"), Cell("1.01", 1.01, "tie")],
            [cell(None), Cell("!", 0, "heed")],
        ],
        right=[1],
        caption="Few",
    ),
    Figure("A figure", "a.png", "Of two."),
    Figure("Another", "b.png"),
    Figure("A third", None, "nothing was drawn."),
]
WRITTEN = """\
## A heading

**Bold**, <u>tied</u>, ``a`b`` and [a file](a.csv).

- one
- two, *three*

**Few**

| name | value |
| --- | ---: |
| a | **1.00** (4) |
| b | <u>1.01</u> |
|  | **!** |

![A figure](a.png)

*A figure.* Of two.

![Another](b.png)

**A third**: no figure, because nothing was drawn.
"""


def test_every_block_and_span():
    assert markdown.render(PAGE) == WRITTEN


READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
SPECIAL = st.sampled_from("\\|`<>&*_~[]()!#-+ \n\tab{}$:1.'\"/@")


@settings(deadline=None)
@example(["<b>", "&lt;", "`x`"])
@example(["*x*", "_x_", "~~x~~"])
@example(["a|b", "\\|", "[x](y)"])
@given(st.lists(st.text(st.one_of(SPECIAL, st.characters())), min_size=1, max_size=3))
def test_any_text_in_a_table_is_read_as_that_text(texts: list[str]):
    page = markdown.render([Table(["x"] * len(texts), [[Cell(t) for t in texts]])])
    cells = [token.children or [] for token in READER.parse(page) if token.type == "inline"][len(texts) :]
    assert {span.type for spans in cells for span in spans} <= {"text"}
    visible = ["".join(c if c.isprintable() else "\ufffd" for c in re.sub(r"\s+", " ", t)).strip() for t in texts]
    assert ["".join(span.content for span in spans) for spans in cells] == visible


def test_a_word_s_underscores_and_a_formula_s_star_stay_as_they_are():
    text = "dpmpp_2m needs n* = 3 calls [2, 4], -1 %"
    assert markdown.render([Paragraph(text)]) == f"{text}\n"


def test_a_value_is_one_short_line():
    assert one_line("out of\nmemory") == "out of memory"
    assert one_line(None) == one_line(float("nan")) == ""
    assert one_line(64.0) == "64"
    assert len(one_line("x" * 10_000_000)) == LONGEST


def test_a_cell_keeps_its_value_beside_its_text():
    assert cell(3.14159, measured) == Cell("3.14", 3.14159)


@pytest.mark.parametrize("text", ["{}", "a {} b {}", "no span"])
def test_spans_are_woven_into_a_text(text: str):
    pieces = [strong(str(i)) for i in range(text.count("{}"))]
    assert markdown.render([Paragraph(woven(text, *pieces))]) == text.replace("{}", "**{}**").format(*range(2)) + "\n"
