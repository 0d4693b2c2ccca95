"""Objects in the places of names: the teacher, its guide and samplers, straight from Python."""

import pytest
import torch
from torch import nn

import bench
import samplers
from samplers import Card, Sampler, UserError
from samplers.analytic import Gaussian
from samplers.registry import HELD


class Blob(nn.Module):
    """A denoiser of one's own, in training."""

    sigma_min, sigma_max, shape, num_classes = 0.01, 20.0, (2, 8, 8), 0

    def __init__(self, width: float = 0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.exact = Gaussian(torch.zeros(self.shape), torch.full(self.shape, width))

    def forward(self, x, sigma, labels=None):
        assert not self.training
        return self.exact(x, sigma) * self.weight


class Once(Sampler):
    card = Card("another_name", "own", paper="none", order=None, deterministic=False, calls=lambda n: 1)

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return self.scale * denoiser(denoiser.sigma_max * noise, denoiser.sigma_max, labels)


@pytest.fixture
def options(small: dict) -> dict:
    del small["teacher"], small["extractor"], small["calls"]
    return small | {"steps": (1, 2), "trajectory_images": 4, "quiet": True}


def test_a_run(options, tmp_path, capsys):
    teacher, sampler = Blob().train(), Once(0.5)
    frame = bench.run(out=tmp_path / "run", **options | {"teacher": teacher, "samplers": [sampler, "ddim"]})
    assert set(frame["status"]) == {"ok"}, list(frame["error"])
    assert list(frame["sampler"]) == [f"{__name__}:Once"] * 2 + ["ddim"] * 2
    assert set(frame["teacher.name"]) == {f"{__name__}:Blob"}
    assert (frame["counted.calls"] == [1, 1, 1, 2]).all()
    assert teacher.training, "as it was"
    assert teacher.weight.requires_grad
    assert not HELD
    again = bench.run(out=tmp_path / "run", **options | {"teacher": Blob(2.0), "samplers": [sampler, "ddim"], "quiet": False})
    assert len(again) == len(frame)
    assert f"nothing tells whether teacher '{__name__}:Blob' is that of the records in" in capsys.readouterr().err
    with pytest.raises(UserError, match="unknown sampler"):
        samplers.get(f"{__name__}:Once")


def test_a_class_and_a_guide(options, tmp_path):
    told = {"teacher": samplers.load_teacher("mnist32"), "guide": Wide(), "guidance": 1.5, "samplers": Once}
    with pytest.raises(UserError, match=r"--guide '.*Wide' has states \[2, 8, 8\]"):
        bench.run(out=tmp_path / "run", **options | told)
    frame = bench.run(out=tmp_path / "run", **options | told | {"teacher": Blob(), "steps": (1,)})
    assert list(frame["status"]) == ["ok"], list(frame["error"])
    assert list(frame["teacher.name"]) == [f"{__name__}:Blob, guidance 1.5 by {__name__}:Wide"]
    assert list(frame["counted.calls"]) == [2]


class Wide(Blob):
    def __init__(self):
        super().__init__(1.0)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"teacher": Blob}, "teacher is the class 'Blob'; give an object of it"),
        ({"teacher": lambda x, sigma: x}, "returned a function, no denoiser"),
        ({"samplers": [Once(), Once()]}, "two objects are called .*:Once; give one of them a class of its own"),
        ({"samplers": [Once()], "cold_start": True}, "cold_start is timed in a fresh process"),
        ({"samplers": [Once(), 5]}, "samplers"),
        ({"teacher": 5}, "teacher"),
    ],
)
def test_what_is_refused(told, said, options, tmp_path):
    with pytest.raises(UserError, match=said) as e:
        bench.run(out=tmp_path / "run", **options | {"teacher": Blob(), "samplers": "ddim"} | told)
    assert "\n" not in str(e.value)
    assert not HELD
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("records.jsonl"))


def test_each_cell_has_a_sampler_of_its_own_and_options_are_refused():
    HELD["bench.samplers", "here:Own"] = sampler = Once()
    try:
        found = [samplers.get("here:Own") for _ in range(2)]
        assert found[0] is not found[1]
        assert found[0].scale == sampler.scale
        with pytest.raises(UserError, match="an object has its options already; leave out grid"):
            samplers.get("here:Own:grid=karras")
    finally:
        HELD.clear()
