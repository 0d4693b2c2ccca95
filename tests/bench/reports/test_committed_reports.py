"""What is committed under results/ is what the code makes of the committed records."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench.reports.report import write_report

RESULTS = Path(__file__).parents[3] / "results"


@pytest.mark.parametrize("name", ["mnist32-cpu", "mnist32-dsno", "cifar10-cpu"])
def test_a_committed_run_s_report_is_that_of_its_records(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **kwargs: Path(path).touch())
    made, committed = write_report([RESULTS / name], tmp_path).parent, RESULTS / name / "report"
    assert {p.name for p in made.iterdir()} == {p.name for p in committed.iterdir()}
    for page in ("report.md", "results.csv"):
        assert (made / page).read_bytes() == (committed / page).read_bytes(), page
