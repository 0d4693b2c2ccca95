"""DPM-Solver++ multistep, 2M and 3M: Lu et al., arXiv 2211.01095, algorithm 2 and appendix.

They expand the denoised image D in lambda = -log sigma; a step from s to t has h = log(s / t), e^-h = t / s. Runs of fewer
than 15 steps take the last in first order and the one before in second at most: without that, few long steps are not stable
(so the authors' code, and diffusers; a last step to 0 is of first order anyway).
"""

import math

import torch
from torch import Tensor

from samplers.errors import unknown
from samplers.protocol import Card
from samplers.schedule import vp_end
from samplers.solvers.base import Solver, Walk
from samplers.solvers.euler import euler_step
from samplers.solvers.settings import DPM_SOLVER, DPMPP

PAPER = "Lu et al. 2022, arXiv 2211.01095"
ENOUGH = 15
"""Steps from which on the order is not lowered at the end."""
VARIANTS = {"published": 1, "corrected": 2}
"""Of 3M -> what h^2 D'' / 2 is taken for h^2 D'' with."""


def second_order(walk: Walk, t: float) -> Tensor:
    """x_t = (t / s) x + (1 - t / s) (D + (D - D_1) / (2 r)), r = h_1 / h, D_1 and h_1 of the step before."""
    (s1, _, d1), (s, x, d) = walk.points[-2], walk.points[-1]
    r = math.log(s1 / s) / math.log(s / t)
    return euler_step(x, torch.lerp(d, d1, -1 / (2 * r)), s, t)


def order_now(walk: Walk, most: int) -> int:
    """The order of the step being taken: as many values as there are, and fewer at the end of a short run."""
    return min(most, len(walk.points), walk.left if walk.steps < ENOUGH else most)


class DPMpp2M(Solver):
    """Second order from one past evaluation; the first step is Euler's."""

    card = Card(
        name="dpmpp_2m",
        family="dpmpp",
        paper=PAPER,
        order=2,
        grid="uniform_t",
        end=vp_end,
        last="stop",
        note="multistep, one call a step",
        setting=DPMPP,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        if order_now(walk, 2) == 1:
            s, x, denoised = walk.points[-1]
            return euler_step(x, denoised, s, t)
        return second_order(walk, t)


class DPMpp3M(DPMpp2M):
    """Third order from two past evaluations; D's first two lambda-derivatives come from the parabola through the three.

    x_t = (t / s) x - (e^-h - 1) D + ((e^-h - 1) / h + 1) h D' - ((e^-h - 1 + h) / h^2 - 1/2) h^2 D''

    The authors' code, and diffusers and k-diffusion after it, put the divided difference, which is h^2 D'' / 2, in the place of
    h^2 D'': that is of second order, and no worse below 20 calls. It is what is known by this name, and the default.

    Args:
        variant: `published`, or `corrected`, what the expansion gives: exact where D is a parabola in lambda.
        grid, end, last: as of every solver.
    """

    card = Card(
        name="dpmpp_3m",
        family="dpmpp",
        paper=PAPER,
        order=2,
        grid="logsnr",
        end=vp_end,
        last="stop",
        note="multistep, one call a step; second order, as published; variant=corrected is of third after its first steps",
        setting=DPM_SOLVER,
    )

    def __init__(
        self,
        *,
        variant: str = "published",
        grid: str | None = None,
        end: float | None = None,
        last: str | None = None,
    ):
        super().__init__(grid=grid, end=end, last=last)
        if variant not in VARIANTS:
            raise unknown("variant of dpmpp_3m", variant, VARIANTS)
        self.curvature = VARIANTS[variant]

    def step(self, walk: Walk, t: float) -> Tensor:
        if order_now(walk, 3) < 3:
            return super().step(walk, t)
        (s2, _, d2), (s1, _, d1), (s, x, d) = list(walk.points)[-3:]
        h = math.log(s / t)
        r0, r1 = math.log(s1 / s) / h, math.log(s2 / s1) / h
        slope0, slope1 = (d - d1) / r0, (d1 - d2) / r1  # divided differences in units of h
        half = (slope0 - slope1) / (r0 + r1)  # h^2 D'' / 2
        slope = slope0 + r0 * half  # h D'
        decay = math.expm1(-h)
        third = self.curvature * ((decay + h) / h**2 - 0.5)
        return (t / s) * x - decay * d + (decay / h + 1) * slope - third * half
