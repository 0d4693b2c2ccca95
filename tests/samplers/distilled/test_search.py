"""The search of a student's settings: every variant has the same share of the work, and the chosen one all of it."""

import json

import pytest
from small import OPTIMISATION, consistency, progressive, write_recipe

from samplers.distilled.consistency_training import ConsistencyDistillation
from samplers.distilled.progressive_training import Ladder

TFLOP, SHARE = 0.003, 0.2
UNTOLD = {k: v for k, v in OPTIMISATION.items() if k not in ("steps", "checkpoint_seconds")} | {"validate_every": 1000}
TRAININGS = {
    "progressive": (Ladder, lambda teacher: progressive(teacher, rungs={}), "growth", (1.0, 2.0)),
    "consistency": (ConsistencyDistillation, consistency, "target_ema", (0.5, 0.9)),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_every_variant_has_its_share_and_the_student_all(name, teacher_card, data, tmp_path):
    training, section, key, tried = TRAININGS[name]
    own = section(teacher_card) | {"optimisation": UNTOLD, "search": [{key: v} for v in tried]}
    students = {"tflop": TFLOP, "search": SHARE}
    recipe = write_recipe(tmp_path / "recipe.yaml", students=students, **{name: own})
    made = json.loads(training.train(recipe, data, tmp_path / "out", quiet=True).read_text())
    search = json.loads((tmp_path / "out" / "search.json").read_text())
    assert [row["tflop"] for row in search["variants"]] == pytest.approx([SHARE * TFLOP] * 2, rel=0.1)
    cost = made["rungs"][-1]["cost"] if "rungs" in made else made["cost"]
    assert cost["tflop"] == pytest.approx(TFLOP, rel=0.1)
    assert cost["tflop_allowed"] == TFLOP
