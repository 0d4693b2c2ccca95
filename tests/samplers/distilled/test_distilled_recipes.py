"""Recipes of distilled students that cannot be: one line before anything is trained."""

from pathlib import Path

import pytest
from small import OPTIMISATION, consistency, progressive, write_images, write_recipe

from samplers import UserError
from samplers.distilled.consistency_training import ConsistencyDistillation, ConsistencyTraining
from samplers.distilled.progressive_training import Ladder

SHARED = [
    ({"name": 3}, "name must be a word, not 3"),
    ({"teacher": "mnits"}, "unknown teacher 'mnits'; did you mean 'mnist32'"),
    ({"label_dropout": 1}, "label_dropout must be below 1, got 1"),
    ({"label_dropout": -0.1}, "label_dropout must be at least 0"),
    ({"label_dropout": float("nan")}, "label_dropout must be a finite number"),
    ({"label_dropout": "0.1e-1"}, "label_dropout must be a number"),
    ({"held_out": {"count": 5}}, "held_out: seed is missing"),
    ({"held_out": None}, "held_out"),
    ({"held_out": {"count": 0, "seed": 1}}, "count must be at least 1"),
    ({"optimisation": OPTIMISATION | {"step": 3}}, "optimisation: .*'step'"),
    ({"optimisation": OPTIMISATION | {"batch": 0}}, "optimisation: batch must be at least 1"),
    ({"optimisation": 3}, "optimisation must be a section"),
    ({"wieghts": 1}, "unknown key 'wieghts'"),
]


def refused(train, folder: Path, data: Path, told: str, **sections) -> None:
    recipe = write_recipe(folder / "recipe.yaml", **sections)
    with pytest.raises(UserError, match=told) as e:
        train(recipe, data, folder / "out", quiet=True)
    assert "\n" not in str(e.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *SHARED,
        ({"weights": "snr"}, "unknown weights 'snr'; did you mean 'truncated_snr|snr_plus_1'"),
        ({"weights": ["snr_plus_1"]}, "weights"),
        ({"metric": "lpips"}, "unknown metric 'lpips'"),
        ({"rungs": {3: {"steps": 5}}}, "rungs: 3 is no rung; they are 4, 2, 1"),
        ({"rungs": {8: {"steps": 5}}}, "rungs: 8 is no rung"),
        ({"rungs": {"1": {"steps": 5}}}, "rungs: 1 must be a whole number"),
        ({"rungs": {3: {}, "last": {}}}, "rungs: last must be a whole number"),
        ({"rungs": {1: 5}}, "rungs must be a section"),
        ({"rungs": None}, "rungs must be a section"),
        ({"rungs": {1: {"stepz": 5}}}, "rungs: 1: unknown key 'stepz'"),
        ({"rungs": {1: {"steps": 0}}}, "must be at least 1"),
        ({"start": 8, "end": 3}, "8 does not come down to 3; choose powers of two"),
        ({"start": 12, "end": 1}, "12 does not come down to 1"),
        ({"start": 4, "end": 4, "rungs": {}}, "4 does not come down to 4"),
        ({"end": 0}, "end must be at least 1"),
        ({"start": 8.0}, "start must be a whole number"),
    ],
)
def test_a_ladder_that_cannot_be(teacher_card, data, tmp_path, change, told):
    refused(Ladder.train, tmp_path, data, told, progressive=progressive(teacher_card, **change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *((c, t) for c, t in SHARED if c != {"held_out": None}),
        ({"grid": "uniform"}, "unknown grid 'uniform'; did you mean 'uniform_t'"),
        ({"grid": ["uniform_t"]}, "grid"),
        ({"metric": "lpips"}, "unknown metric 'lpips'"),
        ({"ode_step": "euler"}, "unknown ode_step 'euler'"),
        ({"intervals": 8}, "intervals are two numbers"),
        ({"intervals": [4]}, "intervals are two numbers"),
        ({"intervals": [4, 8, 16]}, "intervals are two numbers"),
        ({"intervals": [1, 8]}, "intervals must be at least 2"),
        ({"intervals": [4, 8.0]}, "intervals must be a whole number"),
        ({"intervals": [8, 4]}, "intervals must not fall, got 8 and then 4"),
        ({"target_ema": 1}, "target_ema must be below 1, got 1"),
        ({"target_ema": -0.5}, "target_ema must be at least 0"),
    ],
)
def test_a_consistency_recipe_that_cannot_be(teacher_card, data, tmp_path, change, told):
    refused(ConsistencyDistillation.train, tmp_path, data, told, consistency=consistency(teacher_card, **change))


def test_steps_of_the_ode_are_of_distillation_alone(teacher_card, data, tmp_path):
    """consistency needs `ode_step`; consistency_training, which takes none, refuses it."""
    lacking = consistency(teacher_card, ode_step=None)
    refused(ConsistencyDistillation.train, tmp_path, data, "consistency: ode_step is missing", consistency=lacking)
    given = {"consistency_training": consistency(teacher_card)}
    refused(ConsistencyTraining.train, tmp_path, data, "unknown key 'ode_step'", **given)


@pytest.mark.parametrize("train", [Ladder.train, ConsistencyDistillation.train, ConsistencyTraining.train])
def test_a_recipe_without_its_section(data, tmp_path, train):
    refused(train, tmp_path, data, "has no section '(progressive|consistency|consistency_training)'", other={})


@pytest.mark.parametrize(
    ("classes", "size", "told"), [(6, 8, "images of 6 classes, .*knows 5"), (5, 9, r"images of \(1, 9, 9\)")]
)
def test_images_that_the_teacher_does_not_know(teacher_card, tmp_path, classes, size, told):
    write_images(tmp_path / "images", classes=classes, size=size)
    sections = {"progressive": progressive(teacher_card), "consistency": consistency(teacher_card)}
    refused(Ladder.train, tmp_path, tmp_path, told, **sections)
    refused(ConsistencyDistillation.train, tmp_path, tmp_path, told, **sections)
