"""UniPC: one formula as predictor and corrector, multistep."""

import math

import numpy as np
from torch import Tensor

from samplers.errors import unknown
from samplers.protocol import Card
from samplers.schedule import vp_end
from samplers.solvers.base import Point, Solver, Walk
from samplers.solvers.euler import euler_step
from samplers.solvers.settings import DPM_SOLVER

ORDER = 3
VARIANTS = ("bh1", "bh2")


def coefficients(nodes: list[float], h: float, variant: str = "bh2") -> np.ndarray:
    """The rho of UniPC (data prediction, B(h) = e^-h - 1) for nodes r_m = (lambda_m - lambda_s) / h other than 0.

    Solves sum_m r_m^(k-1) rho_m = k! phi_{k+1}(-h) / phi_1(-h), k = 1.., with phi_1(z) = (e^z - 1) / z and
    phi_{k+1}(z) = (phi_k(z) - 1 / k!) / z (arXiv 2302.04867, theorem 3.1 and appendix for data prediction). Another B(h) scales
    rho and itself by inverse factors, but for a single node, where the paper takes rho = 1/2 whatever h is, still of second
    order: there B_1(h) = -h counts.
    """
    z, size = -h, len(nodes)
    scale = z / math.expm1(z)
    if size == 1:
        return np.array([0.5 * (scale if variant == "bh1" else 1.0)])
    b, phi = [], math.expm1(z) / z
    for k in range(1, size + 1):
        phi = (phi - 1 / math.factorial(k)) / z
        b.append(math.factorial(k) * phi * scale)
    powers = np.vander(np.array(nodes), size, increasing=True).T
    return np.linalg.solve(powers, np.array(b))


class UniPC(Solver):
    """Zhao et al., arXiv 2302.04867: UniPC-3, data prediction; the corrector reuses the step's one call.

    x_t = (t / s) x + (1 - t / s) (D + sum_m (rho_m / r_m) (D_m - D))

    Predictor: D_m are past evaluations. Corrector: the same from s to t once D(x_t, t) is known, as one node more at r = 1.
    The last step is of first order and the one before it of second (the authors' `lower_order_final`).

    Args:
        variant: `bh1`, B_1(h) = h, or `bh2`, B_2(h) = e^h - 1: they differ where there is one node (see `coefficients`).
        grid, end, last: as of every solver.
    """

    card = Card(
        name="unipc",
        family="unipc",
        paper="Zhao et al. 2023, arXiv 2302.04867",
        order=2,
        grid="logsnr",
        end=vp_end,
        last="stop",
        note="multistep predictor-corrector, one call a step; the last two steps are of lower order",
        setting=DPM_SOLVER,
    )

    def __init__(self, *, variant: str = "bh1", grid: str | None = None, end: float | None = None, last: str | None = None):
        super().__init__(grid=grid, end=end, last=last)
        if variant not in VARIANTS:
            raise unknown("variant of unipc", variant, VARIANTS)
        self.variant = variant

    def step(self, walk: Walk, t: float) -> Tensor:
        if len(walk.points) > 1:
            self._correct(walk)
        past = list(walk.points)[-min(ORDER, walk.left) :]
        return self._advance(past[-1], past[:-1], t)

    def _correct(self, walk: Walk) -> None:
        """Redo the last step, now that D at its end is known, one order higher."""
        *past, now = list(walk.points)[-min(ORDER, walk.left + 1) - 1 :]
        walk.points[-1] = now._replace(x=self._advance(past[-1], [*past[:-1], now], now.sigma))

    def _advance(self, here: Point, others: list[Point], t: float) -> Tensor:
        """The formula of the class from `here` to t, with `others` as its nodes."""
        if not others:
            return euler_step(here.x, here.denoised, here.sigma, t)
        h = math.log(here.sigma / t)
        nodes = [math.log(here.sigma / p.sigma) / h for p in others]
        denoised = here.denoised
        for p, r, rho in zip(others, nodes, coefficients(nodes, h, self.variant), strict=True):
            denoised = denoised + float(rho) / r * (p.denoised - here.denoised)
        return euler_step(here.x, denoised, here.sigma, t)
