"""The README's numbers are those of the committed records."""

from pathlib import Path

import pytest

from bench.report_data import load_records, sections
from bench.tables import summary_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "mnist32-cpu"
README = (ROOT / "README.md").read_text()


def test_the_table_is_the_records():
    (section,) = sections(load_records([RESULTS]))
    assert summary_table(section) in README


@pytest.mark.parametrize("name", ["quality_calls.png", "trajectory_error.png", "samples.png"])
def test_its_figures_are_the_report_s(name: str):
    assert f"results/mnist32-cpu/report/{name}" in README
    assert (RESULTS / "report" / name).stat().st_size > 0


def test_the_run_is_at_full_scale():
    frame = load_records([RESULTS])
    assert set(frame["status"]) == {"ok"}
    assert frame["images"].min() >= 5000
    assert frame["counted.calls"].min() == 1
    assert frame["counted.calls"].max() == 50
