"""Consistency models' arithmetic: the boundary, noise levels, curriculum, metrics, ODE steps; and exact Gaussian paths."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from small import MU, SPREAD, Gaussian, make_teacher, noised, relative, shaken, wide
from torch import nn

import samplers
from samplers import Cosine
from samplers.distilled.consistency import ODE_STEPS, ConsistencyFunction, intervals_at, nodes
from samplers.distilled.losses import METRICS
from samplers.models.weights import load_tensors
from samplers.schedule import GRIDS
from samplers.training.loop import Target, fit
from samplers.training.optimisation import Optimisation
from samplers.training.student import as_teacher

LABELS = torch.tensor([0, 4, -1])

# f


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_end_of_a_path_maps_to_itself(seed):
    """f(x, sigma_min) = x for any network, to 1e-6, the level a float or one for each image."""
    model = make_teacher()
    if seed is not None:
        model = as_teacher(model, shaken(model, seed, size=1.0))
    f, x = ConsistencyFunction(model), 3 * samplers.noise(5, range(3), model.shape)
    with torch.no_grad():
        assert relative(model(x, 0.002, LABELS), x) > 1e-4
        for s in (0.002, torch.full((3,), 0.002), torch.full((3,), 0.002, dtype=torch.float64)):
            image = f(x, s, LABELS)
            assert image.dtype == torch.float32
            assert relative(image, x) < 1e-6


def test_f_is_its_formula():
    """(sigma_min / s) x + (1 - sigma_min / s) D(x, s), in float64, each image at its own level."""
    gaussian, s = Gaussian(0.01, 50.0), torch.tensor([0.01, 0.02, 1.0, 50.0], dtype=torch.float64)
    x = noised(s)
    skip = 0.01 / wide(s)
    expected = skip * x + (1 - skip) * gaussian(x, s)
    f = ConsistencyFunction(gaussian)
    assert relative(f(x, s), expected) < 1e-12
    for i, level in enumerate(s.tolist()):
        assert relative(f(x[i : i + 1], level), expected[i : i + 1]) < 1e-12


def test_f_starts_as_a_step_of_ddim():
    """With the teacher's weights: from s to sigma_min."""
    gaussian = Gaussian()
    x, told = 3.0 * samplers.noise(1, range(4), gaussian.shape, dtype=torch.float64), []
    samplers.get("ddim").integrate(gaussian, x / 3.0, [3.0, 0.002, 0.0], callback=lambda *row: told.append(row[2]))
    assert relative(ConsistencyFunction(gaussian)(x, 3.0), told[0]) < 1e-12


def test_labels_reach_the_network():
    model = make_teacher().requires_grad_(False)
    x, s = samplers.noise(5, range(3), model.shape), torch.tensor([1.0, 2.0, 3.0])
    f = ConsistencyFunction(model)
    assert relative(f(x, s, LABELS), f(x, s, torch.tensor([1, 1, 1]))) > 1e-3
    for i in range(3):
        assert relative(f(x[i : i + 1], float(s[i]), LABELS[i : i + 1]), f(x, s, LABELS)[i : i + 1]) < 1e-5


# Noise levels


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("intervals", [1, 2, 3, 16, 100])
def test_nodes_run_from_the_least_to_the_greatest(grid, intervals):
    schedule = Cosine(0.002, 80.0)
    levels = nodes(schedule, intervals, grid)
    assert levels.shape == (intervals + 1,)
    assert levels.dtype == torch.float64
    assert float(levels[0]) == 0.002
    assert float(levels[-1]) == pytest.approx(80.0, rel=1e-12)
    assert (levels.diff() > 0).all()


@pytest.mark.parametrize(
    ("grid", "warp"),
    [
        ("uniform_t", Cosine(0.002, 80.0).t),
        ("quadratic", lambda s: Cosine(0.002, 80.0).t(s) ** 0.5),
        ("logsnr", math.log),
        ("karras", lambda s: s ** (1 / 7)),
    ],
)
def test_nodes_are_even_on_their_grid(grid, warp):
    levels = [warp(max(s, 0.002)) for s in nodes(Cosine(0.002, 80.0), 8, grid).tolist()]
    steps = [b - a for a, b in pairwise(levels)]
    assert steps == pytest.approx([sum(steps) / 8] * 8, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "first", "last", "expected"),
    [
        (12, 4, 16, [4] * 4 + [8] * 4 + [16] * 4),
        (10, 4, 16, [4] * 4 + [8] * 3 + [16] * 3),
        (6, 3, 3, [3] * 6),
        (6, 4, 10, [4, 4, 8, 8, 10, 10]),  # the last doubling is cut
        (4, 10, 11, [10, 10, 11, 11]),
        (2, 2, 64, [2, 16]),  # fewer updates than numbers of intervals
        (8, 10, 1280, [10, 20, 40, 80, 160, 320, 640, 1280]),
    ],
)
def test_intervals_double_in_equal_shares(steps, first, last, expected):
    assert [intervals_at(k, steps, first, last) for k in range(steps)] == expected


