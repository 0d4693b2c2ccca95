"""The page of two runs: what may be compared, why not, and both on one pair of axes only where they may be."""

import pytest
from command import call
from report_fixture import record, write_run

from bench.comparison.page import document
from bench.comparison.runs import compare_runs
from bench.presentation import markdown
from bench.presentation.document import Bullets, Figure, Paragraph, Table
from bench.records.versions import signed, upgrade

CELLS = [("ddim", 5, 8.0), ("ddim", 10, 4.0), ("heun", 5, 6.0)]


@pytest.fixture
def pages(tmp_path):
    def make(second: dict, **quality):
        a = [record(s, n, fd=fd) for s, n, fd in CELLS]
        b = [record(s, n, fd=fd, **second) for s, n, fd in CELLS]
        for r in b if quality else []:
            r["quality"]["fd_mnist"] |= quality
        folders = [write_run(tmp_path / name, rows, images=False) for name, rows in (("one", a), ("two", b))]
        return document(compare_runs(*folders, 0.05), *folders)

    return make


def told(blocks, kind):
    return [b for b in blocks if isinstance(b, kind)]


def test_equal_runs_share_their_axes(pages):
    blocks = pages({})
    conditions = {row[0].text: row[3].text for row in told(blocks, Table)[0].rows}
    assert set(conditions.values()) == {"same"}
    assert "Nothing that both runs tell differs" in told(blocks, Paragraph)[1].text
    (figure,) = told(blocks, Figure)
    assert set(figure.chart.families) == {"ddim, A", "ddim, B", "heun, A", "heun, B"}
    calls, _ = figure.chart.panels
    assert calls.points.index.is_unique
    assert {label: list(own["y"]) for label, own in calls.points.groupby("label")}["ddim, B"] == [8.0, 4.0]
    assert figure.chart.styles["ddim, B"].color == figure.chart.styles["ddim, A"].color
    assert figure.chart.styles["ddim, B"].fill == "none"
    assert figure.chart.about[10**6][0] == "run B"


@pytest.mark.parametrize(
    ("second", "quality", "condition", "why"),
    [
        ({"images": 600}, {"n": 600}, "images a cell", "falls with the number of images"),
        ({}, {"extractor_sha256": "d" * 64}, "extractor", "another scale"),
        ({}, {"reference_sha256": "d" * 64}, "reference images", "distances to other images"),
        ({"teacher": {"name": "mnist32", "sha256": "b" * 64}}, {}, "teacher's weights", "other weights make other images"),
    ],
)
def test_why_two_distances_differ_is_said_and_they_share_no_axes(pages, second, quality, condition, why):
    blocks = pages(second, **quality)
    (row,) = (row for row in told(blocks, Table)[0].rows if row[0].text == condition)
    assert (row[3].text, row[3].mark) == ("differs", "heed")
    (bullets,) = told(blocks, Bullets)
    assert any(why in item for item in bullets.items)
    assert [{label[-1] for label in f.chart.families} for f in told(blocks, Figure)] == [{"A"}, {"B"}]


def test_another_rounding_or_machine_shares_the_axes_of_quality(pages):
    blocks = pages({"precision": "bf16", "device": "cuda", "seed": 1})
    text = " ".join(told(blocks, Bullets)[0].items)
    assert all(why in text for why in ("rounding differs while sampling", "times of two devices", "compared as independent"))
    assert len(told(blocks, Figure)) == 1


def test_runs_without_quality_have_a_page_that_says_so(pages):
    blocks = pages({"quality": None})
    assert [{label[-1] for label in f.chart.families} for f in told(blocks, Figure)] == [{"A"}]
    assert told(blocks, Table)


def test_the_command_writes_it(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        write_run(tmp_path / name, [record("ddim", 5)], images=False)
    words = ("compare", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "out"))
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 0
    assert "comparison.html" in err
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert '<h1 id="one-beside-two">one beside two</h1>' in page


def test_records_edited_by_hand_are_said_to_be(tmp_path):
    lines = [signed(upgrade(record("ddim", 5, fd=8.0)))]
    a = write_run(tmp_path / "one", lines, images=False)
    lines[0]["seed"] = 1
    b = write_run(tmp_path / "two", lines, images=False)
    said = markdown.render(document(compare_runs(a, b, 0.05), a, b))
    assert "**Run B: 1 of 1 records were edited by hand" in said
    assert "Run A:" not in said
