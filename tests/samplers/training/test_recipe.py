"""Recipes: a wrong one is told in one line, what is left out is as good as its default, committed cards are recognised."""

import json

import pytest
import torch

from samplers import UserError
from samplers.documents import Document, parse_document
from samplers.models.sizes import UNetConfig
from samplers.models.zoo import ZOO, find_card
from samplers.registry import entries
from samplers.training.data import ImageSet
from samplers.training.optimisation import Optimisation, step_generator
from samplers.training.recipe import DataSettings, merged, read_recipe, same_settings
from samplers.training.teacher import TeacherRecipe, TeacherTraining

TRAINERS = {name: entry.load() for name, entry in entries("bench.trainers").items()}


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="unknown recipe 'mnist23'; did you mean 'mnist32'"):
        read_recipe("mnist23")


@pytest.mark.parametrize("name", ["none.yaml", "a\0b", "x" * 10**6, "a\nb.yaml", ""])
def test_missing_recipe_file(tmp_path, name):
    with pytest.raises(UserError, match="unknown recipe") as e:
        read_recipe(tmp_path / name)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 1000


TEACHER = """
teacher:
  name: mine
  network: {width: 8, multipliers: [1], attention: [], embedding: 16}
  parameterisation: x
  sigma_min: 0.002
  sigma_max: 80
  label_dropout: 0
  snr_cap: null
  optimisation: {steps: 5}
data: {train: a.zip, held_out: [b.zip]}
"""


def test_a_recipe_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEACHER)
    recipe = read_recipe(path)
    r = TeacherRecipe.of(TeacherTraining.section_of(recipe))
    assert (r.snr_cap, r.sigma_max, r.optimisation.batch, r.network.classes) == (None, 80.0, 128, None)
    assert DataSettings.of(recipe.section("data")).train == ("a.zip",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("teacher:", "theacher:", "has no section 'teacher'"),
        ("data:", "date:", "has no section 'data'"),
        ("  snr_cap: null", "", "teacher: snr_cap is missing"),
        ("null", "0.5", "line 9: teacher: snr_cap must be at least 1, got 0.5"),
        ("width: 8", "width: null", "line 4: teacher: network: width must be a whole number, not None"),
        ("width: 8", "width: 0", "width must be at least 4, got 0"),
        ("width: 8", "width: 7", "multiple of 2"),
        ("width: 8", "heads: 3, width: 8", "heads: 8 feature channels have no 3 heads"),
        ("width: 8", "heads: 0, width: 8", "have no heads of 64 channels"),
        ("[1]", "[]", "multipliers must not be empty"),
        ("[1]", "[1, -1]", "multipliers must be at least 1, got -1"),
        ("mine", "../mine", "name: String should match pattern"),
        ("x\n", "y\n", "unknown parameterisation 'y'"),
        ("80", "0.001", "sigma_max must be above sigma_min"),
        ("  label_dropout", "  sigma_end: 0.001\n  label_dropout", "sigma_end must be from sigma_min to below sigma_max"),
        ("steps: 5", "steps: 5, lr: 1", "line 10: teacher: optimisation: unknown key 'lr'"),
        ("steps: 5", "steps: many", "optimisation: steps must be a whole number, not 'many'"),
        ("steps: 5", "steps: true", "steps must be a whole number, not True"),
        ("steps: 5", "steps: 0", "steps must be at least 1, got 0"),
        ("steps: 5", "steps: 5, learning_rate: 0", "learning_rate must be above 0"),
        ("steps: 5", "steps: 5, batch: 6, accumulate: 4", "accumulate: a batch of 6 has no 4 equal parts"),
        ("{steps: 5}", "[5]", "optimisation must be a section"),
        ("train: a.zip", "train: []", "data: train must not be empty"),
        ("b.zip]", "b.zip], flip: 1", "flip must be true or false, not 1"),
    ],
)
def test_a_bad_recipe_is_told_with_section_and_key(old, new, told):
    assert TEACHER.count(old) >= 1
    with pytest.raises(UserError, match=told) as e:
        TeacherTraining.check(parse_document(TEACHER.replace(old, new, 1), "mine.yaml", "recipe"))
    assert "\n" not in str(e.value)
    assert str(e.value).startswith("mine.yaml")


