"""The report of runs: its page, tables and figures."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from PIL import Image
from report_fixture import failed, full_run, record, write_run
from shaken_records import shaken_records
from told_reports import text_of

from bench.presentation import markdown
from bench.records.frame import load_records
from bench.records.schema import Counted
from bench.records.scores import TrajectoryError
from bench.records.versions import signed, upgrade
from bench.reports.advice_text import recommendation
from bench.reports.budget import Budget
from bench.reports.report import write_report
from bench.reports.sections import sections
from bench.reports.tables import summary_table
from samplers.errors import UserError


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    return write_report([full_run(tmp_path_factory.mktemp("runs") / "full")])


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
