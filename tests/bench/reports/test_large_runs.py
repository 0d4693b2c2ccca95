"""What is said and drawn of very many records: what a person can read, the rest counted, at a cost that grows with them."""

import cProfile
import pstats
import zlib
from pathlib import Path

import numpy as np
import pytest
from report_fixture import record, write_run

from bench.presentation import markdown
from bench.presentation.chart import Chooser, Records
from bench.presentation.document import Document, Figure, Table
from bench.records.frame import load_records
from bench.reports import page, readable, report
from bench.reports.ranking import winner
from bench.reports.sections import Section, sections

CALLS = (2, 5, 10)


def many(folder: Path, settings: int, groups: int = 1) -> Path:
    """A run of two solvers and a student, each at so many settings, at three numbers of calls; without pictures."""
    made = []
    for sampler in ("ddim", "unipc", "dsno"):
        for k in range(settings):
            name = f"{sampler}:end=0.{k:04d}"
            own = {"teacher": {"name": f"teacher{k % groups}", "sha256": f"{k % groups:064x}"}}
            if sampler == "dsno":
                own |= {"student": {"name": f"student{k}", "sha256": f"{k:064x}"}}
                own |= {"training": {"seconds": 60.0, "images": 1000, "device": "a CPU"}}
            for n in CALLS:
                fd = 2 + 60 / n + np.random.default_rng([zlib.crc32(sampler.encode()), k, n]).uniform(0, 9)
                made.append(record(name, n, fd=fd, cell=f"{sampler}{k}_{n}", **own))
    return write_run(folder, made, images=False)


@pytest.fixture
def large(tmp_path: Path, drawn) -> tuple[Document, Section]:
    df = load_records([many(tmp_path / "run", 30)])
    (section,) = sections(df)
    return report.document(df, tmp_path), section


def test_figures_have_as_many_series_as_there_are_colours(large, drawn):
    made, section = large
    (figure,) = [b for b in made if isinstance(b, Figure) and b.title == "Quality against calls"]
    labels = set(figure.data["label"])
    assert len(labels) == readable.SERIES == 24
    styles = [figure.chart.styles[label].color for label in labels]
    assert len(set(styles)) == 24
    for n in CALLS:  # what is best is there
        best = winner(section.scored[section.scored["counted.calls"] <= n])
        assert best.row["label"] in labels
    assert {label.partition(":")[0] for label in labels} == {"ddim", "unipc", "dsno"}
    assert len(drawn["overhead.png"].axes[0].get_yticks()) == 24


def test_what_is_left_out_is_said(large):
    made, _ = large
    text = markdown.render(made)
    assert "of 24 of the 90 series (a sampler at its settings)" in text
    assert "66 more have a larger sum of ranks; results.csv has them." in text
    captions = [b.caption for b in made if isinstance(b, Table)]
    assert "Up to 5 calls (the first 100 of 180 rows)" in captions
    assert all(len(b.rows) <= 100 for b in made if isinstance(b, Table))


def test_all_rows_are_chosen_from_and_those_chosen_are_drawn(large):
    made, section = large
    (chooser,) = [b for b in made if isinstance(b, Chooser)]
    for slider in chooser.sliders:
        assert {row for choice in slider.choices for row in choice.rows} <= {*slider.panel.points.index}
    last = chooser.sliders[0].choices[-1]
    best = winner(section.scored)
    assert set(last.rows) <= {best.row.name, *best.ties}


def test_a_page_holds_the_best_records_and_says_so(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(page, "MOST", 50)
    df = load_records([many(tmp_path / "run", 10)])
    made = report.document(df, tmp_path)
    (records,) = [b for b in made if isinstance(b, Records)]
    assert len(records.shown.rows) == len(records.data) == 50
    assert records.note.startswith("50 of 90 records")
    kept = records.data["quality.fd_mnist.value"]
    assert kept.max() == df["quality.fd_mnist.value"].nsmallest(50).max()


def test_of_the_groups_of_many_records_the_largest_is_told_in_full(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(report, "MANY", 40)
    made = report.document(load_records([many(tmp_path / "run", 5, groups=3)]), tmp_path)
    assert "only the largest of 3 groups is told in full" in markdown.render(made)
    assert len([b for b in made if isinstance(b, Chooser)]) == 1
    budgets = [b for b in made if isinstance(b, Table) and b.columns == ["sampler", "2 calls", "5 calls", "10 calls"]]
    assert len(budgets) == 3


def test_the_work_of_a_report_grows_less_than_its_records(tmp_path, drawn):
    """Calls of functions, which no clock disturbs: four times the records take less than twice as many."""
    work = []
    for settings in (10, 40):
        df = load_records([many(tmp_path / f"run{settings}", settings)])
        profile = cProfile.Profile()
        profile.runcall(report.document, df, tmp_path)
        work.append(pstats.Stats(profile).total_calls)
    assert work[1] < 2 * work[0]
