"""A document as Markdown, of the kind that GitHub shows."""

import re

from bench.presentation.document import Block, Bullets, Cell, Document, Figure, Heading, Inline, Paragraph, Span, Table

AROUND = {
    "strong": ("**", "**"), "emphasis": ("*", "*"), "underlined": ("<u>", "</u>"),
    "": ("", ""), "best": ("**", "**"), "tie": ("<u>", "</u>"), "heed": ("**", "**"),
}  # fmt: skip
"""What stands before and behind a span of a look, and a cell of a mark."""
SPECIAL = re.compile(r"[\\|`<&]|\*(?=\S)|(?<![^\W_])_|](?=\()|~(?=~)")
"""What would begin code, HTML, emphasis, a link or another cell; not an underscore within a word, or a bracket alone."""


def render(document: Document) -> str:
    """The whole page, with a newline at its end."""
    return "\n\n".join(filter(None, map(_block, document))) + "\n"


def escaped(text: str) -> str:
    """Text that shows as it is, on one line; what no reader can see becomes a replacement character."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in re.sub(r"\s+", " ", text))
    return SPECIAL.sub(r"\\\g<0>", line)


def _span(span: Span) -> str:
    if span.look == "code":  # nothing is escaped in it: its fence is longer than any in the text
        fence = "`" * (1 + max(map(len, re.findall("`+", span.text)), default=0))
        return f"{fence}{span.text}{fence}"
    text = escaped(span.text)
    if span.look == "link":
        return f"[{text}]({span.target})"
    before, behind = AROUND[span.look]
    return f"{before}{text}{behind}"


def _inline(text: Inline) -> str:
    return "".join(
        escaped(piece) if isinstance(piece, str) else _span(piece) for piece in ([text] if isinstance(text, str) else text)
    )


def _cell(cell: Cell) -> str:
    before, behind = AROUND[cell.mark]
    text = f"{before}{escaped(cell.text)}{behind}"
    return f"{text} {escaped(cell.note)}" if cell.note else text


def _table(table: Table) -> str:
    rule = ["---:" if i in table.right else "---" for i in range(len(table.columns))]
    lines = [[escaped(c) for c in table.columns], rule, *([_cell(c) for c in row] for row in table.rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{escaped(table.caption)}**\n\n{text}" if table.caption else text


def _figure(figure: Figure) -> str:
    title = escaped(figure.title)
    if figure.file is None:
        return f"**{title}**: no figure, because {_inline(figure.caption)}"
    picture = f"![{title}]({figure.file})"
    return f"{picture}\n\n*{title}.* {_inline(figure.caption)}" if figure.caption else picture


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escaped(block.text)}"
        case Paragraph():
            return _inline(block.text)
        case Bullets():
            return "\n".join(f"- {_inline(item)}" for item in block.items)
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)
    return ""  # what can only be played with
