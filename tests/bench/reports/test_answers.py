"""Answers end where the measurements do, and explain their ties."""

import re

import numpy as np
import pytest
from report_fixture import record
from told_reports import caption, report, section

from bench.presentation.document import Table
from bench.reports.setting_tables import setting_tables


@pytest.mark.usefixtures("drawn")
def test_answers_end_where_the_plan_does(tmp_path):
    rows = [record(s, n, fd=(9 if s == "ddim" else 8) / n) for s in ("ddim", "unipc") for n in (2, 4, 8)]
    made, text = report(tmp_path, *rows)
    assert [int(n) for n in re.findall(r"\*\*At most (\d+) calls", text)] == [4, 8]
    assert "| sampler | 2 calls | 4 calls | 8 calls |" in text
    assert re.findall(r"Smallest with at most (\d+) calls", caption(made, "Trajectory error against calls")) == ["4", "8"]


@pytest.mark.usefixtures("drawn")
def test_few_images_are_said_to_tell_little(tmp_path):
    """Distances have no intervals, and are told apart by influence values alone, or not at all."""
    rows = [record("ddim", 5, fd=3.0), record("euler", 5, fd=3.5), record("ddim", 10, fd=2.9)]
    for r in rows:
        r["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None, "n": 64}
    r = np.random.default_rng(0)
    influence = {x["cell"]: 0.2 * r.normal(0, 1, 500) for x in rows}  # standard error of a difference: 0.0126
    made, text = report(tmp_path, *rows, influence=influence)
    assert "What 64 images can tell: of the differences tested" in text
    assert "takes at least ten images a feature" in caption_of_blanks(text)
    assert "Bars" not in caption(made, "Quality against calls")
    assert "95 % intervals of the Frechet distance" not in text
    _, text = report(tmp_path / "untested", *rows)
    assert "no two rows could be tested against each other, so none is called best" in text
    assert " is best" not in text
    assert "Brackets give the 10th" in text


def caption_of_blanks(text: str) -> str:
    return text.partition("Blank cells:")[2]


@pytest.mark.usefixtures("drawn")
def test_captions_speak_of_intervals_where_they_are_drawn(tmp_path):
    made, _ = report(tmp_path, *(record("ddim", n) for n in (5, 10)))
    assert "Bars are 95 % intervals." in caption(made, "Quality against calls")


@pytest.mark.usefixtures("drawn")
def test_ties_that_skip_a_nearer_row_are_explained(tmp_path):
    """Of the best, the second differs by little that varies little, the third by more that varies much."""
    rows = [record(s, 5, fd=fd) for s, fd in (("ddim", 3.0), ("euler", 3.1), ("unipc", 3.2))]
    r = np.random.default_rng(0)
    influence = {x["cell"]: r.normal(0, sd, 500) for x, sd in zip(rows, (0.1, 0.1, 10.0), strict=True)}
    _, text = report(tmp_path, *rows, influence=influence)
    why = "Nearer to ddim (5) than some of its ties and yet not tied: euler (5); paired image by image, that difference varies"
    assert text.count(why) == 4  # in both answers, under the summary, above the table
    _, text = report(tmp_path / "well", *rows)
    assert "Nearer to" not in text


def test_the_least_error_of_a_table_of_settings_is_tied_with_what_its_interval_meets(tmp_path):
    """Intervals of 5 %."""
    rows = [record(s, 10, tables=["tuned"], end=0.01, last_step="zero") for s in ("ddim", "unipc", "deis")]
    for r, error in zip(rows, (0.100, 0.108, 0.112), strict=True):
        ends = {"value": error, "ci_low": 0.95 * error, "ci_high": 1.05 * error}
        r["quality"]["trajectory_error"] |= ends
    blocks = setting_tables(section(tmp_path, *rows), ["tuned"])
    (table,) = [b for b in blocks if isinstance(b, Table) and b.caption == "trajectory error"]
    assert {row[0].text: row[1].mark for row in table.rows} == {"ddim": "best", "unipc": "tie", "deis": ""}


def test_a_table_of_settings_keeps_rows_apart_that_only_their_settings_tell(tmp_path):
    """One sampler at one setting for each number of calls is a row; at two settings for the same number it is two."""
    names = ("ipndm:grid=gits", "ipndm:grid=karras", "ddim:end=0.02")
    rows = [record(s, 10, tables=["grids"], end=0.01, last_step="zero") for s in names]
    rows.append(record("ddim:end=0.01", 5, tables=["grids"], end=0.01, last_step="zero"))
    blocks = setting_tables(section(tmp_path, *rows), ["grids"])
    (table,) = [b for b in blocks if isinstance(b, Table) and b.caption == "trajectory error"]
    assert [row[0].text for row in table.rows] == ["ddim", "ipndm:grid=gits", "ipndm:grid=karras"]
