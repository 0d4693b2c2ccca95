"""Every key of every shipped recipe with values of all kinds: each is taken, or told in a line before anything is trained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.studies.stages import needs_of
from samplers.documents import Document
from samplers.errors import UserError
from samplers.models.unet_teacher import load_unet_teacher
from samplers.registry import entries
from samplers.training.data import load_images
from samplers.training.recipe import RECIPES, DataSettings, read_recipe, sources_of

WRONG = (
    None,
    True,
    "word",
    -1,
    0,
    1.5,
    1e300,
    float("nan"),
    [],
    {},
    [[]],
    [None],
    {"a\nb": {}},
    "x" * 100_000,
    "a\nb",
    10**5000,
)
TRAINERS = {name: entry.load() for name, entry in entries("bench.trainers").items()}
SECTIONS = [(p.stem, s) for p in sorted(RECIPES.glob("*.yaml")) for s in read_recipe(p).values]


def places(values: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where a value stands, from the section itself down to the items of lists."""
    yield at
    for key, value in values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ():
        yield from places(value, (*at, key))


def replaced(values: Any, at: tuple, wrong: Any) -> Any:
    if not at:
        return wrong
    copy = dict(values) if isinstance(values, dict) else list(values)
    copy[at[0]] = replaced(values[at[0]], at[1:], wrong)
    return copy


def check(section: str, recipe: Document) -> None:
    """As far as a recipe alone tells, and what its words name: data and teachers that are not there."""
    if section == "campaign":
        needs_of(recipe)
    elif section == "data":
        data = DataSettings.of(recipe.section("data"))
        for source in sources_of(data, "train", Path("nowhere")):
            if isinstance(source, Path):
                load_images([source])
    elif section == "students":
        TRAINERS["progressive"].check(recipe)
    else:
        TRAINERS[section].check(recipe)
        if isinstance(teacher := recipe.section(section).values.get("teacher"), str):
            load_unet_teacher(teacher)


def refusal(section: str, whole: Document, values: Any) -> str:
    """What is told of a recipe with other values in a section; nothing where they are taken."""
    try:
        check(section, Document({**whole.values, section: values}, whole.origin, whole.lines))
    except UserError as e:
        return str(e)
    return ""


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_a_wrong_value_is_told_in_one_line(name: str, section: str):
    whole = read_recipe(name)
    values = whole.values[section]
    told = [refusal(section, whole, replaced(values, at, wrong)) for at in places(values) for wrong in WRONG]
    assert not [t for t in told if "\n" in t or len(t) > 800]
    assert sum(map(bool, told)) > 20


@pytest.mark.parametrize(("name", "section"), [(n, s) for n, s in SECTIONS if s != "campaign"])
def test_a_key_that_is_not_there_is_missing_or_has_a_default(name: str, section: str):
    whole = read_recipe(name)
    own = whole.values[section]
    told = [refusal(section, whole, {k: v for k, v in own.items() if k != key}) for key in own]
    assert not [t for t in told if "\n" in t]
    assert "unknown key 'unheard of'" in refusal(section, whole, own | {"unheard of": 1})


def test_committed_recipes_are_read():
    root = Path(__file__).parents[1]
    for path in (*RECIPES.glob("*.yaml"), *(root / "results").rglob("recipe.yaml")):
        recipe = read_recipe(path)
        for section in recipe.values.keys() & TRAINERS.keys():
            TRAINERS[section].check(recipe)
        if "campaign" in recipe.values:
            needs_of(recipe)
