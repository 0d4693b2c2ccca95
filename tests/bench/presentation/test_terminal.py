"""Documents on a terminal and in a pipe."""

import io

from rich.console import Console

from bench.presentation import markdown, terminal
from bench.presentation.document import Bullets, Cell, Figure, Heading, Paragraph, Table, cell, strong

DOCUMENT = [
    Heading(2, "The answer"),
    Bullets([["At most 5 calls: ", strong("ddim"), " is best [3.1, 3.4]."]]),
    Paragraph("Read this."),
    Table(["sampler", "5 calls"], [[cell("ddim:eta=0.5"), Cell("4.17", 4.17, "best", "(3)")]], (1,), "Frechet distance"),
    Figure("A picture", "a.png"),
]


def shown(force: bool, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=force, color_system="standard" if force else None)
    terminal.show(DOCUMENT, console)
    return out.getvalue()


def test_a_pipe_gets_markdown():
    assert shown(force=False) == markdown.render(DOCUMENT)


def test_a_terminal_gets_words_in_its_width_and_marks_as_looks():
    text = shown(force=True, width=40)
    assert "\x1b[1mddim" in text
    assert "[3.1,\n" in text.replace(" ", ""), "brackets are no markup"
    assert "4.17\x1b[0m (3)" in text
    assert "**" not in text
    assert "picture" not in text


def test_a_table_breaks_no_word_and_wraps_titles_first():
    rows = [[cell("a_long_name_of_a_cell"), cell("vp_quadratic"), cell("from 2 steps"), cell("words " * 9)]]
    table = Table(["name", "grid", "draws some noise", "a note"], rows)
    out = io.StringIO()
    terminal.show([table], Console(file=out, width=70, force_terminal=True, color_system=None))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    (first,) = [line for line in lines if line.startswith("a_long_name_of_a_cell")]
    assert first.split("  ")[1:3] == ["vp_quadratic", "from 2 steps"]
    assert out.getvalue().count("words") == 9


def test_a_terminal_gets_markdown_where_it_is_asked_for():
    out = io.StringIO()
    terminal.show(DOCUMENT, Console(file=out, width=80, force_terminal=True), as_markdown=True)
    assert out.getvalue() == markdown.render(DOCUMENT)


def test_a_caption_is_as_wide_as_the_terminal():
    out = io.StringIO()
    caption = "what these few columns have in common, in a line that is wider than they are"
    terminal.show([Table(["a"], [[cell("b")]], caption=caption)], Console(file=out, width=80, force_terminal=True))
    assert caption in out.getvalue()
