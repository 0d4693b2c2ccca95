"""Heun's method as in EDM."""

from torch import Tensor

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
    """

    card = Card(
        name="heun",
        family="heun",
        paper="Karras et al. 2022, arXiv 2206.00364",
        order=2,
        calls=lambda n: 2 * n - 1,
        grid="karras",
        note="two calls a step, one in the last; fails where neighbouring levels differ by more than about ten times",
        setting=EDM,
    )

    def step(self, walk: Walk, t: float) -> Tensor:
        here = walk.points[-1]
        guess = euler_step(here.x, here.denoised, here.sigma, t)
        there = Point(t, guess, walk.model(guess, t))
        return here.x + (t - here.sigma) / 2 * (here.eps + there.eps)
