"""Figures of a report: their ticks, colours, frontiers, and the room that failed points leave."""

import pytest
from report_fixture import record
from told_reports import caption, report, student, timed


def test_ticks_of_calls_are_measured_values(tmp_path, drawn):
    rows = [record(s, n) for s in ("ddim", "unipc") for n in (4, 8)]
    report(tmp_path, *rows, student(1, 2.0, fd=50.0))
    for name in ("quality_calls", "quality_teacher_equivalents", "trajectory_error", "story"):
        ticks = set(drawn[f"{name}.png"].axes[0].get_xticks())
        assert ticks, name
        assert ticks <= {1.0, 4.0, 8.0}, name


def test_a_sampler_has_one_colour_in_all_figures_and_no_other_has_it(tmp_path, drawn):
    names = ("ddim", "heun", "unipc", "deis", "stranger", "other", *(f"dpmpp_2m:grid={g}" for g in ("karras", "logsnr")))
    rows = [record(name, n, cell=f"{name}{n}") for name in names for n in (4, 8)]
    curve = [{"step": 1, "error@0": 0.5}, {"step": 2, "error@0": 0.25}]
    made = student(1, 2.0, fd=50.0)
    made["training"]["curve"] = curve
    report(tmp_path, *rows, made)
    found: dict[str, set[str]] = {}
    for figure in drawn.values():
        for legend in figure.legends:
            for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
                label = text.get_text().partition(" (")[0]
                if label in {*names, "knowledge_distillation"}:
                    found.setdefault(label, set()).add(str(line.get_color()))
    assert set(found) == {*names, "knowledge_distillation"}
    assert all(len(colours) == 1 for colours in found.values())
    assert len(set.union(*found.values())) == len(found)


@pytest.mark.usefixtures("drawn")
def test_samplers_that_share_a_network_s_call_are_not_ranked_by_noise(tmp_path):
    """Latencies 1 % apart, with intervals of 2 %: the best quality is named."""
    rows = [timed(name, 1, ms, fd=fd) for name, ms, fd in (("ddim", 2.0, 9.0), ("euler", 2.01, 8.0), ("heun", 2.02, 7.9))]
    made, text = report(tmp_path, *rows, timed("ddim", 8, 16.0, fd=7.5))
    assert "by ms from left to right: heun (2.02), ddim (16)." in caption(made, "Quality against time")
    assert "**Fastest within 1.1 times the best quality: heun** (1 call, 1 teacher-equivalent), 2.02 ms for one image." in text
    assert "By the intervals of their times, not told from it: euler (1)." in text


def test_a_failed_extreme_leaves_the_others_their_room(tmp_path, drawn):
    rows = [record(s, n, fd=30 / n) for s in ("ddim", "unipc", "deis") for n in (4, 8, 12)]
    bad = record("heun", 2, fd=5000.0)
    bad["quality"]["trajectory_error"] |= {"value": 900.0, "ci_low": 800.0, "ci_high": 1000.0}
    made, _ = report(tmp_path, *rows, bad)
    for name, most in (("quality_calls", 50), ("trajectory_error", 5)):
        (ax,) = drawn[f"{name}.png"].axes
        assert ax.get_ylim()[1] < most
        assert sum(t.arrow_patch is not None for t in ax.texts) == 1
    assert "heun (3), 900." in caption(made, "Trajectory error against calls")
    assert "Off the axes, where the arrows point: heun (3), 5000." in caption(made, "Quality against calls")
    assert "arrows" not in caption(report(tmp_path / "well", *rows)[0], "Quality against calls")
