"""Guidance: a linear combination of two predictions, in one call of twice the batch or in two, counted as what it is."""

import pytest
import torch
from torch import nn

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from samplers import Cosine, Teacher, UserError
from samplers.models.guidance import Guided, guided

LABELS = torch.tensor([3, 0, 4])


def noise(n: int = 3) -> torch.Tensor:
    return samplers.noise(1, range(n), (1, 8, 8))


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("sigma", [1.5, torch.tensor(1.5), torch.tensor([0.1, 1.5, 20.0])])
@torch.no_grad()
def test_it_is_without_plus_w_times_the_difference(small_teacher, sigma, calls):
    z = noise()
    without, with_ = small_teacher(z, sigma, torch.full((3,), -1)), small_teacher(z, sigma, LABELS)
    found = guided(small_teacher, 2.5, calls)(z, sigma, LABELS)
    torch.testing.assert_close(found, without + 2.5 * (with_ - without), rtol=1e-4, atol=1e-5)
    assert (found - with_).abs().max() > 0.01


@pytest.mark.parametrize(("calls", "counted"), [(1, 4), (2, 8)])
def test_forwards_are_counted(small_teacher, calls, counted):
    teacher = guided(small_teacher, 3.0, calls)
    meter = Meter(teacher, Clock(torch.device("cpu")))
    with torch.no_grad(), meter.watching():
        samplers.get("ddim").sample(meter, noise(), steps=4, labels=LABELS)
    assert (meter.count.calls, meter.count.forwards) == (counted, 2 * 4 * 3)


def test_a_guide_is_another_teacher(small_teacher):
    class Half(Teacher):
        def forward(self, x, sigma, labels=None):
            return small_teacher(x, sigma, labels) / 2

        def networks(self):
            return [nn.Identity()]

    half = Half("half", (1, 8, 8), 5, Cosine(), sha256="ab")
    teacher = guided(small_teacher, 1.5, guide=half)
    z = noise()
    torch.testing.assert_close(teacher(z, 2.0, LABELS), 1.25 * small_teacher(z, 2.0, LABELS))
    torch.testing.assert_close(teacher(z, 2.0), 1.25 * small_teacher(z, 2.0))  # it needs no class
    assert teacher.unconditional
    assert len(teacher.networks()) == 2
    half.num_classes = 4
    with pytest.raises(UserError, match=r"--guide 'half' has states \[1, 8, 8\] and 4 classes"):
        guided(small_teacher, 1.5, guide=half)


def test_a_guide_may_have_no_classes(small_teacher):
    """As EDM2's networks are guided by another that was trained without."""

    class Third(Teacher):
        def forward(self, x, sigma, labels=None):
            assert labels is None
            return x / 3

        def networks(self):
            return []

    teacher, z = guided(small_teacher, 2.0, guide=Third("third", (1, 8, 8), 0, Cosine())), noise()
    torch.testing.assert_close(teacher(z, 2.0, LABELS), 2 * small_teacher(z, 2.0, LABELS) - z / 3)
    assert teacher.num_classes == 5


def test_it_is_another_teacher_than_the_bare_one(small_teacher, monkeypatch):
    monkeypatch.setattr(small_teacher, "sha256", "cd" * 32)
    found = {guided(small_teacher, w, calls).sha256 for w in (1.5, 2.0) for calls in (1, 2)}
    assert len(found) == 2, "how it is computed changes no image"
    assert small_teacher.sha256 not in found
    assert guided(small_teacher, 2.0).name == "teacher, guidance 2"
    assert guided(small_teacher, None) is guided(small_teacher, 1.0) is small_teacher
    monkeypatch.setattr(small_teacher, "sha256", None)
    assert guided(small_teacher, 2.0).sha256 is None


def test_what_cannot_guide_itself(small_teacher, monkeypatch):
    with pytest.raises(UserError, match="guidance needs a class for each image"):
        Guided(small_teacher, 2.0)(noise(), 1.0)
    monkeypatch.setattr(small_teacher, "unconditional", False)
    with pytest.raises(UserError, match="cannot guide itself: it was not trained without a class"):
        guided(small_teacher, 2.0)
    monkeypatch.setattr(small_teacher, "num_classes", 0)
    with pytest.raises(UserError, match="cannot guide itself: it has no classes"):
        guided(small_teacher, 2.0)
