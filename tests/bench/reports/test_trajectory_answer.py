"""Where images were not scored, solvers are ranked by how close they come to the converged solution."""

import pytest
from report_fixture import record, write_run

from bench.presentation import markdown
from bench.presentation.document import Bullets
from bench.records.frame import load_records
from bench.reports.answer import answer
from bench.reports.sections import sections


def unscored(sampler: str, steps: int, error: float | None, half: float = 0.01) -> dict:
    r = record(sampler, steps)
    known = r["quality"].pop("trajectory_error", None) or record("ddim", 5)["quality"]["trajectory_error"]
    own = {**known, "value": error, "ci_low": (error or 0) - half, "ci_high": (error or 0) + half, "reference_error": 0.001}
    return r | {"quality": {"trajectory_error": own} if error is not None else None}


@pytest.fixture
def told(tmp_path) -> str:
    rows = [unscored("ddim", 4, 0.30), unscored("dpmpp_2m", 4, 0.20), unscored("ddim", 8, 0.10), unscored("dpmpp_2m", 8, 0.085)]
    write_run(tmp_path, [*rows, unscored("ddpm", 8, None)], images=False)
    (section,) = sections(load_records([tmp_path]))
    return markdown.render([Bullets(answer(section))])


def test_the_closest_of_each_budget_is_named(told: str):
    assert "No Frechet distance was measured, so no sampler can be called best." in told
    assert "**At most 4 calls: dpmpp\\_2m** (4 calls)" in told or "**At most 4 calls: dpmpp_2m** (4 calls)" in told
    assert "0.200 [0.190, 0.210]. The intervals of all others lie above its own." in told
    assert "At most 20" not in told, "nothing of more than 8 calls was measured"


def test_what_the_intervals_do_not_tell_apart_is_named(told: str):
    (line,) = [line for line in told.splitlines() if "At most 8 calls" in line]
    assert "0.0850 [0.0750, 0.0950]. Not told from it, by their intervals (calls in brackets): ddim (8)." in line
    assert "ddpm" not in line
