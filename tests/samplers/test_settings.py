"""Settings: what fits is taken as it stands, what does not is one line; a field that comes later changes nothing."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from samplers import UserError
from samplers.documents import Document, parse_document
from samplers.errors import unknown
from samplers.settings import Settings, Share, checked


class Loss(Settings):
    l1: float = Field(1.0, ge=0)
    kind: Literal["l1", "l2"] = "l1"


def even(value: int) -> None:
    if value % 2:
        raise UserError(f"{value} is odd; take {value + 1}")


class Training(Settings):
    steps: int = Field(ge=1, le=10**6, description="updates | in all")
    name: str = "mine"
    rate: float = Field(1e-3, gt=0, lt=1)
    share: Share | None = Field(None, gt=0, lt=1)
    sizes: tuple[int, ...] = Field((1, 2), min_length=1)
    fast: bool = False
    loss: Loss = Loss()
    rungs: dict[int, Loss] = Field(default_factory=dict)
    pairs: Annotated[int, checked(even)] = 2

    @model_validator(mode="after")
    def _fits(self):
        if self.pairs > self.steps:
            raise ValueError(f"pairs {self.pairs} are more than\nthe {self.steps} steps")
        return self


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps: many", "f, line 1: steps must be a whole number, not 'many'"),
        ("steps: true", "steps must be a whole number, not True"),
        ("steps: 2.0", "steps must be a whole number, not 2.0"),
        ("steps: 0", "steps must be at least 1, got 0"),
        ("steps: 1000001", "steps must be at most 1000000, got 1000001"),
        ("name: x", "f: steps is missing"),
        ("steps: 5\nname: 5", "f, line 2: name must be a word, not 5"),
        ("steps: 5\nrate: 1", "rate must be below 1, got 1"),
        ("steps: 5\nrate: .nan", "rate must be a finite number"),
        ("steps: 5\nrate: true", "rate must be a number, not True"),
        ("steps: 5\nshare: 200%", "share must be below 1, got '200%'"),
        ("steps: 5\nshare: true", "share must be a number, or a percentage, not True"),
        ("steps: 5\nshare: some", "share must be a number, or a percentage, not 'some'"),
        ("steps: 5\nsizes: []", "sizes must not be empty"),
        ("steps: 5\nsizes:\n- 1\n- x", "f, line 4: sizes must be a whole number, not 'x'"),
        ("steps: 5\nsizes: {a: 1}", "sizes must be a list, not {'a': 1}"),
        ("steps: 5\nfast: yes", "fast must be true or false, not 'yes'"),
        ("steps: 5\nloss: l1", "loss must be a section of 'key: value' lines, not 'l1'"),
        ("steps: 5\nloss:\n  l1: 1\n  kind: l11", "f, line 4: loss: unknown kind 'l11'; did you mean 'l1'? (known: l1, l2)"),
        ("steps: 5\nloss: {kind: [1]}", "loss: kind must be a word, not [1]"),
        ("steps: 5\nloss: {l3: 1}", "loss: unknown key 'l3'; did you mean 'l1'?"),
        ("steps: 5\nrungs:\n  4: {l1: -1}", "f, line 3: rungs: 4: l1 must be at least 0"),
        ("steps: 5\nrungs: {4: {l2: 1}}", "rungs: 4: unknown key 'l2'; did you mean 'l1'? (known: kind, l1)"),
        ("step: 5", "f, line 1: unknown key 'step'; did you mean 'steps'?"),
        ("steps: 5\n7: 1", "f, line 2: unknown key '7'"),
        ("steps: 5\npairs: 3", "f, line 2: pairs: 3 is odd; take 4"),
        ("steps: 5\npairs: 6", "f: pairs 6 are more than the 5 steps"),
        ("rate: 9\nsizes: [x]\nsteps: 5", "f, line 1: rate must be below"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place(text: str, told: str):
    with pytest.raises(UserError, match=r"^[^\n]*$") as e:
        Training.of(parse_document(text, "f", "recipe"))
    assert told in str(e.value)


def test_a_section_of_a_file_is_told_with_its_keys():
    document = parse_document("other: 1\nteacher:\n  training:\n    steps: x\n", "f", "recipe")
    with pytest.raises(UserError, match=r"^f, line 4: teacher: training: steps must be a whole number, not 'x'$"):
        Training.of(document.section("teacher").section("training"))
    with pytest.raises(UserError, match=r"^f, line 1: other must be a section"):
        document.section("other")
    with pytest.raises(UserError, match=r"^f has no section 'dsno'"):
        document.section("dsno")
    with pytest.raises(UserError, match=r"^card.json: steps must be a whole number"):
        Training.of(Document({"steps": None}, "card.json"))


def test_options_go_over_a_document_and_are_told_without_its_place():
    document = parse_document("steps: x\nrate: 0.5\n", "f", "recipe")
    assert Training.of(document, steps=3) == Training(steps=3, rate=0.5)
    with pytest.raises(UserError, match=r"^steps must be at least 1, got 0$"):
        Training.of(document, steps=0)
    with pytest.raises(UserError, match=r"^unknown argument 'stepps'; did you mean 'steps'"):
        Training.of(steps=3, stepps=1)
    with pytest.raises(UserError, match=r"^loss: l1 must be at least 0, got -1$"):
        Training(steps=3, loss={"l1": -1})


def test_types_that_will_do():
    found = Training(steps=5, rate=0.5, share="2%", sizes=3, loss={"l1": 2})
    assert (found.share, found.sizes, found.loss.l1) == (0.02, (3,), 2.0)
    assert Training(steps=5, sizes=[1, 4]).sizes == (1, 4)


OVERLONG = {
    "text": "x\n" * 5_000_000,
    "number": 10**5000,
    "list": ["long\n"] * 10**5,
    "bytes": b"\0" * 10**6,
    "nested": {"a": [[["b"] * 99] * 99]},
}


@pytest.mark.parametrize("kind", OVERLONG)
def test_a_message_is_one_short_line_whatever_the_value(kind: str):
    value = OVERLONG[kind]
    for wrong in ({"steps": value}, {"steps": 5, "loss": {"kind": value}}, {"steps": 5, "share": value}):
        with pytest.raises(UserError, match=r"^[^\n]{,300}$"):
            Training(**wrong)


def test_an_unknown_name_is_clipped():
    assert len(str(unknown("plan", "x\n" * 10**6, ["mine"]))) < 300


GIVEN = st.fixed_dictionaries(
    {"steps": st.integers(2, 10**6)},
    optional={
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "rate": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "share": st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
        "sizes": st.lists(st.integers(), min_size=1, max_size=4).map(tuple),
        "fast": st.booleans(),
        "loss": st.builds(Loss, l1=st.floats(0, 9), kind=st.sampled_from(["l1", "l2"])),
        "rungs": st.dictionaries(st.integers(0, 9), st.builds(Loss, l1=st.floats(0, 9)), max_size=2),
    },
)


@given(GIVEN)
def test_what_is_written_is_read(values: dict):
    settings = Training(**values)
    assert Training.of(parse_document(settings.to_yaml(), "f", "recipe")) == settings
    assert Training(**settings.identity()) == settings


@given(GIVEN)
def test_a_field_that_comes_later_changes_no_identity(values: dict):
    class Later(Training):
        more: int = 3
        other: Loss = Loss(l1=5)

    old, new = Training(**values), Later(**values)
    assert new.identity() == old.identity()
    assert new.hashed() == old.hashed()
    assert Later(**values, more=4).hashed() != old.hashed()
    assert Later(**values, other=Loss(l1=6)).identity() == old.identity() | {"other": {"l1": 6.0}}
    assert Later.of(parse_document(old.to_yaml(), "f", "recipe")) == new


def test_settings_do_not_change():
    with pytest.raises(Exception, match="frozen"):
        Training(steps=2).steps = 3


def test_the_table_tells_every_field():
    rows = Training.table().splitlines()
    assert len(rows) == 2 + len(Training.model_fields)
    assert rows[2] == "| `steps` | whole number, at least 1, at most 1000000 | none: it must be given | updates \\| in all |"
    assert "| `share` | number or null, above 0, below 1 | `null` |" in Training.table()
    assert "| `sizes` | list, each a whole number | `[1, 2]` |" in Training.table()
    assert "| `rungs` | section | `{}` |" in Training.table()


def test_the_schema_tells_an_editor(tmp_path: Path):
    schema = json.loads(Training.schema_text())
    assert schema["required"] == ["steps"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Loss"]["properties"]["kind"]["enum"] == ["l1", "l2"]
