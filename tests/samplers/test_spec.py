"""A sampler's spec: what is printed reads back, and no two share a file name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samplers
from samplers import UserError
from samplers.spec import LONGEST, Spec, file_name

VALUES = st.text("aB0_.-+=/\\ é:@", max_size=12)
OPTIONS = st.lists(st.tuples(st.text("abc_ é", min_size=1, max_size=4), VALUES), max_size=3, unique_by=lambda o: o[0])
NAMES = st.text("abC_9é:/", min_size=1, max_size=200)


@st.composite
def specs(draw):
    parts = (draw(NAMES), tuple(draw(OPTIONS)), draw(st.none() | st.integers(1, 10**9 - 1)))
    try:
        return Spec(*parts)
    except UserError:  # the text would be read as another
        return Spec.parse("ddim")


@given(specs())
def test_what_is_printed_reads_back(spec):
    assert Spec.parse(str(spec)) == spec


@given(st.text(max_size=60) | st.from_regex(r"[a-c:=@/\n]{0,9}"))
def test_any_text_is_a_spec_that_prints_the_same_or_one_line(text):
    try:
        spec = Spec.parse(text)
    except UserError as e:
        told = str(e)
    else:
        assert Spec.parse(str(spec)) == spec
        told = ""
    assert len(told.splitlines()) < 2


@given(st.lists(specs(), min_size=2, max_size=5, unique=True))
def test_file_names_are_safe_and_of_one_spec_alone(found):
    names = [s.file_name for s in found] + [file_name(str(s), "_n9_b64_fp32_eager") for s in found]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(rf"[a-z0-9_-]{{1,{LONGEST}}}", n) for n in names)


@given(st.lists(st.text("aA/_-=", min_size=1, max_size=3) | st.text("aA", min_size=130, max_size=132), unique=True))
def test_texts_that_read_alike_have_other_file_names(texts):
    names = {file_name(t) for t in texts} | {file_name(t, "_n1") for t in texts}
    assert len(names) == 2 * len(texts) - sum(t + "_n1" in texts for t in texts)


@given(specs(), specs(), specs())
def test_specs_have_an_order(a, b, c):
    assert (a < b) + (b < a) + (a == b) == 1
    assert [sorted(three) for three in ([a, b, c], [c, b, a])] == [sorted([b, c, a])] * 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ddim", ("ddim", (), None)),
        ("ddim@50", ("ddim", (), 50)),
        ("heun:grid=karras:order=2@007", ("heun", (("grid", "karras"), ("order", "2")), 7)),
        ("k_diffusion:sample_heun:eta=0.5", ("k_diffusion:sample_heun", (("eta", "0.5"),), None)),
        ("dsno:student=C:\\me@home\\x.json@1", ("dsno", (("student", "C:\\me@home\\x.json"),), 1)),
        ("dsno:student=a=b@c/x.json", ("dsno", (("student", "a=b@c/x.json"),), None)),
        ("dsno:student=", ("dsno", (("student", ""),), None)),
    ],
)
def test_parts(text, parts):
    spec = Spec.parse(text)
    assert (spec.name, spec.options, spec.steps) == parts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' names no sampler; write NAME"),
        ("@5", "'@5' names no sampler"),
        (":eta=1", "names no sampler"),
        ("eta=1", "names no sampler"),
        ("heun:", "names no sampler"),
        ("ddim@", "ddim@: write a step count after the @, as in ddim@50"),
        ("ddim@0", "write a step count"),
        ("ddim@-1", "write a step count"),
        ("ddim@٣", "write a step count"),
        ("ddim@" + "9" * 5000, "write a step count"),
        ("ddim:eta=1@five\nsix", "ddim:eta=1@five six: write a step count after the @, as in ddim:eta=1@50"),
        ("ddim:eta=1:karras", "write the option as karras=VALUE"),
        ("ddim:eta=1:=2", "write the option as OPTION=VALUE"),
        ("ddim:eta=1:eta=2", "the option eta is given twice"),
    ],
)
def test_what_is_no_spec_is_one_line(text, told):
    with pytest.raises(UserError, match=re.escape(told)) as e:
        samplers.get(text)
    assert len(str(e.value)) < 400
    assert "\n" not in str(e.value)


def test_options_and_steps_are_set_anew():
    spec = Spec.parse("heun:grid=karras:order=2@5")
    assert str(spec.with_option("grid", "logsnr").with_option("rho", 7).at(None)) == "heun:grid=logsnr:order=2:rho=7"
    with pytest.raises(UserError, match="cannot be told"):
        spec.with_option("student", "a:b=c")
    with pytest.raises(UserError, match="write a step count"):
        spec.with_option("student", "a@b").at(None)


@pytest.mark.parametrize(("text", "name"), [("ddim", "ddim"), ("dpmpp_2m", "dpmpp_2m"), ("nul", None), ("DDIM", None)])
def test_plain_names_keep_their_file_names(text, name):
    assert Spec.parse(text).file_name == name if name else re.fullmatch(rf"{text.lower()}-[0-9a-f]{{10}}", file_name(text))