# Metrics


def test_metrics_are_their_formulas():
    a, b = (samplers.noise(i, range(3), (2, 5, 5), dtype=torch.float64) for i in (0, 1))
    c = 0.00054 * math.sqrt(2 * 5 * 5)
    for i in range(3):
        d = float((a[i] - b[i]).norm())
        assert float(METRICS["pseudo_huber"](a, b)[i]) == pytest.approx(math.sqrt(d * d + c * c) - c, rel=1e-9)
        assert float(METRICS["l2"](a, b)[i]) == pytest.approx(d * d / 50, rel=1e-9)
    assert set(METRICS) == {"pseudo_huber", "l2"}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_of_equal_images(metric):
    """0, with a slope of 0 and not NaN."""
    a = torch.ones(2, 1, 3, 3, requires_grad=True)
    value = METRICS[metric](a, a.detach())
    value.sum().backward()
    assert value.tolist() == [0, 0]
    assert not a.grad.any()


# Steps of the ODE


@pytest.mark.parametrize("name", ODE_STEPS)
def test_ode_steps_are_those_of_the_solvers(name):
    """Each image from its own level to its own."""
    gaussian, calls = Gaussian(), []

    def counted(x, sigma, labels):
        calls.append(labels)
        return gaussian(x, sigma, labels)

    s, t = (torch.tensor(v, dtype=torch.float64) for v in ([80.0, 3.0, 0.5, 0.003], [20.0, 2.9, 0.1, 0.002]))
    x, (step, forwards) = noised(s), ODE_STEPS[name]
    found = step(counted, x, s, t, LABELS)
    assert len(calls) == forwards
    assert all(labels is LABELS for labels in calls)
    for i in range(4):
        told, z = [], x[i : i + 1] / s[i]
        levels = [float(s[i]), float(t[i]), 0.0]
        samplers.get(name).integrate(gaussian, z, levels, callback=lambda *row, told=told: told.append(row[2]))
        assert relative(found[i : i + 1], told[0]) < 1e-12


@pytest.mark.parametrize(("name", "order"), [("ddim", 2), ("heun", 3)])
def test_local_errors_are_of_their_order(name, order):
    """One step against the exact path: halving it divides the error by 2^order."""
    gaussian, s = Gaussian(), torch.tensor([2.0, 0.7, 0.2], dtype=torch.float64)
    x, errors = noised(s), []
    for h in (0.04, 0.02, 0.01):
        t = s * (1 - h)
        errors.append(float((ODE_STEPS[name][0](gaussian, x, s, t, None) - gaussian.state(x, s, t)).norm()))
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([order] * 2, abs=0.1)


# Gaussian data, where the consistency function is known


class Exact(Gaussian):
    """The denoiser whose f is exact: f(x, s) is where the path through x is at sigma_min."""

    def forward(self, x, sigma, labels=None):
        skip = self.sigma_min / wide(sigma)
        return torch.where(skip < 1, (self.state(x, sigma, self.sigma_min) - skip * x) / (1 - skip), x)


def test_the_exact_function_is_constant_along_a_path():
    exact = Exact()
    f, x = ConsistencyFunction(exact), 80 * samplers.noise(1, range(8), exact.shape, dtype=torch.float64)
    end = exact.state(x, 80.0, 0.002)
    for s in (80.0, 5.0, 0.3, 0.0021, 0.002):
        assert relative(f(exact.state(x, 80.0, s), s), end) < 1e-10


def distillation_error(step, function: ConsistencyFunction, intervals: int, grid: str) -> float:
    """Root of the distillation loss over all neighbours of a grid: what is left is the step's error."""
    gaussian = Gaussian()
    sigma, n = nodes(gaussian.schedule, intervals, grid), torch.arange(intervals).repeat(20)
    s, t = sigma[n + 1], sigma[n]
    x = noised(s)
    return float(METRICS["l2"](function(x, s), function(step(gaussian, x, s, t, None), t)).mean().sqrt())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("name", "order", "bound"), [("ddim", 2, 1e-4), ("heun", 3, 1e-5)])
