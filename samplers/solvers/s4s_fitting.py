"""Fitting a multistep solver of few steps to a teacher's end points: least squares over its inner noise levels and weights.

Levenberg and Marquardt's method with differences for derivatives: the network is only called, as in sampling, so any teacher
will do, its time need not be differentiable, and a few dozen unknowns are fitted in some ten thousand forwards.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from samplers.solvers.euler import euler_step

PAST = 3
"""Past values of D that a step mixes, besides the last."""
CHANGE = 0.01
"""By which log sigma and weights are changed for a derivative."""
FARTHEST = 10.0
"""By which a round changes one of them at most."""
ROUNDS, ENOUGH = 10, 0.005
"""Of the fit at most, and the relative gain at which it ends."""
DAMPING = (1e-4, 1e6)
"""Of the method: at the start, and where it gives up."""

Model = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Method:
    """A solver of N steps: its N + 1 noise levels, and of step i the weights c_ij of D_{i-1}, D_{i-2}, ..

    x_{i+1} = (t / s) x_i + (1 - t / s) (D_i + sum_j c_ij (D_{i-j} - D_i)),   s = sigma_i, t = sigma_{i+1}
    """

    levels: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def changed(self, where: tuple[int, int], by: float) -> "Method":
        """With log sigma_i changed, where j is -1, or c_ij, for (i, j) = `where`."""
        i, j = where
        if j < 0:
            return replace(self, levels=(*self.levels[:i], self.levels[i] * math.exp(by), *self.levels[i + 1 :]))
        own = self.weights[i]
        own = (*own[:j], own[j] + by, *own[j + 1 :])
        return replace(self, weights=(*self.weights[:i], own, *self.weights[i + 1 :]))


def step(method: Method, i: int, x: Tensor, denoised: Sequence[Tensor]) -> Tensor:
    """x_{i+1} from x_i and D_0 .. D_i, or the last of them that step i mixes."""
    mixed = here = denoised[-1]
    for c, past in zip(method.weights[i], reversed(denoised[:-1]), strict=False):
        mixed = mixed + c * (past - here)
    return euler_step(x, mixed, method.levels[i], method.levels[i + 1])


def walk(method: Method, model: Model, xs: Sequence[Tensor], denoised: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """All x_0 .. x_N and D_0 .. D_{N-1}, from the first of either that are known: x_0 .. x_i and D_0 .. D_{i-1} or D_i."""
    xs, denoised = list(xs), list(denoised)
    for i in range(len(xs) - 1, len(method.weights)):
        if len(denoised) == i:
            denoised.append(model(xs[i], method.levels[i]))
        xs.append(step(method, i, xs[i], denoised))
    return xs, denoised


def second_order(levels: Sequence[float]) -> Method:
    """DPM-Solver++(2M) over these levels, its last step of first order: where a fit begins."""
    last, weights = len(levels) - 2, []
    for i, (s, t) in enumerate(pairwise(levels)):
        own = [0.0] * min(i, PAST)
        if own and i < last:
            own[0] = -math.log(s / t) / (2 * math.log(levels[i - 1] / s))
        weights.append(tuple(own))
    return Method(tuple(levels), tuple(weights))


@torch.no_grad()
def fitted(
    starts: Sequence[Method], model: Model, noise: Tensor, target: Tensor, *, free: Sequence[int], lowest: float
) -> tuple[Method, float]:
    """The method whose images of `noise` are nearest to `target`, both [B, C, H, W], and their relative RMSE.

    Args:
        starts: methods, the best of which is gone on from.
        model: x and a noise level to D.
        free: numbers of the levels that are fitted, besides all weights.
        lowest: that a level above 0 may be.
    """
    scale = target.double().norm().clamp(min=1e-12)
    loss = lambda images: float((images - target).double().norm() / scale)  # noqa: E731
    walks = [(walk(m, model, [noise * m.levels[0]], []), m) for m in starts]
    (xs, denoised), best = min(walks, key=lambda w: loss(w[0][0][-1]))
    del walks
    mixing = [(i, j) for i, own in enumerate(best.weights) if best.levels[i + 1] > 0 for j in range(len(own))]
    unknown, (damping, most) = [*((i, -1) for i in free), *mixing], DAMPING
    for _ in range(ROUNDS if unknown else 0):
        error, before = (xs[-1] - target).flatten().double(), loss(xs[-1])
        slopes = torch.stack([(_changed(best, u, model, xs, denoised) - xs[-1]).flatten() / CHANGE for u in unknown]).double()
        square, gradient = slopes @ slopes.T, slopes @ error
        while damping < most:
            damped = square + damping * torch.diag(square.diagonal().clamp(min=1e-12 * float(square.diagonal().max())))
            tried, change = best, torch.linalg.solve(damped, -gradient).clamp(-FARTHEST, FARTHEST)
            for u, by in zip(unknown, change.tolist(), strict=True):
                tried = tried.changed(u, by)
            if all(s > t and not 0 < t < lowest for s, t in pairwise(tried.levels)):
                found = walk(tried, model, xs[:1], denoised[:1])
                if loss(found[0][-1]) < before:
                    break
            damping *= 10
        else:
            break
        (xs, denoised), best, damping = found, tried, damping / 10
        if loss(xs[-1]) > (1 - ENOUGH) * before:
            break
    return best, loss(xs[-1])


def _changed(method: Method, where: tuple[int, int], model: Model, xs: Sequence[Tensor], denoised: Sequence[Tensor]) -> Tensor:
    """The images once one number is changed; what comes before it is taken from the walk without the change."""
    i, j = where
    changed = method.changed(where, CHANGE)
    if j < 0:  # level i is the end of step i - 1
        return walk(changed, model, xs[:i], denoised[:i])[0][-1]
    return walk(changed, model, xs[: i + 1], denoised[: i + 1])[0][-1]
