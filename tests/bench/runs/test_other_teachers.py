"""A whole run of a teacher that is no network: counted by its calls, nothing of it cached, on another schedule than ours."""

import pytest

import bench

TEACHER = """
import torch
from samplers import Power
from samplers.analytic import Gaussian

def gaussian():
    pixels = torch.linspace(0, 6, 64).reshape(1, 8, 8)
    found = Gaussian(pixels.sin() / 2, 0.1 + pixels.cos() ** 2, 0.01, 20.0)
    found.schedule = Power(0.01, 20.0)
    return found
"""


def test_a_run(small: dict, tmp_path, monkeypatch):
    (tmp_path / "analytic_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    options = small | {"teacher": "python:analytic_teacher:gaussian", "samplers": ("ddim", "heun", "deis"), "calls": (5,)}
    frame = bench.run(out=tmp_path / "run", quiet=True, **options).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert (frame["counted.calls"] == 5).all()
    assert (frame["counted.forwards"] == 5).all()
    assert set(frame["teacher.name"]) == {"analytic_teacher:gaussian"}
    assert frame["teacher.sha256"].isna().all()
    assert not list((tmp_path / "cache").glob("*")), "nothing tells its solutions from another's"
    assert (frame["quality.trajectory_error.value"] > 0).all()


@pytest.mark.parametrize("name", ["dsno", "progressive"])
def test_it_has_no_students(small: dict, tmp_path, monkeypatch, name):
    (tmp_path / "analytic_teacher.py").write_text(TEACHER)
    monkeypatch.chdir(tmp_path)
    options = small | {"teacher": "python:analytic_teacher:gaussian", "samplers": (name,), "calls": (1,)}
    with pytest.raises(bench.UserError, match=f"no {name} student of this teacher"):
        bench.run(out=tmp_path / "run", quiet=True, **options)
