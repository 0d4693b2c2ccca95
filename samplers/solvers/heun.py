"""Heun's method as in EDM."""

import math
from dataclasses import replace

from torch import Tensor

from samplers.errors import UserError
from samplers.protocol import Card
from samplers.solvers.base import Point, Solver, Walk
from samplers.solvers.euler import euler_step
from samplers.solvers.settings import EDM


class Heun(Solver):
    """Karras et al., arXiv 2206.00364, algorithm 1: an Euler step, then the trapezoidal rule with the slope at its end.

    x_t = x_s + (t - s) (eps_s + eps_t) / 2

    The slope at the end counts half however far below s that end is, so a guess that misses there by e moves x_t by about
    e s / (2 t): at three to five calls, where neighbouring levels differ by more than ten times, that is noise on every
    image, even of an exact denoiser. A higher `end` keeps the ratio small, and more steps do.

    Args:
        churn: S_churn of algorithm 2: before each of N steps the level is lifted by the share min(S_churn / N, sqrt(2) - 1) of
            itself, at most to the teacher's highest, and noise is added to match. 0 is algorithm 1.
        churn_from, churn_to: the noise levels between which that is done (S_tmin, S_tmax).
        churn_noise: standard deviation of that noise (S_noise).
        grid, end, last: as of every solver.
    """

    card = Card(
        name="heun",
        family="heun",
        paper="Karras et al. 2022, arXiv 2206.00364",
        order=2,
        calls=lambda n: 2 * n - 1,
        grid="karras",
        note="two calls a step, one in the last; fails where levels differ by more than about ten times; churn adds noise",
        setting=EDM,
    )

    def __init__(
        self,
        *,
        churn: float = 0.0,
        churn_from: float = 0.0,
        churn_to: float = math.inf,
        churn_noise: float = 1.0,
        grid: str | None = None,
        end: float | None = None,
        last: str | None = None,
    ):
        super().__init__(grid=grid, end=end, last=last)
        if not (0 <= churn < math.inf and 0 <= churn_from <= churn_to and 0 <= churn_noise < math.inf):
            raise UserError("heun: churn and churn_noise must be 0 or more, and churn_from at most churn_to")
        self.churn, self.churn_between, self.churn_noise = churn, (churn_from, churn_to), churn_noise
        if churn > 0:
            self.card = replace(self.card, deterministic=False, noise_from=2, order=None)

    def lifted(self, walk: Walk, x: Tensor, s: float) -> tuple[Tensor, float]:
        low, high = self.churn_between
        if self.churn == 0 or not low <= s <= high:
            return x, s
        lifted = min(s * (1 + min(self.churn / walk.steps, math.sqrt(2) - 1)), walk.schedule.sigma_max)
        if lifted <= s:
            return x, s
        return x + self.churn_noise * math.sqrt(lifted**2 - s**2) * walk.fresh_noise(walk.done), lifted

    def step(self, walk: Walk, t: float) -> Tensor:
        here = walk.points[-1]
        guess = euler_step(here.x, here.denoised, here.sigma, t)
        there = Point(t, guess, walk.model(guess, t))
        return here.x + (t - here.sigma) / 2 * (here.eps + there.eps)
