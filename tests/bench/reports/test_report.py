from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_fixture import failed, full_run, record, write_run
from shaken_records import shaken_records

from bench.presentation import markdown
from bench.records.differences import Difference, difference
from bench.records.frame import load_records
from bench.records.schema import Counted
from bench.records.scores import TrajectoryError
from bench.records.versions import signed, upgrade
from bench.reports.advice_text import recommendation
from bench.reports.budget import Budget
from bench.reports.ranking import pareto, winner
from bench.reports.report import write_report
from bench.reports.sections import sections
from bench.reports.tables import summary_table
from samplers.errors import UserError


def text_of(folder: Path, *records, **more) -> str:
    return write_report([write_run(folder, list(records), **more)]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    return write_report([full_run(tmp_path_factory.mktemp("runs") / "full")])


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are set up but not drawn, which takes most of a report's time."""
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())


# ------------------------------------------------------------------ loading


def test_records_become_a_flat_table(tmp_path):
    df = load_records([write_run(tmp_path / "a", [record("ddim", 5, fd=7.0), failed("heun", 5, "NaN")])])
    assert df["counted.calls"].tolist()[0] == 5
    assert df["quality.fd_mnist.value"].tolist()[0] == 7.0
    assert df["time.latency_ms.median"].notna().tolist() == [True, False]
    assert "quality" not in df
    assert "student" not in df


def test_a_line_cut_off_while_written_is_ignored(tmp_path):
    run = write_run(tmp_path / "a", [record("ddim", 5), record("ddim", 10)])
    path = run / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    assert load_records([run])["steps"].tolist() == [5]


def test_records_edited_by_hand_are_said_to_be(tmp_path, undrawn):
    lines = [signed(upgrade(record(s, 5, fd=fd))) for s, fd in (("ddim", 7.0), ("heun", 9.0))]
    run = write_run(tmp_path / "a", lines, images=False)
    said = "1 of 2 records were edited by hand: the hash in their line is not that of what they hold (heun_n5_b64_fp32_eager)"
    for told in (write_report([run]).read_text(), markdown.render(recommendation(load_records([run]), Budget(calls=9))[0])):
        assert "by hand" not in told
    lines[1]["quality"]["fd_mnist"]["value"] = 1.0
    run = write_run(tmp_path / "b", lines, images=False)
    page = write_report([run])
    for told in (page.read_text(), markdown.render(recommendation(load_records([run]), Budget(calls=9))[0])):
        assert said in told.replace("\\", "")
    assert pd.read_csv(page.parent / "results.csv")["edited"].tolist() == [False, True]


def test_only_the_last_record_of_a_cell_counts(tmp_path):
    df = load_records([write_run(tmp_path / "a", [failed("ddim", 5, "out of memory"), record("ddim", 5)])])
    assert df["status"].tolist() == ["ok"]


def test_the_same_folder_twice_is_one_run(tmp_path):
    run = write_run(tmp_path / "a", [record("ddim", 5)])
    assert len(load_records([run, tmp_path / "a" / "." / "samples" / ".."])) == 1


@pytest.mark.parametrize(
    "content", [b"", b"not a record\n", b"[1]\n", b"{}\n", b'{"schema": 1}\n', b'{"schema": 7}\n', b"\xff\xfe\n"]
)
def test_what_is_not_records_is_the_users_mistake(tmp_path, content):
    (tmp_path / "records.jsonl").write_bytes(content)
    with pytest.raises(UserError) as e:
        load_records([tmp_path])
    assert "\n" not in str(e.value)


