"""The tables of a document for a paper: LaTeX with booktabs, and CSV, a file each."""

import csv
import io
import re
from collections.abc import Iterator

from bench.presentation.document import Cell, Document, Heading, Table

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "\u2013": "--", "\u2014": "---", "\u2026": r"\dots{}", "\u2265": r"$\geq$", "\u2212": "$-$", "\u03c3": r"$\sigma$",
}  # fmt: skip
MARKS = {"best": r"\textbf{%s}", "tie": r"\underline{%s}", "heed": r"\textit{%s}", "": "%s"}


def escaped(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(SPECIAL.get(c, c if c.isprintable() else "?") for c in re.sub(r"\s+", " ", text))


def tables(document: Document) -> Iterator[tuple[str, Table]]:
    """Its tables with a file name for each, of the heading above and the caption, and the same for the same document."""
    heading, taken = "table", set[str]()
    for block in document:
        if isinstance(block, Heading):
            heading = block.text
        if isinstance(block, Table):
            words = f"{heading} {block.caption}" if block.caption and block.caption != heading else heading
            base = re.sub(r"\W+", "_", words.lower()).strip("_")[:60]
            name = next(n for i in range(len(taken) + 1) if (n := f"{base}_{i + 1}" if i else base) not in taken)
            taken.add(name)
            yield name, block


def table(block: Table) -> str:
    r"""A table environment; its preamble needs \usepackage{booktabs}."""
    alignment = "".join("r" if i in block.right else "l" for i in range(len(block.columns)))
    head = " & ".join(map(escaped, block.columns))
    rows = "".join(f"{' & '.join(map(_cell, row))} \\\\\n" for row in block.rows)
    caption = f"\\caption{{{escaped(block.caption)}}}\n" if block.caption else ""
    begin = f"\\begin{{table}}\n\\centering\n{caption}\\begin{{tabular}}{{@{{}}{alignment}@{{}}}}\n\\toprule\n"
    return f"{begin}{head} \\\\\n\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"


def _cell(cell: Cell) -> str:
    text = MARKS[cell.mark] % escaped(cell.text)
    return f"{text} {escaped(cell.note)}" if cell.note else text


def values(block: Table) -> str:
    """The same as CSV: numbers as they were measured, else the text."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(block.columns)
    writer.writerows([c.value if isinstance(c.value, int | float | str) else c.text for c in row] for row in block.rows)
    return file.getvalue()
