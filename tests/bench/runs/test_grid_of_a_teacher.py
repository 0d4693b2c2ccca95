"""A solver on a grid made for the teacher, or fitted to it: what that took stands in its records as a training."""

import numpy as np
import pytest

import bench
from samplers.solvers import gits, s4s, s4s_fitting


def test_its_cost_is_recorded_and_its_calls_are_the_solver_s(small, tmp_path, monkeypatch):
    monkeypatch.setattr(gits, "NOISES", 8)
    frame = bench.run(**small | {"samplers": ("ipndm", "ipndm:grid=gits"), "calls": (5,)}, out=tmp_path / "run", quiet=True)
    assert set(frame["status"]) == {"ok"}
    made = frame.set_index("sampler").loc["ipndm:grid=gits"]
    assert (made["counted.calls"], made["grid"], made["student.name"]) == (5, "gits", "gits")
    assert made["training.cost.teacher_forwards"] == 8 * gits.INTERVALS
    assert frame.set_index("sampler")["student.name"].isna()["ipndm"]
    page = bench.report(tmp_path / "run").read_text()
    assert "| gits |" in page.partition("What training the students took")[2]


def test_a_fitted_solver_s_too(small, tmp_path, monkeypatch):
    monkeypatch.setattr(s4s, "NOISES", 2)
    monkeypatch.setattr(s4s, "TARGET", 4)
    monkeypatch.setattr(s4s_fitting, "ROUNDS", 1)
    frame = bench.run(**small | {"samplers": ("ipndm", "s4s"), "calls": (3,)}, out=tmp_path / "run", quiet=True)
    assert set(frame["status"]) == {"ok"}
    made = frame.set_index("sampler").loc["s4s"]
    assert (made["counted.calls"], made["grid"], made["student.name"]) == (3, "s4s", "s4s")
    assert made["training.cost.teacher_forwards"] > 2 * 4
    kept = [np.load(tmp_path / "run" / "influence" / f"{cell}.error.npy") for cell in frame["cell"]]
    scale = [errors.mean() / value**2 for errors, value in zip(kept, frame["quality.trajectory_error.value"], strict=True)]
    assert scale[0] == pytest.approx(scale[1], rel=1e-5), "squared errors over the mean square of the converged images"
    page = bench.report(tmp_path / "run").read_text()
    assert "| s4s |" in page.partition("What training the students took")[2]
