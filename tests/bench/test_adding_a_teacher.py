"""Adding a teacher of another kind is one file and one entry-point line: it is run, counted and scored like ours."""

import pytest

import bench
from samplers import UserError

TEACHER = """
import torch
from samplers import Power
from samplers.analytic import Gaussian
from samplers.models.python import DenoiserTeacher


class Network(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 1)
        self.exact = Gaussian(torch.zeros(1, 8, 8), torch.full((1, 8, 8), width), 0.01, 20.0)

    def forward(self, x, sigma, labels=None):
        return self.exact(x, sigma, labels) + 0 * self.layer(x)


def load(rest, device):
    network = Network(float(rest)).to(device)
    network.sigma_min, network.sigma_max, network.shape, network.num_classes = 0.01, 20.0, (1, 8, 8), 0
    network.schedule = Power(0.01, 20.0)
    return DenoiserTeacher(f"blob-{rest}", network)
"""


def test_a_teacher_of_another_kind_is_run_and_counted(small, install, tmp_path, monkeypatch):
    install("[bench.teachers]\nblob = stranger_package:load", TEACHER)
    options = {**small, "teacher": "blob:0.5", "samplers": ("heun", "dpmpp_2m"), "calls": (5,), "trajectory_images": 4}
    frame = bench.run(out=tmp_path / "run", quiet=True, **options).set_index("sampler")
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert set(frame["teacher.name"]) == {"blob-0.5"}
    assert (frame["counted.calls"] == 5).all()
    assert (frame["counted.teacher_equivalents"] == 5).all()
    assert frame["time.overhead_fraction"].notna().all()
    with pytest.raises(UserError, match=r"teacher 'blob:x' cannot be loaded \(ValueError: .*; its author must mend it"):
        bench.run(out=tmp_path / "other", quiet=True, **{**options, "teacher": "blob:x"})
    with monkeypatch.context() as m:
        m.setattr("samplers.models.python.DenoiserTeacher.networks", lambda self: 1 / 0)
        with pytest.raises(
            UserError, match=r"teacher 'blob:0.5' cannot denoise \(ZeroDivisionError: .*; its author must mend it"
        ):
            bench.run(out=tmp_path / "other", quiet=True, **options)
    with pytest.raises(UserError, match=r"unknown kind of teacher 'blub'; did you mean 'blob'|unknown .*'blub'"):
        bench.run(out=tmp_path / "other", quiet=True, **{**options, "teacher": "blub:0.5"})
