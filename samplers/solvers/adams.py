"""Adams-Bashforth methods on eps: DEIS (tAB3) and iPNDM-4, Zhang & Chen, arXiv 2204.13902."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from samplers.protocol import Card
from samplers.schedule import VP, Schedule, vp_end
from samplers.solvers.base import Solver, Walk
from samplers.solvers.settings import DEIS as DEIS_SETTING
from samplers.solvers.settings import IPNDM

PAPER = "Zhang & Chen 2022, arXiv 2204.13902"
QUADRATURE = np.polynomial.legendre.leggauss(48)


def lagrange(nodes: Sequence[float], at: np.ndarray) -> list[np.ndarray]:
    """The Lagrange polynomials l_j over `nodes`, each at the points `at`, shaped like it."""
    ones = np.ones_like(at)
    return [np.prod([ones, *((at - b) / (a - b) for k, b in enumerate(nodes) if k != j)], axis=0) for j, a in enumerate(nodes)]


def exponential_weights(schedule: Schedule, nodes: Sequence[float], s: float, t: float) -> list[float]:
    """C_j = integral from sigma = s to t of l_j(time(sigma)) d sigma, l_j the Lagrange polynomials in time over `nodes`.

    Gauss-Legendre in log sigma, where the integrand is smooth; right to about 1e-12 relative.
    """
    x, w = QUADRATURE
    logs = math.log(s) + (math.log(t) - math.log(s)) * (x + 1) / 2
    times = np.array([schedule.t(math.exp(v)) for v in logs])
    measure = w * (math.log(t) - math.log(s)) / 2 * np.exp(logs)  # d sigma
    return [float(np.sum(measure * basis)) for basis in lagrange([schedule.t(n) for n in nodes], times)]


class DEIS(Solver):
    """tAB3-DEIS (section 3.2): eps is the cubic in time through its last four values, integrated exactly.

    x_t = x_s + sum_j C_j eps_j

    The time is the paper's, of the linear VP process, whatever the teacher's own: a cubic in another is another method.
    """

    card = Card(
        name="deis",
        family="adams",
        paper=PAPER,
        order=2,
        grid="vp_quadratic",
        end=vp_end,
        last="stop",
        note="tAB3, multistep, one call a step",
        setting=DEIS_SETTING,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = walk.points[-1]
        for c, p in zip(exponential_weights(VP, [p.sigma for p in walk.points], s, t), walk.points, strict=True):
            x = x + c * p.eps
        return x


_ADAMS_BASHFORTH = ([1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])


class IPNDM4(Solver):
    """iPNDM, fourth order (section 4): the classical Adams-Bashforth mix of the last four eps, then DDIM's step.

    x_t = x_s + (t - s) (55 eps - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24, lower orders in the first three steps
    """

    card = Card(
        name="ipndm",
        family="adams",
        paper=PAPER + ", after Liu et al. 2022, arXiv 2202.09778",
        order=2,
        grid="uniform_t",
        end=vp_end,
        last="stop",
        setting=IPNDM,
        note="iPNDM-4, multistep, one call a step; its weights assume equal steps, so its order is 2",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = walk.points[-1]
        newest_first = list(walk.points)[::-1]
        mix = sum(c * p.eps for c, p in zip(_ADAMS_BASHFORTH[len(newest_first) - 1], newest_first, strict=True))
        return x + (t - s) * mix
