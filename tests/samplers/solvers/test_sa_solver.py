"""SA-Solver with noise: on Gaussian data the distribution it ends in is known exactly, since all it does is linear."""

import math

import pytest
import torch
from exact import Gaussian

import samplers
from samplers import UserError
from samplers.noises import FreshNoise
from samplers.solvers.sa_solver import weights


@pytest.mark.parametrize("tau", [0.0, 0.7, 2.0])
def test_weights_integrate_polynomials_exactly(tau):
    """D = lambda^2: p e^(-p (b - u)) u^2 has the antiderivative e^(-p (b - u)) F(u), F(u) = u^2 - 2 u / p + 2 / p^2."""
    p, nodes = 1 + tau**2, [3.0, 1.4, 0.5]
    s, t = nodes[-1], 0.3
    a, b = -math.log(s), -math.log(t)
    antiderivative = lambda u: u**2 - 2 * u / p + 2 / p**2  # noqa: E731
    found = weights(nodes, s, t, p)
    expected = antiderivative(b) - math.exp(-p * (b - a)) * antiderivative(a)
    assert sum(c * math.log(n) ** 2 for c, n in zip(found, nodes, strict=True)) == pytest.approx(expected, rel=1e-9)
    assert sum(found) == pytest.approx(1 - (t / s) ** p)


def moments(spec: str, steps: int, monkeypatch) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and variance [6] of the images, and the level they end at: from the image of no noise and of each noise alone."""
    denoiser, drawn = Gaussian(), [-1]
    monkeypatch.setattr(FreshNoise, "__call__", lambda self, step: torch.full_like(self._like, float(step == drawn[0])))

    def image(start: float) -> torch.Tensor:
        z = torch.full((1, *denoiser.shape), start, dtype=torch.float64)
        return samplers.get(spec).sample(denoiser, z, steps=steps).flatten()

    mean = image(0.0)
    variance = (image(1.0) - mean).square()
    for drawn[0] in range(steps):
        variance += (image(0.0) - mean).square()
    return mean, variance, samplers.get(spec).levels(denoiser, steps)[-1]


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
def test_it_ends_in_the_data_s_distribution_whatever_tau(tau, monkeypatch):
    """N(mu, s^2 + sigma^2) at sigma; with few steps not yet, with more the nearer."""
    spec, far = f"sa_solver:tau={tau}:tau_to=80:tau_from=0:grid=logsnr", []
    for steps in (40, 160):
        mean, variance, end = moments(spec, steps, monkeypatch)
        exact = Gaussian().s.flatten() ** 2 + end**2
        far.append(float((variance / exact - 1).abs().max()))
        assert float((mean - Gaussian().mu.flatten()).abs().max()) < 0.005  # the start is of mean 0, and not yet forgotten
    assert far[1] < 0.002
    assert far[1] < far[0] / 6


def test_noise_is_added_between_two_levels_only(monkeypatch):
    drawn = []
    monkeypatch.setattr(FreshNoise, "__call__", lambda self, step: drawn.append(step) or torch.zeros_like(self._like))
    denoiser, solver = Gaussian(), samplers.get("sa_solver:tau_from=0.1:tau_to=10")
    z = samplers.noise(0, range(2), denoiser.shape, dtype=torch.float64)
    solver.sample(denoiser, z, steps=12)
    assert drawn == [i for i, s in enumerate(solver.levels(denoiser, 12)[:-1]) if 0.1 <= s <= 10]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("tau=-1", "tau must be 0 or more, and tau_from at most tau_to"),
        ("tau_from=2:tau_to=1", "tau must be 0 or more, and tau_from at most tau_to"),
        ("predictor=4", "predictor must be 1 to 3, and corrector 0 to 4"),
        ("corrector=5", "predictor must be 1 to 3, and corrector 0 to 4"),
    ],
)
def test_refusals(options, told):
    with pytest.raises(UserError, match=told):
        samplers.get(f"sa_solver:{options}")
