"""The walk that all solvers share: from sigma_max down a time grid to 0."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from samplers.denoiser import Denoiser, schedule_of
from samplers.errors import unknown
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Sampler, check
from samplers.schedule import GRIDS, Schedule, sigmas


class Point(NamedTuple):
    """Where a walk has been: noise level, state there, and the denoised image D(x, sigma)."""

    sigma: float
    x: Tensor
    denoised: Tensor

    @property
    def eps(self) -> Tensor:
        """The noise prediction (x - D) / sigma, which is dx/dsigma of the probability-flow ODE."""
        return (self.x - self.denoised) / self.sigma


@dataclass
class Walk:
    """One run of a solver: its model, its grid, and the last points, newest last (enough for fourth order)."""

    model: Callable[[Tensor, float], Tensor]
    schedule: Schedule
    start: Tensor
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=4))
    done: int = 0

    @cached_property
    def fresh_noise(self) -> FreshNoise:
        """More noise, for stochastic solvers: `walk.fresh_noise(step)`."""
        return FreshNoise(self.start)


class Solver(Sampler):
    """A sampler that integrates dx/dsigma = (x - D(x, sigma)) / sigma over a time grid from sigma_max to 0.

    A subclass writes `step`. The last step, to sigma 0, is the same for all: x = D(x, sigma), one call.

    Args:
        grid: a time grid instead of the card's (see `samplers.schedule.GRIDS`).
    """

    def __init__(self, *, grid: str | None = None):
        self.grid = grid or self.card.grid or "uniform_t"
        if self.grid not in GRIDS:
            raise unknown("grid", self.grid, GRIDS)

    @abstractmethod
    def step(self, walk: Walk, t: float) -> Tensor:
        """The state at noise level t > 0, from `walk.points` (the current point is the last) and more calls of `walk.model`."""

    def sample(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        *,
        steps: int,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        check(self.card, denoiser, noise, steps)
        levels = sigmas(schedule_of(denoiser), steps, self.grid)
        return self.integrate(denoiser, noise, levels, labels=labels, callback=callback)

    def integrate(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        levels: Sequence[float],
        *,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """As `sample`, over noise levels of the caller's: decreasing, from the start x = levels[0] * noise to 0."""
        walk = Walk(lambda x, sigma: denoiser(x, sigma, labels), schedule_of(denoiser), noise)
        x = noise * levels[0]
        for i, (s, t) in enumerate(pairwise(levels)):
            walk.done = i
            denoised = walk.model(x, s)
            walk.points.append(Point(s, x, denoised))
            x = self.step(walk, t) if t > 0 else denoised
            if callback is not None:
                callback(i, t, x, denoised)
        return x