def test_numbers_may_be_written_as_yaml_1_2_has_them():
    document = parse_document(TEACHER.replace("steps: 5", "steps: 5, learning_rate: 1e-3, clip: 1.0e6"), "mine.yaml", "recipe")
    o = TeacherRecipe.of(document.section("teacher")).optimisation
    assert (o.learning_rate, o.clip) == (1e-3, 1e6)


SIZES = {"channels": 1, "image_size": 8, "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4], "embedding": 16}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_size": 9}, "images of 9 pixels have no 2 levels"),
        ({"patch": 8}, "must be a multiple of 16"),
        ({"multipliers": [1] * 5}, "must be a multiple of 16"),
        ({"heads": 16, "attention": [8]}, "8 feature channels have no 16 heads"),  # at the first level
        ({"classes": -1}, "classes must be at least 0"),
        ({"widht": 8}, "unknown argument 'widht'; did you mean 'width'"),
    ],
)
def test_sizes_that_no_network_has(change, told):
    with pytest.raises(UserError, match=told) as e:
        UNetConfig(**SIZES | change)
    assert "\n" not in str(e.value)


def test_attention_at_a_resolution_that_is_not_there_is_none():
    assert UNetConfig(**SIZES | {"attention": [4, 16, 3], "heads": 16}).attention == (4, 16, 3)


def test_changes_are_put_over_a_section_with_their_lines():
    text = "a: {x: 1, own: {p: 1, q: 2}, loss: {l1: 1}}\nb:\n  own: {q: 3}\n  loss: {l2: 1}\n"
    recipe = parse_document(text, "mine.yaml", "recipe")
    found = merged(recipe.section("a"), recipe.section("b"), replaced=("loss",))
    assert found.values == {"x": 1, "own": {"p": 1, "q": 3}, "loss": {"l2": 1}}
    assert [found.line(keys) for keys in (("x",), ("own", "p"), ("own", "q"), ("loss", "l2"))] == [1, 1, 3, 4]


def test_learning_rate():
    o = Optimisation(steps=100, learning_rate=1.0, warmup=10)
    assert o.rate_at(0) == pytest.approx(0.1)
    assert o.rate_at(9) == pytest.approx(0.91)
    assert o.rate_at(50) == pytest.approx(0.5)
    assert 0 < o.rate_at(99) < 0.011
    flat = Optimisation(steps=100, learning_rate=1.0, warmup=0, decay="none")
    assert {flat.rate_at(k) for k in range(100)} == {1.0}


FOLDERS = (ZOO, ZOO.parent / "distilled" / "zoo", ZOO.parents[1] / "dsno" / "zoo")
CARDS = sorted(p for folder in FOLDERS for p in folder.glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_committed_cards_are_of_the_settings_that_they_name(path):
    """Their recipes still parse, with spelt-out defaults they are the same training, and another value makes another."""
    recipe = json.loads(path.read_text())["recipe"]
    section = next(s for s in recipe if s != "data")
    kinds = TRAINERS[section].kinds()
    assert recipe.keys() == kinds.keys()
    whole = {s: kinds[s].of(Document(values, s)).values() for s, values in recipe.items()}
    assert whole != recipe
    assert same_settings(whole, recipe, kinds)
    values = recipe[section]
    other = values | {"optimisation": values["optimisation"] | {"seed": 1}}
    assert not same_settings(recipe | {section: other}, recipe, kinds)
    assert not same_settings(recipe | {section: other | {"of": "another time"}}, recipe, kinds)


def test_the_shipped_teacher_s_training_is_still_the_recipe_s():
    """What a checkpoint and a card are told apart by; optional keys that came later must not change it."""
    card = find_card("teacher", "cifar10-small").card
    recipe = read_recipe("cifar10-small").values
    assert {k: recipe[k] for k in ("data", "teacher")} == card["recipe"]
    assert UNetConfig(**card["network"]).values() == card["network"]


def test_draws_of_a_recipe_without_flips_are_what_they_were():
    """The numbers that the shipped weights were trained on."""
    images = ImageSet(torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1), torch.arange(20), "")
    x0, labels = images.draw(6, 0.5, step_generator(0, 3))
    assert ((x0.flatten() + 1) * 127.5).round().tolist() == [19, 19, 6, 13, 4, 3]
    assert labels.tolist() == [-1, 19, -1, -1, 4, -1]
