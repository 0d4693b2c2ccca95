"""Tables for papers: LaTeX and CSV of the same document, and figures whose text stays text."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.presentation import latex
from bench.presentation.document import Cell, Heading, Table, cell
from bench.presentation.looks import also_for_papers, drawing

TABLE = Table(
    ["name_1", "value"],
    [[cell("a & b"), Cell("1.00", 1.0001, "best", "(4)")], [cell("c"), Cell("1.01", 1.01, "tie")]],
    [1],
    "Few",
)
WRITTEN = r"""\begin{table}
\centering
\caption{Few}
\begin{tabular}{@{}lr@{}}
\toprule
name\_1 & value \\
\midrule
a \& b & \textbf{1.00} (4) \\
c & \underline{1.01} \\
\bottomrule
\end{tabular}
\end{table}
"""


def test_a_table_as_latex_and_as_values():
    assert latex.table(TABLE) == WRITTEN
    assert latex.values(TABLE) == "name_1,value\na & b,1.0001\nc,1.01\n"


def test_names_of_files_differ():
    other = Table(["x"], [[cell(1)]], (), "Few")
    names = [name for name, _ in latex.tables([Heading(2, "By budget, 5 calls"), TABLE, other, Heading(3, "Few"), other])]
    assert names == ["by_budget_5_calls_few", "by_budget_5_calls_few_2", "few"]


@given(st.text(max_size=40))
def test_no_text_is_a_command(text):
    found = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|dots)\{\}", "", latex.escaped(text)
    )
    found = re.sub(r"\\[{}$&#%_]|\$\\(geq|sigma)\$|\$-\$", "", found)
    assert not re.search(r"[\\{}$&#%_~^]", found)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20), min_size=1, max_size=3))
def test_values_are_read_back(texts):
    read = list(csv.reader(io.StringIO(latex.values(Table(texts, [[Cell(t, t) for t in texts]]))), strict=True))
    assert [row for row in read if row] == [row for row in [texts, texts] if row != [""]] or texts == [""]


def test_figures_for_papers_have_their_text_as_text(tmp_path):
    def draw():
        with drawing(tmp_path / "a.png", height=1) as figure:
            figure.subplots().set_title("Quality & work")

    draw()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    (tmp_path / "paper").mkdir()
    with also_for_papers(tmp_path / "paper"):
        draw()
    assert "Quality &amp; work</text>" in (tmp_path / "paper" / "a.svg").read_text()
    assert b"/FontFile2" in (tmp_path / "paper" / "a.pdf").read_bytes()  # TrueType within, which editors read as text
    with pytest.raises(ValueError, match="x"), also_for_papers(tmp_path / "paper"):
        raise ValueError("x")
    draw()
    assert len(list((tmp_path / "paper").iterdir())) == 2
