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
