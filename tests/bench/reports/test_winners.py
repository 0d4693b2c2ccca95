"""Which rows are better: frontiers, differences and their errors, the best of a selection."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import record, write_run
from told_reports import text_of

from bench.records.differences import Difference, difference
from bench.records.frame import load_records
from bench.reports.ranking import pareto, winner
from bench.reports.report import write_report
from bench.reports.sections import sections


def test_pareto_keeps_what_nothing_beats():
    df = pd.DataFrame({"x": [1, 2, 2, 3, 4, 4, 1, np.nan], "y": [9.0, 5, 6, 5, 2, 2, 9, 0]}, index=list("abcdefgh"))
    assert pareto(df, "x", "y").to_dict() == dict(zip("abcdefgh", [1, 1, 0, 0, 1, 1, 1, 0], strict=True))


@given(
    st.lists(st.tuples(*[st.sampled_from([1.0, 2.0, 3.0, np.nan])] * 2, st.sampled_from([0.0, 0.5, 1.0, np.nan])), max_size=8)
)
def test_pareto_is_what_its_words_say(points):
    """Held against all pairs."""
    df = pd.DataFrame(points, columns=["x", "y", "wide"])
    df = df.assign(low=df["x"] - df["wide"], high=df["x"] + df["wide"])
    rows = list(df.fillna({"low": df["x"], "high": np.inf}).itertuples())

    def beaten(a) -> bool:
        return any((b.y < a.y and b.low <= a.high) or (b.y == a.y and b.high < a.low) for b in rows if b.x == b.x)

    told = [a.x == a.x and a.y == a.y and not beaten(a) for a in rows]
    assert pareto(df, "x", "y", x_ends=("low", "high")).tolist() == told


def pair(tmp_path: Path, shared: float, **changes) -> pd.DataFrame:
    """Two cells 0.05 apart with intervals of +-0.2, whose influence values share a part of the given size."""
    r = np.random.default_rng(0)
    common = r.normal(0, 1, 500)
    records = [record("ddim", 10, fd=3.0, se=0.1), record("heun", 5, fd=3.05, se=0.1, **changes)]
    influence = {x["cell"]: shared * common + r.normal(0, 0.1, 500) for x in records}
    return sections(load_records([write_run(tmp_path / "a", records, influence, images=False)]))[0].scored


def test_paired_differences_find_what_intervals_hide(tmp_path):
    rows = pair(tmp_path, shared=2.0)
    d = difference(rows.iloc[0], rows.iloc[1])
    assert d.paired
    assert not d.tie
    assert d.se == pytest.approx(np.sqrt(2) * 0.1 / np.sqrt(500), rel=0.2)


@pytest.mark.parametrize(("value", "se"), [(np.nan, 0.1), (1.0, np.nan), (np.nan, np.nan)])
def test_a_difference_that_is_no_number_claims_no_win(value, se):
    assert Difference(value, se, True, 0.0).tie


def test_another_seed_is_not_paired_and_ties(tmp_path):
    rows = pair(tmp_path, shared=2.0, seed=1)
    d = difference(rows.iloc[0], rows.iloc[1])
    assert not d.paired
    assert d.tie
    assert d.se == pytest.approx(np.sqrt(2) * 0.1)


@pytest.mark.usefixtures("undrawn")
def test_without_influence_files_the_intervals_decide(tmp_path):
    near = text_of(tmp_path / "near", record("ddim", 10, fd=3.0, se=0.1), record("euler", 10, fd=3.05, se=0.1))
    assert "**3.00 [2.80, 3.20]**" in near
    assert "<u>3.05 [2.85, 3.25]</u>" in near
    far = text_of(tmp_path / "far", record("ddim", 10, fd=3.0, se=0.01), record("euler", 10, fd=3.05, se=0.01))
    assert "<u>3" not in far
    assert "Nothing else is statistically tied with it." in far


def test_many_differences_are_those_one_by_one(tmp_path):
    """Near and far, paired and not, with and without intervals."""
    r = np.random.default_rng(0)
    records = [record("ddim", n, fd=3.0 + d, se=0.1) for n, d in enumerate((0.0, 0.05, 0.2, 0.5, 5.0, 6.0), 1)]
    records += [record("heun", 5, fd=3.1, se=0.1, seed=1), record("deis", 5, fd=3.1)]
    common = r.normal(0, 2, 500)
    kept = [x["cell"] for x in records if x["sampler"] != "deis" and x["steps"] != 6]
    influence = {cell: common + r.normal(0, 0.1, 500) for cell in kept}
    records[-1]["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None}
    rows = sections(load_records([write_run(tmp_path / "a", records, influence, images=False)]))[0].scored
    best = winner(rows)
    assert len(best.differences) == len(records) - 1
    for index, found in best.differences.iterrows():
        d = difference(best.row, rows.loc[index])
        assert (found["value"], found["known"], found["tie"], found["paired"]) == (d.value, d.known, d.tie, d.paired)


def test_a_damaged_influence_file_is_not_used(tmp_path):
    rows = pair(tmp_path, shared=2.0)
    (tmp_path / "a" / "influence" / f"{rows.iloc[0]['cell']}.npy").write_bytes(b"\x93NUMPY")
    assert not difference(rows.iloc[0], rows.iloc[1]).paired


@pytest.mark.usefixtures("undrawn")
def test_no_interval_means_no_win_is_claimed(tmp_path):
    records = [record("ddim", 10, fd=3.0), record("euler", 10, fd=3.001)]
    for r in records:
        r["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None}
    text = text_of(tmp_path / "a", *records)
    assert (
        "**At most 10 calls: ddim** (10 calls, 10 teacher-equivalents) has the smallest Frechet distance, 3.00. Nothing else"
        in text
    )
    assert " is best" not in text
    assert "| **" not in text
    assert "<u>" not in text
    assert "(Frechet distance)" not in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "change",
    [
        {"teacher": {"name": "other", "sha256": "b" * 64}},
        {"labels": "none"},
        {"quality": {"fd_mnist": record("ddim", 1)["quality"]["fd_mnist"] | {"n": 1000}}},
        {"quality": {"fd_mnist": record("ddim", 1)["quality"]["fd_mnist"] | {"extractor_sha256": "0" * 64}}},
        {"quality": {"fd_mnist": record("ddim", 1)["quality"]["fd_mnist"] | {"reference_sha256": "0" * 64}}},
    ],
)
def test_rows_of_different_keys_are_never_ranked_together(tmp_path, change):
    one = [record("ddim", n, fd=10 / n) for n in (5, 10)]
    other = [record("euler", n, fd=1 / n) | change for n in (5, 10)]
    runs = [write_run(tmp_path / "a", one), write_run(tmp_path / "b", other)]
    found = sections(load_records(runs))
    assert sorted(tuple(set(s.rows["sampler"])) for s in found) == [("ddim",), ("euler",)]
    text = write_report(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert "ranked apart" in text
    assert "## Group 1: " in text
    assert "| **" not in text  # alone in its band, no row is the best of anything
    assert "](quality_calls_2.png)" in text


def test_seeds_and_batch_sizes_tell_series_apart(tmp_path):
    rows = [record("ddim", n, cell=f"{n}{s}{b}", seed=s, batch_size=b) for n in (5, 10) for s in (0, 1) for b in (1, 64)]
    section = sections(load_records([write_run(tmp_path / "a", rows)]))[0]
    assert set(section.rows["label"]) == {"ddim [seed 0]", "ddim [seed 1]"}
    assert set(section.rows["timed"]) == {f"ddim [seed {s}, batch {b}]" for s in (0, 1) for b in (1, 64)}
    assert len(section.scored) == 4  # the batch size does not change the images


def test_the_best_of_equals_has_the_fewest_calls(tmp_path):
    rows = [record("ddim", 10, fd=3.0), record("ddim", 5, fd=3.0), record("euler", 5, fd=3.0)]
    best = winner(sections(load_records([write_run(tmp_path / "a", rows)]))[0].scored)
    assert best is not None
    assert (best.row["sampler"], best.row["steps"], len(best.ties)) == ("ddim", 5, 2)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("better", ["higher", "lower"])
def test_rows_are_ranked_by_what_their_records_name_in_its_direction(tmp_path, monkeypatch, better):
    """The Frechet distances say the opposite, and rows of another run, that names nothing, are ranked by them."""
    rows = [record("ddim", n, fd=fd) for n, fd in ((5, 30.0), (10, 20.0))] + [record("unipc", 5, fd=40.0)]
    for r, value in zip(rows, (0.6, 0.85, 0.9), strict=True):
        ends = {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
        r["quality"]["precision_mnist"] = r["quality"]["fd_mnist"] | ends
    runs = [write_run(tmp_path / "a", rows), write_run(tmp_path / "b", [record("heun", 5, fd=1.0)])]

    def loaded(folders):
        df = load_records(folders)
        own = df["run"] == str(runs[0])
        return df.assign(**{"rank_by.metric": own.map({True: "precision"}), "rank_by.better": own.map({True: better})})

    monkeypatch.setattr("bench.reports.report.load_records", loaded)
    text = write_report(runs, tmp_path / "report").read_text(encoding="utf-8")
    name, value, larger = ("unipc", 0.9, "larger") if better == "higher" else ("ddim", 0.6, "smaller")
    shown = f"{value:.3f} [{value - 0.01:.3f}, {value + 0.01:.3f}]. Nothing else"
    assert f"**At most 5 calls: {name}** (5 calls, 5 teacher-equivalents) is best, with a precision of {shown}" in text
    assert f"Precision in the features of extractor mnist (precision_mnist), {larger} is better." in text
    assert "**At most 9 calls: heun** (9 calls, 9 teacher-equivalents) has a Frechet distance of 1.00" in text
    assert text.count("It is not FID") == 1  # told of the other group alone
    front = {"higher": "unipc (5)", "lower": "ddim (5)"}[better]
    assert f"On the frontier, by calls from left to right: {front}." in text
