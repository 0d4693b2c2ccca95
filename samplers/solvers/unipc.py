"""UniPC: one formula as predictor and corrector, multistep."""

import math

import numpy as np
from torch import Tensor

from samplers.protocol import Card
from samplers.solvers.base import Point, Solver, Walk
from samplers.solvers.euler import euler_step

ORDER = 3


def coefficients(nodes: list[float], h: float) -> np.ndarray:
    """The rho of UniPC (data prediction, B(h) = e^-h - 1) for nodes r_m = (lambda_m - lambda_s) / h other than 0.

    Solves sum_m r_m^(k-1) rho_m = k! phi_{k+1}(-h) / phi_1(-h), k = 1.., with phi_1(z) = (e^z - 1) / z and
    phi_{k+1}(z) = (phi_k(z) - 1 / k!) / z (arXiv 2302.04867, theorem 3.1 and appendix for data prediction).
    """
    if len(nodes) == 1:
        return np.array([0.5])  # as the paper (its section 3.3): independent of h, still second order
    z, size = -h, len(nodes)
    b, phi = [], math.expm1(z) / z
    scale = z / math.expm1(z)
    for k in range(1, size + 1):
        phi = (phi - 1 / math.factorial(k)) / z
        b.append(math.factorial(k) * phi * scale)
    powers = np.vander(np.array(nodes), size, increasing=True).T
    return np.linalg.solve(powers, np.array(b))


class UniPC(Solver):
    """Zhao et al., arXiv 2302.04867: UniPC-3 with B_2(h) = e^h - 1, data prediction; the corrector reuses the step's one call.

    x_t = (t / s) x + (1 - t / s) (D + sum_m (rho_m / r_m) (D_m - D))

    Predictor: D_m are past evaluations. Corrector: the same from s to t once D(x_t, t) is known, as one node more at r = 1.
    """

    card = Card(
        name="unipc",
        family="unipc",
        paper="Zhao et al. 2023, arXiv 2302.04867",
        order=3,
        grid="logsnr",
        note="multistep predictor-corrector, one call a step",
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        if len(walk.points) > 1:
            self._correct(walk)
        past = list(walk.points)[-ORDER:]
        return _advance(past[-1], past[:-1], t)

    def _correct(self, walk: Walk) -> None:
        """Redo the last step, now that D at its end is known, one order higher."""
        *past, now = list(walk.points)[-ORDER - 1 :]
        walk.points[-1] = now._replace(x=_advance(past[-1], [*past[:-1], now], now.sigma))


def _advance(here: Point, others: list[Point], t: float) -> Tensor:
    """The formula of the class from `here` to t, with `others` as its nodes."""
    if not others:
        return euler_step(here.x, here.denoised, here.sigma, t)
    h = math.log(here.sigma / t)
    nodes = [math.log(here.sigma / p.sigma) / h for p in others]
    denoised = here.denoised
    for p, r, rho in zip(others, nodes, coefficients(nodes, h), strict=True):
        denoised = denoised + float(rho) / r * (p.denoised - here.denoised)
    return euler_step(here.x, denoised, here.sigma, t)
