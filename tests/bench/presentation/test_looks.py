from report_fixture import ALL

from bench.presentation.looks import KNOWN, style_of


def test_every_known_sampler_looks_different():
    assert set(ALL) <= set(KNOWN)
    assert len({(style_of(s).color, style_of(s).marker) for s in KNOWN}) == len(KNOWN)


def test_a_look_depends_on_the_name_alone():
    assert style_of("stranger") == style_of("stranger")
    variant = style_of("ddim:eta=0.5")
    assert variant.color == style_of("ddim").color
    assert variant.fill == "none"
    assert style_of("ddim").fill == "full"


def test_series_of_a_sampler_keep_its_colour_and_marker():
    plain, one, other = (style_of(s) for s in ("ddim", "ddim [batch 1]", "ddim [batch 64]"))
    assert len({(s.color, s.marker) for s in (plain, one, other)}) == 1
    assert len({(s.fill, s.line) for s in (plain, one, other)}) == 3
