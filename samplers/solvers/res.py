"""RES, an exponential integrator that meets the order conditions of stiff equations: Zhang et al., arXiv 2308.02157."""

import math

import torch
from torch import Tensor

from samplers.protocol import Card
from samplers.solvers.base import Solver, Walk
from samplers.solvers.euler import euler_step
from samplers.solvers.settings import EDM


class RES(Solver):
    """Algorithm 1, singlestep of second order, data prediction, c_2 = 1/2, the middle of the step in lambda = -log sigma.

    x_m = (m / s) x + (1 - m / s) D,   x_t = (t / s) x + (1 - t / s) (D + b (D_m - D)),   b = 2 (h / (1 - t / s) - 1) / h

    With h = log(s / t), (1 - t / s) b = 2 h phi_2(-h): D is the line through its two values, integrated exactly, where
    DPM-Solver++(2S) has b = 1. Its multistep form is `sa_solver:tau=0:predictor=2:corrector=0`.
    """

    card = Card(
        name="res",
        family="res",
        paper="Zhang et al. 2023, arXiv 2308.02157",
        order=2,
        calls=lambda n: 2 * n - 1,
        grid="karras",
        note="singlestep, two calls a step, one in the last",
        setting=EDM,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, denoised = walk.points[-1]
        h, m = math.log(s / t), math.sqrt(s * t)
        middle = walk.model(euler_step(x, denoised, s, m), m)
        return euler_step(x, torch.lerp(denoised, middle, 2 * (1 / (1 - t / s) - 1 / h)), s, t)