def test_loss_of_the_exact_function_falls_with_the_intervals(grid, name, order, bound):
    step, f = ODE_STEPS[name][0], ConsistencyFunction(Exact())
    errors = [distillation_error(step, f, n, grid) for n in (64, 256)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(order, abs=0.3)
    assert errors[1] < 1.5 * bound
    assert distillation_error(step, ConsistencyFunction(Gaussian()), 256, grid) > 10 * errors[1]  # the teacher's own f


class Learner(Gaussian):
    """The Gaussian's own denoiser plus an affine map of each pixel, smooth in the level: it starts as its teacher."""

    def __init__(self, sigma_min: float, sigma_max: float):
        super().__init__(sigma_min, sigma_max)
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8)).double()
        for p in self.layers[-1].parameters():
            nn.init.zeros_(p)

    def forward(self, x, sigma, labels=None):
        gain, offset = self.layers(2 * wide(sigma).atan().flatten(1) - 1)[..., None, None].chunk(2, dim=1)
        return super().forward(x, sigma) + gain * x / (1 + wide(sigma) ** 2).sqrt() + offset


@pytest.mark.parametrize(("name", "bound"), [("heun", 0.07), ("ddim", 0.12)])
def test_a_trained_function_is_nearly_constant_along_exact_paths(tmp_path, name, bound):
    """Relative RMSE of f along whole paths against their ends, for ddim with the bias of its own 16 steps."""
    gaussian, updates = Gaussian(0.05, 20.0), 300
    student = Learner(0.05, 20.0)
    behind = copy.deepcopy(student).requires_grad_(False)
    f, f_target, (step, _) = ConsistencyFunction(student), ConsistencyFunction(behind), ODE_STEPS[name]

    def loss(network, generator, k):
        sigma = nodes(gaussian.schedule, intervals_at(k, updates, 8, 16), "uniform_t")
        n = torch.randint(len(sigma) - 1, (64,), generator=generator)
        s, t = sigma[n + 1], sigma[n]
        x0, eps = (torch.randn(64, *gaussian.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        x = MU + SPREAD * x0 + wide(s) * eps
        with torch.no_grad():
            target = f_target(step(gaussian, x, s, t, None), t)
        return METRICS["l2"](f(x, s), target).mean()

    x = 20.0 * samplers.noise(3, range(64), gaussian.shape, dtype=torch.float64)
    end = gaussian.state(x, 20.0, 0.05)

    @torch.no_grad()
    def errors() -> list[float]:
        return [
            float((f(gaussian.state(x, 20.0, s), s) - end).norm() / end.norm()) for s in (20.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
        ]

    before = errors()
    o = Optimisation(
        steps=updates, batch=64, learning_rate=1e-2, warmup=10, ema=0.99, checkpoint_seconds=1e9, validate_every=10**9
    )
    target = Target(behind, 0.9)
    trained = fit(student, loss, o, tmp_path, title="gaussian", identity={}, target=target, quiet=True)
    student.load_state_dict(trained.ema)
    assert max(errors()) < bound
    assert min(before[:3]) > 0.4


# The network that follows


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.9])
def test_the_target_follows_after_each_update(tmp_path, decay):
    """target <- decay target + (1 - decay) weights; with 0 it is the weights themselves, bit for bit."""
    network, follower = nn.Linear(3, 2), nn.Linear(3, 2)
    follower.load_state_dict(network.state_dict())
    follower.requires_grad_(False)
    seen = []

    def loss(net, generator, step):
        seen.append(tuple(m.weight.detach().clone() for m in (net, follower)))
        return (net(torch.randn(4, 3, generator=generator)) - follower.weight.sum()).square().mean()

    o = Optimisation(steps=5, batch=4, learning_rate=1e-2, warmup=1)
    fit(network, loss, o, tmp_path, title="tiny", identity={}, target=Target(follower, decay), quiet=True)
    tensors, _ = load_tensors(tmp_path / "checkpoint.safetensors")
    seen.append((tensors["raw/weight"], tensors["target/weight"]))
    expected = seen[0][0]
    for weights, target in seen[1:]:
        assert not torch.equal(weights, seen[0][0])
        expected = decay * expected + (1 - decay) * weights
        torch.testing.assert_close(target, expected, rtol=1e-6, atol=1e-7)
        if decay == 0:
            assert torch.equal(target, weights)
