"""Charts of a page: the rows of its figures, all of them, with captions that fit."""

import pytest
from report_fixture import record, write_run

from bench.presentation import html
from bench.presentation.document import Figure
from bench.records.frame import load_records
from bench.reports.charts import charted
from bench.reports.report import document, write_report
from bench.reports.sections import sections

ROWS = [record("ddim", n, fd=fd) for n, fd in ((1, 90.0), (5, 8.0), (10, 4.0), (50, 2.0))] + [record("heun", 3, fd=900.0)]
OTHER = {"name": "other", "sha256": "b" * 64}


@pytest.fixture
def section(tmp_path):
    (found,) = sections(load_records([write_run(tmp_path / "run", ROWS, images=False)]))
    return found


def figure(section, caption: str) -> Figure:
    rows = section.scored
    ends = {f"{own}{end}": rows[c] for own, c in (("x", "counted.calls"), ("y", "fd")) for end in ("", "_low", "_high")}
    data = rows[["label"]].assign(**ends, x_most=ends["x"], axis="network calls, log scale")
    return charted(section, Figure("Quality", "quality.png", caption, data))


def test_a_chart_shows_every_row_and_its_caption_leaves_none_out(section):
    text = "First. Off the axes, where the arrows point: heun (3), 9.00e2; dpm (5), 3.73. Bars are 95 % intervals."
    found = figure(section, text)
    (panel,) = found.chart.panels
    assert len(panel.points) == len(ROWS)
    assert found.chart.caption == "First. Bars are 95 % intervals."
    assert found.caption == text  # the picture's
    assert panel.x_title == "network calls"
    lines = {line.name: line for line in panel.lines}
    assert list(lines["frontier of all"].y) == [90.0, 8.0, 4.0, 2.0, 2.0]
    assert list(lines["best at ≥ 50 calls"].y) == [2.0, 2.0]
    assert "frontier without training" not in lines  # nothing is trained


def test_what_is_pointed_at_is_told_without_markup(section):
    section.rows.loc[:, "grid"] = "<b>&"
    told = figure(section, "").chart.about
    assert len(told) == len(ROWS)
    assert all("grid &lt;b>&amp;" in lines for lines in told.values())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([record("ddim", 5, quality=None)], "No Frechet distance was measured"),
        ([record("ddim", 5, time=None), record("ddim", 10, time=None)], "At most 5 calls: "),
        (
            [record("ddim", 5, teacher={"name": "other", "sha256": "b" * 64}), record("heun", 5)],
            "so their rows are ranked apart",
        ),
    ],
    ids=["no quality", "no time", "two teachers"],
)
def test_runs_that_lack_something_have_a_page_that_says_so(tmp_path, rows, said):
    run = write_run(tmp_path / "run", rows, images=False)
    with open(run / "records.jsonl", "a") as file:
        file.write('{"schema": 1, "run_id": "cut sho')  # as a kill leaves it
    page = write_report([run]).with_suffix(".html").read_text()
    assert said in page
    assert f"{len(rows)} cell" in page


def test_the_same_records_give_the_same_page(tmp_path):
    run = write_run(tmp_path / "run", ROWS, images=False)
    pages = [html.render(document(load_records([run]), tmp_path), tmp_path) for _ in range(2)]
    assert pages[0] == pages[1]