def test_no_records_names_the_fix(tmp_path):
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(UserError, match="bench run"):
        load_records([tmp_path])
    with pytest.raises(UserError, match="bench run"):
        load_records([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="bench run"):
        load_records([])


# ------------------------------------------------------------------ ranking


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


# ------------------------------------------------------------------ another metric than the Frechet distance


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


# ------------------------------------------------------------------ the report


@pytest.mark.usefixtures("undrawn")
def test_answer_in_plain_words(tmp_path):
    rows = [record("ddim", n, fd=fd) for n, fd in ((5, 30.0), (10, 12.0), (20, 5.0), (50, 2.0))]
    rows += [record("unipc", n, fd=fd) for n, fd in ((5, 9.0), (10, 2.15), (20, 2.11))]
    text = text_of(tmp_path / "a", *rows)
    assert "**At most 5 calls: unipc** (5 calls, 5 teacher-equivalents) is best, with a Frechet distance of 9.00 [" in text
    assert "**Cheapest within 1.1 times the best quality: unipc** (10 calls" in text
    assert "against 2.00 of the best measured, ddim (50 calls" in text
    assert "On the frontier, by calls from left to right: unipc (5, 10, 20), ddim (50)." in text
    assert "dashed line is the only quality measured with at least 50 calls: 2.00 (ddim, 50 calls)" in text


def test_full_report(full):
    text, folder = full.read_text(encoding="utf-8"), full.parent
    assert "Frechet distance in the features of extractor mnist (fd_mnist)" in text
    assert "It is not FID" in text
    assert "With one call these coincide" in text
    assert "| unipc | 100 | unipc_n100_b64_fp32_eager | mnist32-1a2b3c4d | failed | out of memory: tried to" in text
    assert "the sampler draws noise on the way" in text
    shown = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert shown == [
        "quality_calls.png",
        "quality_teacher_equivalents.png",
        "quality_ms.png",
        "trajectory_error.png",
        "samples.png",
        "overhead.png",
    ]
    for name in shown:
        with Image.open(folder / name) as image:
            assert image.width == 1080
            assert np.asarray(image.convert("L")).std() > 1
        assert f"]({name})\n\n*" in text  # each with a caption


def test_csv_has_a_row_a_record_in_a_stable_order(full):
    df = pd.read_csv(full.parent / "results.csv")
    assert len(df) == len(load_records([full.parent.parent]))
    assert df.columns[:4].tolist() == ["run", "run_id", "cell", "sampler"]
    assert {"quality.fd_mnist.value", "environment.packages.torch", "counted.calls"} <= set(df)
    assert (df["status"] == "failed").sum() == 1
    assert not df["run"].str.contains("/").any()


def test_same_records_same_bytes(tmp_path):
    rows = [record("ddim", 5), record("heun", 5), failed("unipc", 5, "NaN")]
    made = [write_report([write_run(tmp_path / x / "run", rows)]) for x in "ab"]
    for name in ("report.md", "results.csv", "quality_calls.png"):
        assert len({(m.parent / name).read_bytes() for m in made}) == 1


@pytest.mark.usefixtures("undrawn")
def test_order_of_runs_does_not_matter(tmp_path):
    runs = [write_run(tmp_path / "a", [record("ddim", n) for n in (5, 10)]), write_run(tmp_path / "b", [record("heun", 5)])]
    made = [write_report(r, tmp_path / f"out{i}") for i, r in enumerate((runs, runs[::-1]))]
    for name in ("report.md", "results.csv"):
        assert len({(m.parent / name).read_bytes() for m in made}) == 1


def test_a_figure_without_data_says_why(tmp_path):
    bare = record("ddpm", 5) | {"time": None}
    text = text_of(tmp_path / "a", bare, images=False)
    assert "![" not in text
    assert "**Quality against calls**: no figure, because fewer than two different values of calls were measured." in text
    assert "**Overhead**: no figure, because no overhead was measured." in text
    assert "**Images at about 10 calls**: no figure, because" in text


@pytest.mark.usefixtures("undrawn")
def test_speed_without_quality_is_reported_but_not_ranked(tmp_path):
    text = text_of(tmp_path / "a", *(record("ddim", n, quality={}) for n in (5, 10)))
    assert "no sampler can be called best" in text
    assert "| ddim | uniform_t | 5 |" in text
    assert "| **" not in text


@pytest.mark.usefixtures("undrawn")
def test_only_failures_make_a_report(tmp_path):
    text = text_of(tmp_path / "a", failed("ddim", 5, "NaN after step 3"), failed("heun", 5, "no time left", status="skipped"))
    assert "nothing to rank" in text
    assert "NaN after step 3" in text
    assert "skipped | no time left" in text


@settings(max_examples=25, deadline=None)
@given(shaken_records())
def test_whatever_valid_records_hold_the_report_is_written(records):
    with pytest.MonkeyPatch.context() as m, TemporaryDirectory() as folder:
        m.setattr("bench.reports.report._figures", lambda *_: [])
        text = write_report([write_run(Path(folder) / "run", records, images=False)]).read_text(encoding="utf-8")
    assert "## What was run" in text
    assert max(map(len, text.splitlines())) < 20_000
    assert "<b>" not in text.replace("\\<", "")


@pytest.mark.usefixtures("undrawn")
def test_forged_texts_are_shown_and_do_nothing(tmp_path):
    name = "<b>|`![x](y)`\n" + "x" * 1900
    rows = [record("ddim", 5, teacher={"name": name, "sha256": None}), failed("heun", 5, name)]
    rows += [record("ddim", 10, teacher={"name": name, "sha256": None}, cell="c", student={"name": name, "sha256": "a" * 64})]
    text = text_of(tmp_path / "a", *rows)
    assert len(text) < 100_000
    assert "<b>" not in text.replace("\\<", "")
    assert "![x](" not in text


def test_non_positive_values_survive_log_axes(tmp_path):
    rows = [record("ddim", n, fd=fd, se=1.0) for n, fd in ((5, 2.0), (10, 0.0), (20, -1e-9))]
    assert "quality_calls.png" in text_of(tmp_path / "a", *rows)


def test_machines_have_a_figure_of_time_each(tmp_path):
    gpu = {"environment": {"cpu": "A CPU", "threads": 2, "gpu": {"name": "A GPU"}}, "device": "cuda:0"}
    a = write_run(tmp_path / "a", [record("ddim", n, fd=3.0) for n in (5, 10)])
    b = write_run(tmp_path / "b", [record("heun", n, fd=3.0) | gpu for n in (5, 10)])
    text = write_report([a, b], tmp_path / "out").read_text(encoding="utf-8")
    assert "quality_ms_machine1.png" in text
    assert "quality_ms_machine2.png" in text
    assert "none is called the fastest" in text


def test_colour_images_and_a_folder_that_cannot_be_written(tmp_path):
    run = write_run(tmp_path / "a", [record("ddim", 10)], images=False)
    Image.fromarray(np.full((16, 160, 3), (200, 30, 30), np.uint8)).save(run / "samples" / f"{record('ddim', 10)['cell']}.png")
    assert "samples.png" in write_report([run]).read_text(encoding="utf-8")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        write_report([run], tmp_path / "file" / "report")


def test_images_that_differ_by_rounding_tie(tmp_path):
    records = [record("ddim", 1, fd=100.0), record("heun", 1, fd=100.01), record("euler", 1, fd=110.0)]
    sure = {r["cell"]: np.zeros(r["images"]) for r in records}  # paired differences without any error
    (section,) = sections(load_records([write_run(tmp_path / "a", records, sure)]))
    cells = {row[0].text: row[1] for row in summary_table(section).rows}
    assert {name: (c.text, c.mark) for name, c in cells.items()} == {
        "ddim": ("100", "best"),
        "heun": ("100", "tie"),
        "euler": ("110", ""),
    }


def test_a_report_s_headings_and_axes_are_named_in_the_schema(tmp_path, monkeypatch):
    drawn = set()
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, _: drawn.update(ax.get_xlabel() for ax in figure.axes))
    monkeypatch.setattr(Counted.model_fields["calls"], "title", "evaluations")
    monkeypatch.setattr(Counted.model_fields["calls"], "description", "evaluations, one after the other")
    monkeypatch.setattr(TrajectoryError.model_fields["reference"], "title", "held against")
    text = text_of(tmp_path / "a", record("ddim", 5), record("ddim", 10))
    assert "| sampler | grid | steps | evaluations | forwards | teacher-equivalents |" in text
    assert "| held against | heun, 128 steps |" in text
    assert {"evaluations, one after the other, log scale", "teacher-equivalents (total work), log scale"} <= drawn
