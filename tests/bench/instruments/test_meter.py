"""Counting by hooks: every network that a call reaches, once each, and no hook left behind."""

import time

import pytest
import torch
from exact import Gaussian
from torch import nn

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from samplers import Cosine, Sampler, Teacher

CLOCK, SHAPE = Clock(torch.device("cpu")), (1, 4, 4)


class Net(nn.Module):
    """Takes what a text model would: images, a time, an embedding of many numbers."""

    def forward(self, x, embedding=None, time=None):
        return 0.5 * x


class Path(Net):
    """Decodes three points of a path in a call, as it says."""

    def evaluations(self, args, kwargs):
        return 3 * len(args[0])


class Outer(nn.Module):
    """An adapter around a network."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, *rest):
        return self.inner(x, *rest) + self.inner(x, *rest)


class Of(Teacher):
    """A teacher of some networks and of what a call of it does with them."""

    def __init__(self, call, *networks):
        super().__init__("of", SHAPE, 0, Cosine(0.01, 20.0))
        self.call, self.own = call, nn.ModuleList(networks)

    def forward(self, x, sigma, labels=None):
        return self.call(x, *self.own)

    def networks(self):
        return list(self.own)


class Student(Sampler):
    card = samplers.Card("student", "student", "none", None, True, lambda n: 2, training=True)

    def __init__(self, *networks):
        self.own = networks

    def networks(self):
        return list(self.own)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        for _ in range(steps):
            for network in self.own:
                noise = network(noise)
        return noise


def hooks(*networks) -> int:
    """How many hooks are on the modules, and on those inside them."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for n in networks for m in n.modules())


EMBEDDED = torch.zeros(5, 77, 768)
WORDS = (EMBEDDED, torch.zeros(5))
CALLS = {
    "plain": (lambda x, n: n(x), (Net(),), 1, 5),
    "guided, two calls": (lambda x, n: n(x) + n(x), (Net(),), 2, 10),
    "guided, one call of two batches": (lambda x, n: n(torch.cat([x, x])).chunk(2)[0], (Net(),), 1, 10),
    "two networks in one call": (lambda x, n, m: n(x) + m(x), (Net(), Net()), 2, 10),
    "a text embedding": (lambda x, n: n(x, *WORDS), (Net(),), 1, 5),
    "images by keyword, after a number": (lambda x, n: n(time=1.0, x=x, embedding=EMBEDDED), (Net(),), 1, 5),
    "declared": (lambda x, n: n(x, *WORDS), (Path(),), 1, 15),
    "a network in an adapter": (lambda x, n, m: n(x) + m(x), (Outer(inner := Net()), inner), 2, 10),
    "named twice": (lambda x, n, _: n(x), (named := Net(), named), 1, 5),
}
"""What a call of a teacher does with its networks -> calls, and forwards of a batch of five."""


@pytest.mark.parametrize("bare", [False, True], ids=["by the meter", "bare"])
@pytest.mark.parametrize(("call", "networks", "calls", "forwards"), CALLS.values(), ids=CALLS)
def test_a_teacher_s_calls(call, networks, calls, forwards, bare):
    teacher = Of(call, *networks)
    meter, z = Meter(teacher, CLOCK), torch.randn(5, *SHAPE)
    with meter.watching():
        image = samplers.get("heun").sample(teacher if bare else meter, z, steps=2)
    assert (meter.count.calls, meter.count.forwards) == (3 * calls, 3 * forwards)
    assert meter.count.asked == 3 * (calls if bare else 1), "a call of the denoiser is one"
    assert meter.network_seconds() > 0
    assert hooks(teacher) == 0
    teacher(z, 1.0)
    assert meter.count.calls == 3 * calls, "a network is watched only inside the block"
    assert torch.equal(samplers.get("heun").sample(teacher, z, steps=2), image)


def test_autoguidance_by_a_second_teacher():
    weak, strong = (Of(lambda x, n: n(x), Net()) for _ in range(2))
    guided = Of(lambda x, *_: weak(x, 1.0) + 2 * (strong(x, 1.0) - weak(x, 1.0)))
    guided.networks = lambda: [*weak.networks(), *strong.networks()]
    meter = Meter(guided, CLOCK)
    with meter.watching(samplers.get("ddim")):
        samplers.get("ddim").sample(meter, torch.randn(5, *SHAPE), steps=4)
    assert (meter.count.calls, meter.count.forwards) == (4 * 3, 4 * 15)


def test_a_student_s_networks_are_counted_beside_the_teacher_s():
    teacher = Of(lambda x, n: n(x), Net())
    student, meter, z = Student(Net(), Path(), teacher.own[0]), Meter(teacher, CLOCK), torch.randn(5, *SHAPE)
    with meter.watching(student):
        student.sample(meter, z, steps=2)
        meter(z, 1.0)
    assert (meter.count.calls, meter.count.forwards) == (2 * 3 + 1, 2 * (5 + 15 + 5) + 5)
    assert meter.count.asked == 2 * 3 + 1
    with meter.watching(samplers.get("ddim")):
        pass
    assert (meter.count.calls, meter.network_seconds()) == (0, 0)


def test_a_denoiser_without_networks_is_counted_by_its_calls():
    """Analytic ones; it is all there is, whatever one asks of the meter in its place."""

    class Slow(Gaussian):
        colour = "red"

        def __call__(self, x, sigma, labels=None):
            time.sleep(0.01)
            return super().__call__(x, sigma)

    meter, z = Meter(Slow(), CLOCK), torch.randn(5, 6, 1, 1, dtype=torch.float64)
    assert isinstance(meter, samplers.Denoiser)
    assert (meter.shape, meter.sigma_max, meter.colour) == ((6, 1, 1), 80.0, "red")
    assert not hasattr(meter, "sha256")
    with meter.watching(samplers.get("heun")):
        (_, elapsed) = CLOCK.time(lambda: samplers.get("heun").sample(meter, z, steps=2))
    assert (meter.count.calls, meter.count.forwards, meter.count.asked) == (3, 15, 3)
    assert 0.03 <= meter.network_seconds() <= elapsed.seconds, "its naps lie inside the network's share, that inside the whole"


class Broken(Net):
    def forward(self, x, *rest):
        raise KeyboardInterrupt if self.training else ValueError("no")


def test_no_hook_stays_whatever_happens():
    teacher = Of(lambda x, n: n(x), Net())
    meter, z, broken = Meter(teacher, CLOCK), torch.randn(5, *SHAPE), Broken().eval()
    for error, network in ((ValueError, broken), (KeyboardInterrupt, Broken())):
        with pytest.raises(error), meter.watching(student := Student(teacher.own[0], network)):
            student.sample(meter, z, steps=1)
        assert hooks(teacher, network) == 0
    for student in (Student(broken, object()), Student(broken, None)):  # no modules: while the hooks are set
        with pytest.raises(AttributeError), meter.watching(student):
            pytest.fail("not reached")
        assert hooks(teacher, broken) == 0
    with pytest.raises(ValueError, match="no"), meter.watching():
        raise ValueError("no")
    assert hooks(teacher) == 0


def test_counts_go_on_after_a_call_that_failed():
    teacher, broken = Of(lambda x, n: n(x), Net()), Broken().eval()
    meter, z = Meter(teacher, CLOCK), torch.randn(5, *SHAPE)
    with meter.watching(Student(broken)):
        with pytest.raises(ValueError, match="no"):
            broken(z)
        meter(z, 1.0)
    assert (meter.count.calls, meter.count.forwards) == (2, 10)
