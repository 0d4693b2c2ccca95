"""Published results: what is shipped, what is compared, and that hollow points stay apart from measured ones."""

import pandas as pd
import pytest
from command import call
from report_fixture import record, write_run

from bench.presentation.document import Figure, Paragraph, Table
from bench.publications.published import DATASETS, GROUPS, listing, published
from bench.records.frame import load_records
from bench.reports.literature_figure import literature_blocks
from bench.reports.sections import sections
from samplers.errors import UserError


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: None)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_row_is_a_number_with_a_source(dataset):
    rows = published(dataset, verified=False)
    assert len(rows) > 200
    assert rows["fid"].gt(0).all()
    assert rows["nfe"].ge(1).all()
    assert rows["source"].ne("").all()
    assert set(rows["source_type"]) == {"primary", "reimplementation", "secondary"}
    assert set(rows["group"]) <= {*GROUPS, ""}
    assert set(published(dataset)["verified"]) == {"yes"}
    # one teacher a group is what makes it comparable (G is a family of checkpoints of one size, E trained its own)
    grouped = rows[rows["group"] != ""]
    assert grouped[~grouped["group"].isin([*"EG"])].groupby("group")["teacher"].nunique().eq(1).all()
    assert grouped.groupby("group")["conditional"].nunique().eq(1).all()
    assert not grouped.duplicated(["group", "method", "nfe"]).any()
    assert not grouped["method"].str.contains("accounting").any()


def test_known_numbers_are_there():
    rows = published("cifar10")
    dsno = rows[(rows["arxiv"] == "2211.13449") & (rows["nfe"] == 1)]["fid"]
    assert 3.78 in set(dsno)
    euler = rows[(rows["group"] == "A") & rows["method"].str.startswith("DDIM (Euler") & (rows["nfe"] == 10)]
    assert set(euler["fid"]) == {15.69}


def test_a_listing_keeps_groups_apart():
    blocks = listing("cifar10", calls=10)
    tables = [b for b in blocks if isinstance(b, Table)]
    assert [t.caption[:7] for t in tables[:4]] == ["Group A", "Group B", "Group C", "Group D"]
    assert all(row[1].value == 10 for t in tables for row in t.rows)
    values = [row[2].value for row in tables[0].rows]
    assert values == sorted(values)
    assert [t.caption[:7] for t in listing("cifar10", group="D") if isinstance(t, Table)] == ["Group D"]


@pytest.mark.parametrize(
    "wrong", [{"dataset": "mnist"}, {"dataset": "cifar10", "group": "Z"}, {"dataset": "cifar10", "calls": 11}]
)
def test_what_was_not_published_is_said(wrong):
    with pytest.raises(UserError) as e:
        listing(**wrong)
    assert "\n" not in str(e.value)


def test_the_command(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "literature", "--dataset", "cifar10", "--calls", "1", "--group", "F")
    assert code == 0
    assert "| SiD | 1 | 1.92 |" in out
    assert call(monkeypatch, capsys, "literature", "--dataset", "mnist")[0] == 2


def test_a_run_is_not_begun_with_literature_that_is_not_there(tmp_path, monkeypatch, capsys):
    words = ("run", "--samplers", "ddim", "--out", str(tmp_path / "run"), "--literature")
    for more, said in ((("mnist",), "there are some of cifar10"), (("cifar10", "--no-report"), "leave out --no-report")):
        code, _, err = call(monkeypatch, capsys, *words, *more)
        assert code == 2
        assert said in err
    assert not (tmp_path / "run").exists()


def drawn(folder, name: str):
    made = record("ddim", 5)
    made["quality"][name] = made["quality"].pop("fd_mnist")
    groups = sections(load_records([write_run(folder / name, [made], images=False)]))
    blocks = literature_blocks(groups, "cifar10", folder)
    (figure,) = (b for b in blocks if isinstance(b, Figure))
    return figure, [b.text for b in blocks if isinstance(b, Paragraph)][-1]


def test_measured_distances_that_are_no_fids_are_not_drawn_beside_them(tmp_path):
    figure, why = drawn(tmp_path, "fd_mnist")
    assert not [label for label in figure.chart.families if label.startswith("measured")]
    assert "in the features of mnist: no FIDs" in why


def test_measured_fids_are_series_of_their_own(tmp_path):
    figure, why = drawn(tmp_path, "fd_inception")
    assert figure.chart.families["measured: ddim"] == "measured"
    assert "Filled points were measured here" in why
    styles = figure.chart.styles
    assert styles["measured: ddim"].fill == "full"
    assert all(s.fill == "none" for label, s in styles.items() if not label.startswith("measured"))
    assert all(s.line == "none" for label, s in styles.items() if label.startswith("group"))
    (panel,) = figure.chart.panels
    lined = panel.points[~panel.points["label"].str.startswith(("group", "measured"))]
    assert lined["label"].str.endswith("[A]").all()  # what is joined is of one group
    assert len(pd.unique(lined["label"])) > 10
    assert panel.points.index.is_unique
