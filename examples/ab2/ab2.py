"""The second-order Adams-Bashforth method on eps, for steps of any length. Put your own formula in `step`."""

from torch import Tensor

from samplers import Card, Solver, Walk


class Ab2(Solver):
    """x_t = x_s + h (eps + h (eps - eps_1) / (2 (s - s_1))), h = t - s: the line through the last two eps, integrated."""

    card = Card("ab2", family="ab2", paper="Adams & Bashforth 1883", order=2, grid="karras", note="multistep, one call a step")

    def step(self, walk: Walk, t: float) -> Tensor:
        """The state at noise level t, from the points where the walk has been: `sigma`, `x`, `denoised` and `eps` of each."""
        *_, now = walk.points
        h, slope = t - now.sigma, now.eps
        if len(walk.points) > 1:
            before = walk.points[-2]
            slope = slope + h / (2 * (now.sigma - before.sigma)) * (slope - before.eps)
        return now.x + h * slope
