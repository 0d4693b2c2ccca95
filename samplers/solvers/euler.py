"""DDIM and its kin: in sigma coordinates DDIM is Euler's method; DDPM's ancestral sampling adds noise on the way."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from samplers.errors import UserError
from samplers.protocol import Card
from samplers.schedule import vp_end
from samplers.solvers.base import Solver, Walk
from samplers.solvers.settings import DPM_SOLVER, EDM, UNIFORM


def euler_step(x: Tensor, denoised: Tensor, s: float, t: float) -> Tensor:
    """x_t = x_s + (t - s) (x_s - D) / s, which is D + (t / s) (x_s - D)."""
    return torch.lerp(denoised, x, t / s)


class DDIM(Solver):
    """Song, Meng & Ermon, arXiv 2010.02502, eq. 12 and 16; eta = 0 is deterministic, eta = 1 DDPM's ancestral sampling.

    x_t = D + sqrt(t^2 - u^2) eps + u z,   u = eta (t / s) sqrt(s^2 - t^2)

    Args:
        eta: share of the ancestral noise, in [0, 1].
        grid, end, last: as of every solver.
    """

    card = Card(
        name="ddim",
        family="euler",
        paper="Song, Meng & Ermon 2020, arXiv 2010.02502",
        order=1,
        grid="uniform_t",
        note="Euler's method in sigma coordinates; eta > 0 adds noise each step",
        setting=UNIFORM,
    )

    def __init__(self, *, eta: float = 0.0, grid: str | None = None, end: float | None = None, last: str | None = None):
        super().__init__(grid=grid, end=end, last=last)
        if not 0 <= eta <= 1:
            raise UserError(f"ddim: eta must be in [0, 1], got {eta}")
        self.eta = eta
        if eta > 0:
            self.card = replace(self.card, deterministic=False, noise_from=2, order=None)

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, denoised = walk.points[-1]
        if self.eta == 0:
            return euler_step(x, denoised, s, t)
        u = self.eta * (t / s) * math.sqrt(s**2 - t**2)
        return euler_step(x, denoised, s, math.sqrt(t**2 - u**2)) + u * walk.fresh_noise(walk.done)


class DDPM(DDIM):
    """Ho, Jain & Abbeel, arXiv 2006.11239: ancestral sampling with the posterior variance, DDIM at eta = 1."""

    card = Card(
        name="ddpm",
        family="ddpm",
        paper="Ho, Jain & Abbeel 2020, arXiv 2006.11239",
        order=None,
        deterministic=False,
        noise_from=2,
        grid="uniform_t",
        note="ancestral sampling with the posterior variance",
        setting=UNIFORM,
    )

    def __init__(self, *, grid: str | None = None, end: float | None = None, last: str | None = None):
        super().__init__(eta=1.0, grid=grid, end=end, last=last)


class Euler(Solver):
    """Euler's method as in EDM (Karras et al., arXiv 2206.00364): DDIM's arithmetic on EDM's grid."""

    card = Card(
        name="euler",
        family="euler",
        paper="Karras et al. 2022, arXiv 2206.00364",
        order=1,
        grid="karras",
        note="the same arithmetic as ddim, on EDM's grid",
        setting=EDM,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        s, x, denoised = walk.points[-1]
        return euler_step(x, denoised, s, t)


class DPMSolver1(Euler):
    """DPM-Solver-1 (Lu et al., arXiv 2206.00927, section 4.1): the exponential Euler step in log-SNR, which is DDIM."""

    card = Card(
        name="dpm_solver_1",
        family="euler",
        paper="Lu et al. 2022, arXiv 2206.00927",
        order=1,
        grid="logsnr",
        end=vp_end,
        last="stop",
        note="the same arithmetic as ddim, on DPM-Solver's grid",
        setting=DPM_SOLVER,
    )
