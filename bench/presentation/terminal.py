"""A document on a terminal, at whatever width it has; where there is none (a pipe, a file), Markdown."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from bench.presentation import markdown
from bench.presentation.document import Block, Bullets, Cell, Document, Figure, Heading, Inline, Paragraph, Table

STYLES = {
    "strong": "bold", "emphasis": "italic", "underlined": "underline", "code": "cyan", "link": "", "": "",
    "best": "bold", "tie": "underline", "heed": "bold red",
}  # fmt: skip
"""Of a span of a look, and of a cell of a mark."""
BETWEEN = 2
"""Blanks between two columns."""


def show(document: Document, console: Console, *, as_markdown: bool = False) -> None:
    """Print it, on a terminal too as Markdown where that is asked for. Figures are left out on a terminal."""
    if as_markdown or not console.is_terminal:
        console.file.write(markdown.render(document))
        return
    for block in document:
        _show(block, console)


def _show(block: Block, console: Console) -> None:
    match block:
        case Heading():
            console.print(Text(f"\n{block.text}", "bold"))
        case Paragraph():
            console.print(Padding(_inline(block.text), (1, 0, 0, 0)))
        case Bullets():
            for item in block.items:
                grid = Grid.grid(padding=(0, 1))
                grid.add_row("-", _inline(item))
                console.print(grid)
        case Table():
            console.print()
            if block.caption:
                console.print(Text(block.caption, "bold"))
            console.print(_table(block, console.width))
        case Figure():
            pass


def _inline(text: Inline) -> Text:
    made = Text()
    for piece in [text] if isinstance(text, str) else text:
        made.append(piece) if isinstance(piece, str) else made.append(piece.text, STYLES[piece.look])
    return made


def _cell(cell: Cell) -> Text:
    return Text.assemble((cell.text, STYLES[cell.mark]), f" {cell.note}" if cell.note else "")


def _table(table: Table, width: int) -> Grid:
    grid = Grid(box=box.SIMPLE, show_edge=False)
    grid.padding, grid.pad_edge = (0, BETWEEN - 1, 0, 0), False  # the box has a blank of its own
    texts = [[Text(c) for c in table.columns], *([_cell(c) for c in row] for row in table.rows)]
    widths = _widths([[row[i].plain for row in texts] for i in range(len(table.columns))], width)
    for i, column in enumerate(texts[0]):
        grid.add_column(column, justify="right" if i in table.right else "left", width=widths[i], overflow="fold")
    for row in texts[1:]:
        grid.add_row(*row)
    return grid


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Of columns in so much space, by their titles and texts.

    No word is broken where that can be. Names, in the first column, stay on a line; then titles wrap before texts do, and long
    texts before short ones.
    """
    widths = [max((cell_len(w) for text in texts for w in text.split()), default=0) for texts in columns]
    widths[0] = max(map(cell_len, columns[0]))
    left = width - BETWEEN * (len(columns) - 1) - sum(widths)
    while left < 0:
        widths[widths.index(max(widths))] -= 1
        left += 1
    for first in (1, 0):  # without titles, and with them
        lack = {i: max(map(cell_len, texts[first:]), default=0) - widths[i] for i, texts in enumerate(columns)}
        for k, i in enumerate(sorted(lack, key=lambda i: lack[i])):
            more = max(min(lack[i], left // (len(columns) - k)), 0)
            widths[i], left = widths[i] + more, left - more
    return widths
