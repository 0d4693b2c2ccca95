"""SA-Solver: stochastic Adams methods for diffusion SDEs whose noise is chosen, Xue et al., arXiv 2309.05019.

In lambda = -log sigma, with data prediction and p = 1 + tau^2, a step from s to t of length h = log(s / t) is

    x_t = (t / s)^p x_s + integral over the step of p e^(-p (lambda_t - lambda)) D d lambda + t sqrt(1 - e^(-2 tau^2 h)) z

(their proposition 4.2): tau = 0 is the probability-flow ODE, tau = 1 the reverse SDE, and every tau has the same marginals.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from samplers.errors import UserError
from samplers.protocol import Card
from samplers.schedule import VP, vp_end
from samplers.solvers.adams import QUADRATURE, lagrange
from samplers.solvers.base import Point, Solver, Walk
from samplers.solvers.settings import SA_SOLVER

TAU_FROM, TAU_TO = (round(VP.sigma(t), 2) for t in (0.2, 0.8))
PREDICTOR, CORRECTOR = 3, 4
"""Values of D that they take at most: a walk keeps four, and while a step is corrected one of them is its end."""


def weights(nodes: Sequence[float], s: float, t: float, p: float) -> list[float]:
    """b_j = integral over the step of p e^(-p (lambda_t - lambda)) l_j(lambda) d lambda, l_j over noise levels `nodes`.

    They sum to 1 - (t / s)^p.
    """
    x, w = QUADRATURE
    h = math.log(s / t)
    u = h * (x + 1) / 2  # lambda_t - lambda
    decay = [p * math.exp(-p * v) for v in u]
    basis = lagrange([math.log(n / t) for n in nodes], u)
    return [float((w * h / 2 * decay * b).sum()) for b in basis]


def mix(weights: Sequence[float], points: Sequence[Point]) -> Tensor:
    """sum_j b_j D_j."""
    first, *others = zip(weights, points, strict=True)
    found = first[0] * first[1].denoised
    for b, p in others:
        found = found + b * p.denoised
    return found


class SASolver(Solver):
    """SA-Predictor and SA-Corrector, algorithm 1: D is the polynomial in lambda through its last values, integrated exactly.

    x_t = (t / s)^p x_s + sum_j b_j D_j + t sqrt(1 - e^(-2 tau^2 h)) z

    The corrector is the same with D at the predicted x_t as one value more, and the same noise; D is not called again there.
    The last steps are of lower order, the last between nodes of first (the authors' `lower_order_final`).

    Args:
        tau: how much noise, 0 for none.
        tau_from, tau_to: the noise levels between which a step has to begin for that; elsewhere tau is 0.
        predictor: how many values of D it takes, 1 to 3.
        corrector: how many, 0 to 4; 0 is none.
        grid, end, last: as of every solver.
    """

    card = Card(
        name="sa_solver",
        family="sa_solver",
        paper="Xue et al. 2023, arXiv 2309.05019",
        order=None,
        deterministic=False,
        grid="uniform_t",
        end=vp_end,
        last="stop",
        note="stochastic multistep predictor-corrector, one call a step; tau=0 is deterministic",
        setting=SA_SOLVER,
    )

    def __init__(
        self,
        *,
        tau: float = 1.0,
        tau_from: float = TAU_FROM,
        tau_to: float = TAU_TO,
        predictor: int = PREDICTOR,
        corrector: int = CORRECTOR,
        grid: str | None = None,
        end: float | None = None,
        last: str | None = None,
    ):
        super().__init__(grid=grid, end=end, last=last)
        if not (0 <= tau < math.inf and 0 <= tau_from <= tau_to):
            raise UserError("sa_solver: tau must be 0 or more, and tau_from at most tau_to")
        if not (1 <= predictor <= PREDICTOR and 0 <= corrector <= CORRECTOR):
            raise UserError(f"sa_solver: predictor must be 1 to {PREDICTOR}, and corrector 0 to {CORRECTOR}")
        self.tau, self.between, self.predictor, self.corrector = tau, (tau_from, tau_to), predictor, corrector
        if tau == 0:
            self.card = replace(self.card, deterministic=True, order=min(corrector or predictor, 2))

    def step(self, walk: Walk, t: float) -> Tensor:
        if self.corrector and len(walk.points) > 1:
            self._correct(walk)
        past = list(walk.points)[-min(self.predictor, walk.left) :]
        s, x, _ = past[-1]
        tau = self._tau(s)
        x = (t / s) ** (1 + tau**2) * x + mix(self._weights(past, s, t), past)
        if tau == 0:
            return x
        return x + t * math.sqrt(-math.expm1(-2 * tau**2 * math.log(s / t))) * walk.fresh_noise(walk.done)

    def _tau(self, s: float) -> float:
        """Of a step that begins at s."""
        low, high = self.between
        return self.tau if low <= s <= high else 0.0

    def _weights(self, points: Sequence[Point], s: float, t: float) -> list[float]:
        return weights([p.sigma for p in points], s, t, 1 + self._tau(s) ** 2)

    def _correct(self, walk: Walk) -> None:
        """Put the corrector's sum in the place of the predictor's in the last step, whose noise and start stay."""
        points, change = list(walk.points), np.zeros(len(walk.points))
        predicted, corrected = points[:-1][-min(self.predictor, walk.left + 1) :], points[-min(self.corrector, walk.left + 2) :]
        s, t = points[-2].sigma, points[-1].sigma
        change[-len(corrected) :] += self._weights(corrected, s, t)
        change[-1 - len(predicted) : -1] -= self._weights(predicted, s, t)
        walk.points[-1] = points[-1]._replace(x=points[-1].x + mix(change.tolist(), points))
