"""Work of trainings: how many updates it pays for, and a search that shares it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplers import UserError
from samplers.distilled.progressive_training import Ladder
from samplers.training.budget import Budget
from samplers.training.recipe import read_recipe
from samplers.training.student import has_steps


@given(st.floats(1, 1e9), st.floats(0, 0.9), st.floats(1e-3, 1e3))
def test_updates_are_what_is_left_within_half_of_one(flops: float, made: float, work: float):
    budget = Budget(flops, made * flops)
    left = flops - budget.made
    if left / work < 0.5:
        with pytest.raises(UserError, match=r"here: .* raise `tflop` in the section students"):
            budget.updates(work, "here")
    elif left / work > 0.5:
        steps = budget.updates(work, "here")
        assert abs(steps * work - left) <= work / 2 * (1 + 1e-9) or steps == 1
        assert budget.told(steps * work)["tflop"] == pytest.approx((budget.made + steps * work) / 1e12)


SECTIONS = ("dsno", "progressive", "consistency")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_student_of_the_study_has_a_search_of_equal_size(section: str):
    own = read_recipe("mnist32").section(section)
    assert len(own.values["search"]) == 3
    assert not has_steps(own)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    - {growth: 2.0}\n", "    - {growth: 20}\n", r"line \d+: progressive: growth must be at most 10, got 20"),
        ("    - {growth: 2.0}\n", "    - {grwth: 2}\n", r"line \d+: progressive: unknown key 'grwth'"),
        ("    8: {learning_rate", "    8: {steps: 5, learning_rate", r"line \d+: .*is divided by `growth`; leave it out"),
        ("students:\n  tflop: 250\n", "students:\n  tflop: 0\n", r"line \d+: students: tflop must be above 0, got 0"),
        ("{batch: 64, learning_rate: 3.0e-4", "{steps: 9, batch: 64, learning_rate: 3.0e-4", r"leave out `steps`"),
    ],
)
def test_a_mistake_in_budget_or_search_is_told_with_its_line(old: str, new: str, told: str, tmp_path: Path):
    text = Path(read_recipe("mnist32").origin).read_text()
    assert old in text
    (tmp_path / "own.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=told):
        Ladder.check(read_recipe(tmp_path / "own.yaml"))
