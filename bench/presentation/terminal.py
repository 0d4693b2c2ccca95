"""A document on a terminal, at whatever width it has; where there is none (a pipe, a file), Markdown."""

from rich import box
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


def show(document: Document, console: Console) -> None:
    """Print it. Figures are left out on a terminal."""
    if not console.is_terminal:
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
            console.print(_table(block))
        case Figure():
            pass


def _inline(text: Inline) -> Text:
    made = Text()
    for piece in [text] if isinstance(text, str) else text:
        made.append(piece) if isinstance(piece, str) else made.append(piece.text, STYLES[piece.look])
    return made


def _cell(cell: Cell) -> Text:
    return Text.assemble((cell.text, STYLES[cell.mark]), f" {cell.note}" if cell.note else "")


def _table(table: Table) -> Grid:
    grid = Grid(title=table.caption or None, box=box.SIMPLE, title_justify="left", pad_edge=False)
    for i, column in enumerate(table.columns):
        grid.add_column(Text(column), justify="right" if i in table.right else "left", no_wrap=i == 0, overflow="fold")
    for row in table.rows:
        grid.add_row(*map(_cell, row))
    return grid
