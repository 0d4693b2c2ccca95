"""Denoisers with exact scores, in float64, the exact solutions of their probability-flow ODEs, and walks set up by hand."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from samplers import Cosine, Solver, Walk, analytic
from samplers.solvers.base import Point


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


class Gaussian(analytic.Gaussian):
    """Of shape (6, 1, 1)."""

    shape = (6, 1, 1)

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0):
        mu, s = column(0.5, -0.3, 0.0, 0.8, -0.6, 0.1), column(0.3, 0.5, 0.7, 1.0, 1.3, 2.0)
        super().__init__(mu, s, sigma_min, sigma_max)

    def exact(self, x: Tensor, start: float, sigmas: Sequence[float]) -> list[Tensor]:
        """The solution through x at `start`, at each of `sigmas`."""
        return [self.state(x, start, t) for t in sigmas]


class Mixture(analytic.Mixture):
    """Three in the plane, shape (2, 1, 1); the ODE is solved by DOP853."""

    shape = (2, 1, 1)

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0):
        means = torch.stack([column(0.8, 0.1), column(-0.7, 0.6), column(0.1, -0.9)])
        super().__init__([0.5, 0.3, 0.2], means, [0.5, 0.6, 0.7], sigma_min, sigma_max)

    def exact(self, x: Tensor, start: float, sigmas: Sequence[float]) -> list[Tensor]:
        """The solution through x at `start`, at each of `sigmas` (decreasing), in lambda = -log sigma: dx/dlambda = D - x."""

        def slope(lam: float, flat: np.ndarray) -> np.ndarray:
            y = torch.from_numpy(flat).reshape(x.shape)
            return (self(y, math.exp(-lam)) - y).flatten().numpy()

        lams = [-math.log(t) for t in sigmas]
        solved = solve_ivp(slope, (-math.log(start), lams[-1]), x.flatten().numpy(), "DOP853", lams, rtol=1e-12, atol=1e-13)
        return [torch.from_numpy(y.copy()).reshape(x.shape) for y in solved.y.T]


def walk_at(
    points: Sequence[tuple[float, Tensor, Tensor]],
    model: Callable[[Tensor, float], Tensor] | None = None,
    schedule: Cosine | None = None,
) -> Walk:
    """A walk that has been at `points`, (sigma, x, D) each, newest last, far from its end, where orders are lowered.

    A model is needed by singlestep methods alone.
    """

    def no_model(x: Tensor, sigma: float) -> Tensor:
        raise AssertionError("a multistep method called the model")

    levels = [p[0] for p in points] + [points[-1][0] / 2**k for k in range(1, 40)]
    walk = Walk(model or no_model, schedule or Cosine(0.002, 80.0), points[0][1], levels, done=len(points) - 1)
    walk.points = deque((Point(*p) for p in points), maxlen=walk.points.maxlen)
    return walk


def walk_on(solver: Solver, denoiser: Gaussian | Mixture, levels: Sequence[float], past: Sequence[Tensor]) -> Tensor:
    """D(x, levels[-1]) after a solver went through `levels` from exact states `past` at the first of them: no warm-up steps."""
    schedule = Cosine(denoiser.sigma_min, denoiser.sigma_max)
    walk = walk_at([(s, x, denoiser(x, s)) for s, x in zip(levels, past, strict=False)], denoiser, schedule)
    for t in levels[len(past) :]:
        x = solver.step(walk, t)
        walk.points.append(Point(t, x, denoiser(x, t)))
    return walk.points[-1].denoised
