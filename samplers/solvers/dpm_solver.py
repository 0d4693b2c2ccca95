"""DPM-Solver, singlestep: Lu et al., arXiv 2206.00927; its mixed orders ("fast"), and its algorithms 1 and 2 alone.

They expand eps in lambda = -log sigma inside an interval from s to t, h = log(s / t); s_r = s (t / s)^r lies a share r on the
way. In sigma coordinates the paper's sigma_t (e^h - 1) is s - t.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.protocol import Card
from samplers.schedule import vp_end
from samplers.solvers.base import Point, Solver, Walk
from samplers.solvers.settings import DPM_SOLVER

PAPER = "Lu et al. 2022, arXiv 2206.00927"
FIXED = "equal steps of log-SNR down to the end of dpm_solver, then one call to 0, the authors' option `denoise_to_zero`"


def line(here: Point, s1: float, eps1: Tensor, t: float) -> Tensor:
    """From `here` to t with the line in lambda through eps and eps_1, which is eps at s1, integrated exactly:

    x_t = x - (s - t) eps - (t / r) ((e^h - 1) / h - 1) (eps_1 - eps),   r = log(s / s1) / h
    """
    s, x, _ = here
    h = math.log(s / t)
    return x - (s - t) * here.eps - t * h / math.log(s / s1) * (math.expm1(h) / h - 1) * (eps1 - here.eps)


def middle(here: Point, s1: float, eps1: Tensor, t: float) -> Tensor:
    """As `line`, but eps where that line is at the middle of the interval stands for all of it: x_t = x - (s - t) eps_m."""
    s, x, _ = here
    return x - (s - t) * torch.lerp(here.eps, eps1, math.log(s / t) / (2 * math.log(s / s1)))


def mixed_orders(calls: int) -> list[int]:
    """The orders of the intervals that N >= 1 calls are spent on, floor(N / 3) + 1 of them (appendix D.1 of the paper)."""
    whole, rest = divmod(calls, 3)
    return [*[3] * (whole - 1), 2, 1] if rest == 0 else [*[3] * whole, rest]


class DPMSolver(Solver):
    """The published method: as many intervals of third order as N calls allow, and the rest of them on lower orders at the end.

    A step is one call. An interval of order p is p steps: Euler's to s_1; `middle` from there to the end of one of second
    order; `line` through eps_1 to s_2, and through eps_2 to the end of one of third order.
    """

    card = Card(
        name="dpm_solver",
        family="dpm_solver",
        paper=PAPER,
        order=2,
        grid="logsnr",
        end=vp_end,
        last="stop",
        note='singlestep of mixed orders ("fast"), one call a step; of third order but for the end, which bounds it at 2',
        setting=DPM_SOLVER,
    )

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """Of `logsnr` equal intervals, cut inside into equal parts; of another grid N equal steps. So the authors' code."""
        zero = self.last == "denoise"
        if self.grid != "logsnr" or steps == zero:
            return super().levels(denoiser, steps)
        orders = mixed_orders(steps - zero)
        nodes = super().levels(denoiser, len(orders) + zero)
        inner = [s * (t / s) ** (k / p) for (s, t), p in zip(pairwise(nodes), orders, strict=False) for k in range(p)]
        return [*inner, *nodes[len(orders) :]]

    def step(self, walk: Walk, t: float) -> Tensor:
        place = walk.done
        for order in mixed_orders(walk.steps - (walk.levels[-1] == 0)):
            if place < order:
                break
            place -= order
        start, now = walk.points[-1 - place], walk.points[-1]
        if place == 0:
            return now.x - (now.sigma - t) * now.eps
        return (middle if order == 2 else line)(start, now.sigma, now.eps, t)


class DPMSolver2(Solver):
    """Algorithm 1 in every step: eps at the middle in lambda (r1 = 1/2) stands for the step.

    u = x - (s - s1) eps_s,   x_t = x - (s - t) eps(u, s1)
    """

    card = Card(
        name="dpm_solver_2",
        family="dpm_solver",
        paper=PAPER,
        order=2,
        calls=lambda n: 2 * n - 1,
        grid="logsnr",
        end=lambda n: vp_end(2 * n - 1),
        note="singlestep of fixed order, two calls a step; the published method is dpm_solver, which mixes orders",
        setting=FIXED,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = here = walk.points[-1]
        s1 = math.sqrt(s * t)
        u = x - (s - s1) * here.eps
        return x - (s - t) * Point(s1, u, walk.model(u, s1)).eps


class DPMSolver3(Solver):
    """Algorithm 2 in every step, r1 = 1/3, r2 = 2/3: Euler's to s_1, `line` through eps_1 to s_2, through eps_2 to t."""

    card = Card(
        name="dpm_solver_3",
        family="dpm_solver",
        paper=PAPER,
        order=3,
        calls=lambda n: 3 * n - 2,
        grid="logsnr",
        end=lambda n: vp_end(3 * n - 2),
        note="singlestep of fixed order, three calls a step; the published method is dpm_solver, which mixes orders",
        setting=FIXED,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, _ = here = walk.points[-1]
        s1, s2 = s * (t / s) ** (1 / 3), s * (t / s) ** (2 / 3)
        u1 = x - (s - s1) * here.eps
        u2 = line(here, s1, Point(s1, u1, walk.model(u1, s1)).eps, s2)
        return line(here, s2, Point(s2, u2, walk.model(u2, s2)).eps, t)
