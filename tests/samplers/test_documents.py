"""YAML as settings take it: lines, numbers, and files that are not what they should be."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from samplers import UserError
from samplers.documents import BYTES, parse_document, read_document, to_yaml


def read(text: str):
    return parse_document(text, "plan.yaml", "plan")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.0e6", 1e6),
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        (".5", 0.5),
        ("-2", -2),
        ("010", 10),
        ("0x1F", 31),
        ("1_000_000", 1_000_000),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("2001-01-01", "2001-01-01"),
        ("'5'", "5"),
        ("2%", "2%"),
        ("all", "all"),
    ],
)
def test_numbers_and_words_are_those_of_yaml_1_2(written: str, value: object):
    found = read(f"key: {written}").values["key"]
    assert found == value
    assert type(found) is type(value)


def test_a_merged_section_is_read_and_its_own_keys_win():
    found = read("base: &b {steps: 5, batch: 2}\nother:\n  <<: *b\n  steps: 7\n").section("other")
    assert found.values == {"steps": 7, "batch": 2}
    assert (found.line(("steps",)), found.line(("batch",))) == (4, 2), "a merged key stands nowhere; its section does"


def test_lines_of_nested_keys_and_items():
    found = read("a:\n  b:\n  - 1\n  -\n    2\n4:\n  c: 1\n")
    assert [found.line(k) for k in (("a",), ("a", "b"), ("a", "b", 1), (4, "c"), ("a", "x"))] == [1, 2, 5, 7, 1]
    assert found.section("a").place(("b", 0)) == "plan.yaml, line 3"


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{k}: &{k} [{', '.join([f'*{chr(ord(k) - 1)}'] * 9)}]\n" for k in "bcdefgh")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a plan is a list of 'key: value' lines"),
        ("- a\n", "a plan is a list of 'key: value' lines"),
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands there twice"),
        ("a: {b: 1, b: 1}\n", "line 1: 'b' stands there twice"),
        ("a: [1\n", "line 2 is not valid YAML"),
        ("a: 1\n--- \nb: 1\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1 is not valid YAML"),
        ("a: !!int many\n", "not valid YAML"),
        ("a: !!timestamp 2001-99-99\n", "not valid YAML"),
        (f"a: {'1' * 5000}\n", "not valid YAML"),
        ("a: \0\n", "not valid YAML"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: &a [*a]\n", "aliases (*) counted each time"),
        (BOMB, "more than 20,000 values"),
        ("? [a]\n: 1\n", "not valid YAML"),
    ],
)
def test_what_is_no_plan_is_told_in_one_line(text: str, told: str):
    with pytest.raises(UserError, match=r"^plan\.yaml[^\n]{,400}$") as e:
        read(text)
    assert told in str(e.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe\xff", "not a text file"), (b"a: " + b"x" * BYTES, "larger than"), (None, "cannot read the plan")],
)
def test_what_is_no_file_of_text_is_told_in_one_line(content: bytes | None, told: str, tmp_path: Path):
    path = tmp_path / "plan.yaml"
    path.write_bytes(content) if content is not None else path.mkdir()
    with pytest.raises(UserError, match=r"^[^\n]{,400}$") as e:
        read_document(path, "plan")
    assert told in str(e.value)


def test_a_byte_order_mark_is_no_key(tmp_path: Path):
    (tmp_path / "plan.yaml").write_bytes("\ufeffa: ü\n".encode())
    assert read_document(tmp_path / "plan.yaml", "plan").values == {"a": "ü"}


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["1e3", "1.0e6", "no", "010", "1:30", "0o17", "1_0", "~", "<<", "=", "2001-01-01", "-.inf", ".", "true", "null", "0x1f"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_what_is_written_is_read_by_us_and_by_yaml_1_1(values: dict):
    text = to_yaml(values)
    assert read(text).values == values
    assert yaml.safe_load(text) == values


@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"%@#\n ab1?<", max_size=40))
def test_any_text_is_a_mapping_or_one_line(text: str):
    try:
        told = "" if isinstance(read(text).values, dict) else "nothing"
    except UserError as e:
        told = str(e)
    assert "\n" not in told
    assert told == "" or told.startswith("plan.yaml")
    assert len(told) < 400
