"""A page before it has a format: headings, paragraphs, tables and figures in the order of reading; a renderer makes the file.

Texts are plain, whatever characters are in them: the renderer escapes them. Emphasis is a span of its own.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, Union

import pandas as pd

from bench.presentation.text import one_line

if TYPE_CHECKING:
    from bench.presentation.chart import Chart, Chooser, Records


@dataclass(frozen=True)
class Span:
    """Text with a look, and a target where it is a link."""

    text: str
    look: Literal["strong", "emphasis", "underlined", "code", "link"]
    target: str = ""


strong = partial(Span, look="strong")
emphasis = partial(Span, look="emphasis")
underlined = partial(Span, look="underlined")
code = partial(Span, look="code")


def link(text: str, target: str) -> Span:
    """Text that leads to a file beside the page, or to a heading (#its-words)."""
    return Span(text, "link", target)


Inline = str | Sequence[str | Span]
"""Text of a paragraph: plain strings and spans, one after the other."""


def woven(text: str, *pieces: Span) -> Inline:
    """A text with a span in the place of each {}."""
    return [part for pair in zip_longest(text.split("{}"), pieces, fillvalue="") for part in pair]


@dataclass(frozen=True)
class Heading:
    """The title of what follows, until the next of its level."""

    level: int  # 1 is the page's title
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences that belong together."""

    text: Inline


@dataclass(frozen=True)
class Bullets:
    """A list, one item a line."""

    items: Sequence[Inline]


Mark = Literal["", "best", "tie", "heed"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: as a reader gets it, rounded and with its interval.
        value: the same as it was measured, for a program.
        mark: "best" of those it is ranked with, statistically a "tie" with it, or what a reader must "heed".
        note: a remark behind the text, which no mark covers.
    """

    text: str
    value: Any = None
    mark: Mark = ""
    note: str = ""


def cell(value: Any, form: Callable[[Any], str] = one_line) -> Cell:
    """The cell of a value in a form of `presentation.text`."""
    return Cell(form(value), value)


@dataclass(frozen=True)
class Table:
    """Columns by their titles, rows of as many cells; columns whose number is in `right` (of numbers) are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Collection[int] = ()
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture with its caption and the data drawn, or (`file` None) the reason in `caption` why there is none.

    A page that can be played with shows its `chart` instead, where it has one.
    """

    title: str
    file: str | None  # beside the page
    caption: Inline = ""
    data: pd.DataFrame | None = None
    chart: "Chart | None" = None


Block = Union[Heading, Paragraph, Bullets, Table, Figure, "Chooser", "Records"]
"""The last two are for a page that can be played with; other renderers leave them out."""
Document = Sequence[Block]
