from pathlib import Path

from one_call import OneCallTraining

import samplers
from samplers.conformance.verify import verify

RECIPE = """
one_call:
  name: tiny
  teacher: mnist32
  solver_steps: 2
  held_out: {count: 2, seed: 77}
  optimisation: {steps: 2, batch: 2}
"""


def test_it_trains_and_keeps_the_protocol(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    card = OneCallTraining.train(tmp_path / "recipe.yaml", None, tmp_path / "made", quiet=True)
    found = verify(f"one_call:student={card}", samplers.load_teacher("mnist32"))
    assert not [finding for finding in found if finding.passed is False]
