"""DPM-Solver-2 and -3, singlestep: Lu et al., arXiv 2206.00927, algorithms 1 and 2.

They expand eps in lambda = -log sigma inside a step from s to t, h = log(s / t); s_r = s (t / s)^r lies a share r on the way.
In sigma coordinates the paper's sigma_t (e^h - 1) is s - t.
"""

import math

from torch import Tensor

from samplers.protocol import Card
from samplers.solvers.base import Point, Solver, Walk

PAPER = "Lu et al. 2022, arXiv 2206.00927"


class DPMSolver2(Solver):
    """Second order: eps at the middle in lambda (r1 = 1/2) stands for the step.

    u = x - (s - s1) eps_s,   x_t = x - (s - t) eps(u, s1)
    """

    card = Card(
        name="dpm_solver_2",
        family="dpm_solver",
        paper=PAPER,
        order=2,
        calls=lambda n: 2 * n - 1,
        grid="logsnr",
        note="singlestep, two calls a step, one in the last",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = here = walk.points[-1]
        s1 = math.sqrt(s * t)
        u = x - (s - s1) * here.eps
        return x - (s - t) * Point(s1, u, walk.model(u, s1)).eps


class DPMSolver3(Solver):
    """Third order, r1 = 1/3 and r2 = 2/3:

    u1 = x - (s - s1) eps_s
    u2 = x - (s - s2) eps_s - s2 (r2 / r1) ((e^(r2 h) - 1) / (r2 h) - 1) (eps_1 - eps_s)
    x_t = x - (s - t) eps_s - t / r2 ((e^h - 1) / h - 1) (eps_2 - eps_s)
    """

    card = Card(
        name="dpm_solver_3",
        family="dpm_solver",
        paper=PAPER,
        order=3,
        calls=lambda n: 3 * n - 2,
        grid="logsnr",
        note="singlestep, three calls a step, one in the last",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = here = walk.points[-1]
        h, r1, r2 = math.log(s / t), 1 / 3, 2 / 3
        s1, s2 = s * (t / s) ** r1, s * (t / s) ** r2
        eps = here.eps
        u1 = x - (s - s1) * eps
        d1 = Point(s1, u1, walk.model(u1, s1)).eps - eps
        u2 = x - (s - s2) * eps - s2 * (r2 / r1) * (math.expm1(r2 * h) / (r2 * h) - 1) * d1
        d2 = Point(s2, u2, walk.model(u2, s2)).eps - eps
        return x - (s - t) * eps - (t / r2) * (math.expm1(h) / h - 1) * d2
