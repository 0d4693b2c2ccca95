"""A solver on a grid made for the teacher: what making it took stands in its records as a training."""

import bench
from samplers.solvers import gits


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
