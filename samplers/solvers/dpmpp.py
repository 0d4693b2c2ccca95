"""DPM-Solver++ multistep, 2M and 3M: Lu et al., arXiv 2211.01095, algorithm 2 and appendix.

They expand the denoised image D in lambda = -log sigma; a step from s to t has h = log(s / t), e^-h = t / s.
"""

import math

import torch
from torch import Tensor

from samplers.protocol import Card
from samplers.solvers.base import Solver, Walk
from samplers.solvers.euler import euler_step

PAPER = "Lu et al. 2022, arXiv 2211.01095"


def second_order(walk: Walk, t: float) -> Tensor:
    """x_t = (t / s) x + (1 - t / s) (D + (D - D_1) / (2 r)), r = h_1 / h, D_1 and h_1 of the step before."""
    (s1, _, d1), (s, x, d) = walk.points[-2], walk.points[-1]
    r = math.log(s1 / s) / math.log(s / t)
    return euler_step(x, torch.lerp(d, d1, -1 / (2 * r)), s, t)


class DPMpp2M(Solver):
    """Second order from one past evaluation; the first step is Euler's."""

    card = Card(
        name="dpmpp_2m",
        family="dpmpp",
        paper=PAPER,
        order=2,
        grid="uniform_t",
        note="multistep, one call a step",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        if len(walk.points) == 1:
            s, x, denoised = walk.points[-1]
            return euler_step(x, denoised, s, t)
        return second_order(walk, t)


class DPMpp3M(DPMpp2M):
    """Third order from two past evaluations; D's first two lambda-derivatives come from the parabola through the three.

    x_t = (t / s) x - (e^-h - 1) D + ((e^-h - 1) / h + 1) h D' - ((e^-h - 1 + h) / h^2 - 1/2) h^2 D''

    The authors' code, and diffusers and k-diffusion after it, put the divided difference, which is h^2 D'' / 2, in the place of
    h^2 D'': that is second order. This is the formula that the expansion gives, exact where D is a parabola in lambda.
    """

    card = Card(
        name="dpmpp_3m",
        family="dpmpp",
        paper=PAPER,
        order=2,
        grid="uniform_t",
        note="multistep, one call a step; third order after its first steps, which bound it at 2 in the limit",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        if len(walk.points) < 3:
            return super().step(walk, t)
        (s2, _, d2), (s1, _, d1), (s, x, d) = list(walk.points)[-3:]
        h = math.log(s / t)
        r0, r1 = math.log(s1 / s) / h, math.log(s2 / s1) / h
        slope0, slope1 = (d - d1) / r0, (d1 - d2) / r1  # divided differences in units of h
        half = (slope0 - slope1) / (r0 + r1)  # h^2 D'' / 2
        slope = slope0 + r0 * half  # h D'
        decay = math.expm1(-h)
        return (t / s) * x - decay * d + (decay / h + 1) * slope + (1 - 2 * (decay + h) / h**2) * half
