"""Where images were not scored, solvers are ranked by how close they come to the converged solution."""

import numpy as np
import pytest
from report_fixture import record, write_run

from bench.presentation import markdown
from bench.presentation.document import Bullets
from bench.records.frame import load_records
from bench.reports.answer import answer
from bench.reports.sections import sections


def unscored(sampler: str, steps: int, error: float | None, half: float = 0.01, own: float = 0.001) -> dict:
    r = record(sampler, steps)
    known = r["quality"].pop("trajectory_error", None) or record("ddim", 5)["quality"]["trajectory_error"]
    told = {**known, "value": error, "ci_low": (error or 0) - half, "ci_high": (error or 0) + half, "reference_error": own}
    return r | {"quality": {"trajectory_error": told} if error is not None else None}


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


def paired(tmp_path, shift: float, steps: int = 8) -> str:
    """Two samplers whose intervals meet and whose squared errors differ by `shift` on each of 64 noises, which differ more."""
    rows = [unscored("ddim", steps, 0.201, own=1e-4), unscored("dpmpp_2m", steps, 0.200, own=1e-4)]
    write_run(tmp_path, rows, images=False)
    noises, jitter = np.random.default_rng(0), np.random.default_rng(1)
    hard = noises.exponential(0.04, 64)
    for row, by in zip(rows, (shift, 0.0), strict=True):
        errors = hard + by + jitter.normal(0, 1e-4, 64)
        np.save(tmp_path / "influence" / f"{row['cell']}.error.npy", errors.astype(np.float32))
    (section,) = sections(load_records([tmp_path]))
    return markdown.render([Bullets(answer(section))])


def test_what_is_farther_on_the_same_noises_is_told_where_intervals_do_not_tell(tmp_path):
    assert "All others are farther, noise by noise." in paired(tmp_path / "a", 4e-4)
    assert "Not told from it, noise by noise (calls in brackets): ddim (8)." in paired(tmp_path / "b", 1e-6)


@pytest.mark.parametrize("spoil", [b"", b"\x93NUMPY", None])
def test_errors_that_are_damaged_or_of_other_noises_are_not_paired(tmp_path, spoil):
    paired(tmp_path, 4e-4)
    (path,) = (tmp_path / "influence").glob("ddim*.error.npy")
    if spoil is None:
        np.save(path, np.zeros(63, dtype=np.float32))
    else:
        path.write_bytes(spoil)
    (section,) = sections(load_records([tmp_path]))
    assert "Not told from it, by their intervals" in markdown.render([Bullets(answer(section))])
