import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_fixture import ALL

from bench.presentation.looks import log_axes
from bench.presentation.series import COLOURS, KNOWN, Looks

VARIANTS = [f"{name}:grid={grid}" for name in ("ddim", "dpmpp_2m", "unipc") for grid in ("karras", "logsnr")]


def test_every_known_sampler_has_a_colour_of_its_own_in_every_report():
    assert set(ALL) <= set(KNOWN)
    looks = Looks(KNOWN)
    assert len({looks[s].color for s in KNOWN}) == len(KNOWN)
    assert all(Looks([s, "stranger"])[s] == looks[s] for s in KNOWN)


def test_no_colour_comes_twice_while_there_are_others():
    """Seventeen series: known samplers, a stranger, and known ones with options."""
    series = [*KNOWN[:10], *VARIANTS, "stranger"]
    looks = Looks(series)
    assert len({looks[s].color for s in series}) == 17
    assert looks["ddim:grid=karras"].fill == "none"
    assert looks["ddim"].fill == "full"


@given(st.sets(st.text(min_size=1, max_size=8), max_size=30))
def test_any_names_look_different_whatever_they_are(names):
    looks, samplers = Looks(names), {name.partition(" [")[0] for name in names}
    of_samplers = {(looks[name].color, looks[name].marker, name.partition(" [")[0]) for name in names}
    assert len({(colour, marker) for colour, marker, _ in of_samplers}) == len(samplers)
    if len(samplers) <= len(COLOURS):
        assert len({colour for colour, _, _ in of_samplers}) == len(samplers)


def test_series_of_a_sampler_keep_its_colour_and_marker():
    looks = Looks(["ddim", "ddim [batch 1]", "ddim [batch 64]"])
    plain, one, other = (looks[s] for s in ("ddim", "ddim [batch 1]", "ddim [batch 64]"))
    assert len({(s.color, s.marker) for s in (plain, one, other)}) == 1
    assert len({(s.fill, s.line) for s in (plain, one, other)}) == 3


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([4, 8, 4, 8], [4, 8]),
        ([*range(1, 21), 50, 5, 10, 20], [1, 2, 3, 4, 5, 7, 10, 13, 20, 50]),
        ([4.0816, 4, 4, 1], [1, 4]),  # the most frequent of two that are too close
    ],
)
def test_ticks_stand_at_measured_values_only(values, named):
    ax = Figure().subplots()
    log_axes(ax, (min(values), max(values)), (1, 10), at=values)
    ticks = list(ax.get_xticks())
    assert set(ticks) <= set(values)
    assert ticks == named
    assert list(ax.get_xticks(minor=True)) == []
