"""Two calls tell a teacher that is read right from one that is not, whatever its network predicts."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import samplers
from samplers import Cosine, Teacher
from samplers.models.doubts import doubts
from samplers.models.scaling import edm, flow, vp

RIGHT = {
    "eps": (vp("eps", torch.log), torch.exp),
    "x": (vp("x", torch.log), torch.exp),
    "v": (vp("v", torch.log), torch.exp),
    "edm": (edm(0.5, torch.log), torch.exp),
    "flow": (flow(), lambda t: t / (1 - t)),
}
"""What a network predicts, and the level that a time stands for."""


class Read(Teacher):
    """A perfect network of smooth random images around grey 0.3, and a scaling that reads it."""

    def __init__(self, family: str, sigma_max: float = 157.0, **wrong):
        scaling, level = RIGHT[family]
        super().__init__(family, (3, 8, 8), 0, Cosine(0.01, sigma_max))
        self.right, self.level = scaling, level
        self.scaling = replace(scaling, **{k: make(getattr(scaling, k)) for k, make in wrong.items()})

    def networks(self):
        return []

    def output(self, seen, time):
        s = self.level(time)[:, None, None, None].double().clamp(1e-4, 1e4)
        x = seen.double() / self.right.c_in(s)
        x = x - 0.3
        smooth = nn.functional.interpolate(nn.functional.avg_pool2d(x, 4), scale_factor=4)
        exact = 0.3 + smooth * 0.25 / (0.25 + s**2 / 16) + (x - smooth) * 1e-4 / (1e-4 + s**2)
        return ((exact - self.right.c_skip(s) * (x + 0.3)) / self.right.c_out(s)).float()

    def forward(self, x, sigma, labels=None):
        return self.scaling.denoise(self.output, x, torch.as_tensor(sigma))


@pytest.mark.parametrize("family", RIGHT)
def test_one_that_is_read_right(family):
    assert doubts(Read(family)) == []


@pytest.mark.parametrize("family", RIGHT)
def test_a_flipped_sign(family):
    assert doubts(Read(family, leave=lambda leave: lambda x, s, f: leave(x, s, -f)))


@pytest.mark.parametrize("family", RIGHT)
def test_a_wrong_time(family):
    backwards = (lambda c: lambda s: 1 - c(s)) if family == "flow" else (lambda c: lambda s: -c(s))
    assert doubts(Read(family, c_noise=backwards))
    if family not in ("x", "edm"):  # told a level of about 1 throughout, which for these is near enough
        assert doubts(Read(family, c_noise=lambda c: lambda s: c(s) / 1000))


@pytest.mark.parametrize("family", ["x", "v"])
def test_another_prediction(family):
    """The noise is not there where the network predicts an image."""
    assert doubts(Read(family, leave=lambda _: vp("eps").leave))
    assert doubts(Read("eps", leave=lambda _: vp(family).leave))


def test_numbers_that_are_not_finite():
    (line,) = doubts(Read("v", leave=lambda _: lambda x, s, f: f * math.nan))
    assert line == "at its highest noise level, 157, it returns numbers that are not finite"


def test_images_of_another_shape():
    with pytest.raises(ValueError, match=r"returns images \[22, 1, 8, 8\] for noise of \[22, 3, 8, 8\]"):
        doubts(Read("v", leave=lambda _: lambda x, s, f: f[:, :1]))


@pytest.mark.parametrize("name", ["mnist32", "cifar10-small"])
def test_those_that_ship_and_that_it_takes_two_calls(name):
    teacher, calls = samplers.load_teacher(name), []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    assert doubts(teacher) == []
    assert len(calls) == 2
