"""Labels of the figure of images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.reports.sample_figure import folded


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("ddim", ["ddim"]),
        ("knowledge_distillation:kd-again", ["knowledge_distillation:", "kd-again"]),
        ("ddim:grid=karras:end=0.02:last=denoise", ["ddim:grid=karras:", "end=0.02:last=denoise"]),
    ],
)
def test_a_long_label_is_broken_behind_colons(label, lines):
    assert folded(label).split("\n") == lines


@given(st.lists(st.text("ab=._", min_size=1, max_size=30), min_size=1, max_size=6))
def test_no_line_is_too_long_but_a_part_that_is(parts):
    label = ":".join(parts)
    lines = folded(label).split("\n")
    assert "".join(lines) == label
    assert all(len(line) <= 22 or line.rstrip(":").count(":") == 0 for line in lines)
