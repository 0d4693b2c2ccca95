"""What is committed under results/ is what the code makes of the committed records."""

from pathlib import Path

import pytest

from bench.presentation.document import Figure
from bench.records.frame import load_records
from bench.reports.report import document, write_report

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch):
    """Figures are set up but not drawn."""
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())


REPORTS = ("mnist32-cpu", "mnist32-dsno", "cifar10-cpu", "ddpm-mnist32", "mnist32-grids", "mnist32-neighbours")


@pytest.mark.parametrize("name", REPORTS)
def test_a_committed_run_s_report_is_that_of_its_records(name: str, tmp_path: Path):
    made, committed = write_report([RESULTS / name], tmp_path).parent, RESULTS / name / "report"
    assert {p.name for p in made.iterdir()} - {"report.html"} == {p.name for p in committed.iterdir()} - {"report.html"}
    for page in ("report.md", "results.csv"):
        assert (made / page).read_bytes() == (committed / page).read_bytes(), page


def test_each_figure_carries_what_it_draws(tmp_path: Path):
    figures = [b for b in document(load_records([RESULTS / "mnist32-dsno"]), tmp_path) if isinstance(b, Figure)]
    assert len(figures) == 9
    for figure in figures:
        assert figure.data is not None, figure.title
        assert figure.data.to_csv().count("\n") > 1, figure.title
