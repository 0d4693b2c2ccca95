"""Recipes: the shipped one is whole, a wrong one is told in one line."""

from dataclasses import fields

import pytest
import torch

from samplers import Cosine, UserError
from samplers.models.teacher import PARAMETERISATIONS
from samplers.models.unet import UNetConfig
from samplers.models.zoo import find_card
from samplers.training.data import ImageSet
from samplers.training.optimisation import Optimisation, step_generator
from samplers.training.recipe import DATA, RECIPES, load_recipe, optimisation
from samplers.training.teacher import KEYS


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_teacher_recipes_are_complete(path):
    recipe = load_recipe(path.stem, {"data": DATA, "teacher": KEYS})
    teacher, data = recipe["teacher"], recipe["data"]
    assert {"train", "held_out"} <= data.keys()
    UNetConfig.from_dict(teacher["network"])
    Cosine(teacher["sigma_min"], teacher["sigma_max"])
    assert teacher["parameterisation"] in PARAMETERISATIONS
    o = optimisation(teacher["optimisation"], path.stem)
    assert o.steps > 0
    assert 0 <= teacher["label_dropout"] < 1
    assert teacher["snr_cap"] >= 1


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="unknown recipe 'mnist23'; did you mean 'mnist32'"):
        load_recipe("mnist23", {"teacher": ()})


def test_recipe_from_a_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: {train: [a.zip], held_out: b.zip}\nteacher: {name: mine}\nother: 1\n")
    expected = {"data": {"train": ["a.zip"], "held_out": "b.zip"}, "teacher": {"name": "mine"}}
    assert load_recipe(path, {"data": DATA, "teacher": ["name"]}) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("data: [", "not valid YAML"),
        ("teacher: {}\n", "no section 'data'"),
        ("data: {train: a, held_out: b}\n", "no section 'teacher'"),
        ("data: {train: a}\n", "section 'data' lacks held_out"),
        ("data: {train: a, held_out: b}\nteacher: {name: x}\n", "section 'teacher' lacks snr_cap"),
        ("- data\n", "no section 'data'"),
        ("", "no section 'data'"),
    ],
)
def test_bad_recipe_is_one_line(tmp_path, text, match):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=match) as e:
        load_recipe(path, {"data": DATA, "teacher": ["name", "snr_cap"]})
    assert "\n" not in str(e.value)


def test_missing_recipe_file(tmp_path):
    with pytest.raises(UserError, match="unknown recipe"):
        load_recipe(tmp_path / "none.yaml", {"teacher": ()})


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"steps": 5, "lr": 1}, "lr"),
        ({}, "steps"),
        ({"steps": "many"}, "steps must be a whole number, not 'many'"),
        ({"steps": True}, "must be a whole number"),
        ({"steps": 5, "learning_rate": "1e-3"}, "1.0e-3"),
        ({"steps": 0}, "at least 1"),
        ([5], "must be a section"),
    ],
)
def test_wrong_optimisation_keys(values, match):
    with pytest.raises(UserError, match=match) as e:
        optimisation(values, "mine.yaml")
    assert str(e.value).startswith("mine.yaml: optimisation: ")
    assert "__init__" not in str(e.value)


def test_learning_rate():
    o = Optimisation(steps=100, learning_rate=1.0, warmup=10)
    assert o.rate_at(0) == pytest.approx(0.1)
    assert o.rate_at(9) == pytest.approx(0.91)
    assert o.rate_at(50) == pytest.approx(0.5)
    assert 0 < o.rate_at(99) < 0.011
    flat = Optimisation(steps=100, learning_rate=1.0, warmup=0, decay="none")
    assert {flat.rate_at(k) for k in range(100)} == {1.0}
    assert all(f.name for f in fields(Optimisation))


def test_the_shipped_teacher_s_training_is_still_the_recipe_s():
    """What a checkpoint and a card are told apart by; optional keys that came later must not change it."""
    card = find_card("teacher", "mnist32").card
    assert load_recipe("mnist32", {"data": DATA, "teacher": KEYS}) == card["recipe"]
    assert UNetConfig.from_dict(card["network"]).to_dict() == card["network"]


def test_draws_of_a_recipe_without_flips_are_what_they_were():
    """The numbers that the shipped weights were trained on."""
    images = ImageSet(torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1), torch.arange(20), "")
    x0, labels = images.draw(6, 0.5, step_generator(0, 3))
    assert ((x0.flatten() + 1) * 127.5).round().tolist() == [19, 19, 6, 13, 4, 3]
    assert labels.tolist() == [-1, 19, -1, -1, 4, -1]
