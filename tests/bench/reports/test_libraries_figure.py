"""The figure of the same methods of several libraries: which rows it draws, and when there is none."""

import pytest
from report_fixture import record, spread, write_run

from bench.records.frame import load_records
from bench.reports.libraries_figure import libraries_figure
from bench.reports.report import write_report
from bench.reports.sections import sections

OURS = ("euler:grid=karras", "heun:grid=karras", "dpmpp_2m:grid=karras", "ddim")
THEIRS = ("k_diffusion:sample_euler", "diffusers:EulerDiscreteScheduler:grid=karras", "k_diffusion:sample_dpmpp_2m")


def rows(*specs: str, steps=(5, 10), **more) -> list[dict]:
    found = [record(s, n, **more) for s in specs for n in steps]
    for r in found:
        rate = 800.0 if ":sample" in r["sampler"] or "Scheduler" in r["sampler"] else 1000.0
        r["time"]["images_per_s"] = spread(rate)
    return found


def figure(tmp_path, records, names=()):
    (section,) = sections(load_records([write_run(tmp_path / "run", records, images=False)]))
    return libraries_figure(section, names, tmp_path, "")


def test_it_draws_the_methods_that_two_libraries_have(tmp_path):
    found = figure(tmp_path, rows(*OURS, *THEIRS))
    assert (tmp_path / found.file).stat().st_size > 0
    assert set(found.data["method"]) == {"Euler", "DPM-Solver++(2M)"}
    assert set(found.data["library"]) == {"ours", "k_diffusion", "diffusers"}
    assert found.caption.endswith("Ours take 0.800 to 0.800 times as long as the fastest of the others.")
    own = found.data[(found.data["method"] == "Euler") & (found.data["library"] == "k_diffusion")]
    assert list(own["image_ms.median"]) == pytest.approx([1.25, 1.25])


def test_times_that_are_not_valid_are_left_out(tmp_path):
    records = rows(*OURS, *THEIRS)
    for r in records:
        r["time"]["conditions"] = {"valid": False, "reasons": ["another process"]}
    found = figure(tmp_path, records)
    assert found.data["image_ms.median"].isna().all()
    assert "No times of ours and of others are valid." in found.caption


def test_it_takes_the_first_table_in_which_each_has_one_row(tmp_path):
    twice = rows("euler", "k_diffusion:sample_euler", "k_diffusion:sample_euler:grid=logsnr", tables=["as they come"])
    once = rows("heun", "k_diffusion:sample_heun", tables=["on one grid"])
    assert set(figure(tmp_path, [*twice, *once], ("as they come", "on one grid")).data["method"]) == {"Heun"}


def test_without_two_libraries_there_is_none_and_a_report_goes_on(tmp_path):
    assert figure(tmp_path, rows(*OURS)) is None
    assert "several libraries" not in write_report([tmp_path / "run"], tmp_path / "out").read_text()
    write_run(tmp_path / "both", rows(*OURS, *THEIRS), images=False)
    assert "![The same methods of several libraries](libraries.png)" in write_report([tmp_path / "both"]).read_text()
