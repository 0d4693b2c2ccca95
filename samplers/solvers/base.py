"""The walk that all solvers share: from sigma_max down a time grid."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from samplers.denoiser import Denoiser, end_of, schedule_of
from samplers.errors import unknown
from samplers.noises import FreshNoise
from samplers.protocol import Callback, Sampler, Student, check
from samplers.schedule import GITS, LASTS, SOLVER_GRIDS, Schedule, sigmas
from samplers.solvers.gits import TeacherGrid, teacher_grid


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
    """One run of a solver: its model, its levels, and the last points, newest last (enough for fourth order)."""

    model: Callable[[Tensor, float], Tensor]
    schedule: Schedule
    start: Tensor
    levels: Sequence[float] = ()
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=4))
    done: int = 0

    @property
    def steps(self) -> int:
        """Of the whole run, the last to 0 included."""
        return len(self.levels) - 1

    @property
    def left(self) -> int:
        """Steps to go, the one being taken included."""
        return self.steps - self.done

    @cached_property
    def fresh_noise(self) -> FreshNoise:
        """More noise, for stochastic solvers: `walk.fresh_noise(step)`."""
        return FreshNoise(self.start)


class Solver(Sampler):
    """A sampler that integrates dx/dsigma = (x - D(x, sigma)) / sigma over a time grid from sigma_max down.

    A subclass writes `step`. A last step to sigma 0 is the same for all: x = D(x, sigma), one call.

    Args:
        grid: a time grid instead of the card's (see `samplers.schedule.GRIDS`), or `gits`, which is made for the teacher.
        end: noise level of its last node instead of the card's.
        last: what comes there, `denoise` or `stop`. Another than the card's takes the grid's own end where none is given (for
            both see `samplers.schedule.sigmas`).
    """

    def __init__(self, *, grid: str | None = None, end: float | None = None, last: str | None = None):
        self.grid, self.end, self.last = grid or self.card.grid or "uniform_t", end, last or self.card.last
        if self.grid not in SOLVER_GRIDS:
            raise unknown("grid", self.grid, SOLVER_GRIDS)
        if self.last not in LASTS:
            raise unknown("last step", self.last, LASTS)
        if self.last != self.card.last:
            own, zero = self.calls_between, self.last == "denoise"
            self.card = replace(self.card, last=self.last, calls=lambda n: own(n - zero) + zero)
        self._made_for: TeacherGrid | None = None

    def calls_between(self, nodes: int) -> int:
        """Network calls of so many steps between nodes; a step to 0 is one more."""
        return nodes * (type(self).card.calls(3) - type(self).card.calls(2))

    def levels(self, denoiser: Denoiser, steps: int) -> list[float]:
        """The noise levels of a run of `steps` on this denoiser (see `samplers.schedule.sigmas`).

        Raises:
            UserError: an end that is too low or too high for it.
        """
        lowest, end = end_of(denoiser), self.end
        if end is None and self.card.end is not None and self.last == type(self).card.last:
            end = max(self.card.end(steps), lowest)
        if self.grid == GITS:
            zero = self.last == "denoise"
            return [*self._teacher_grid(denoiser, end).levels(steps - zero), *([0.0] * zero)]
        return sigmas(schedule_of(denoiser), steps, self.grid, end=end, last=self.last, lowest=lowest)

    def _teacher_grid(self, denoiser: Denoiser, end: float | None) -> TeacherGrid:
        """The grid made for a denoiser, down to `end`; what was made last is kept."""
        low = sigmas(schedule_of(denoiser), 1, "karras", end=end, last="stop", lowest=end_of(denoiser))[-1]
        if self._made_for is None or not self._made_for.fits(denoiser, low):
            self._made_for = teacher_grid(denoiser, low)
        return self._made_for

    def prepare(self, denoiser: Denoiser, device: torch.device | str, steps: int) -> None:
        """Make what the grid needs for this denoiser, and refuse an `end` that it does not have.

        Raises:
            UserError: it is too low or too high, or too many steps for the grid.
        """
        self.levels(denoiser, steps)

    @property
    def student(self) -> Student | None:
        """Of a grid that was made for the teacher what that took, as of a training."""
        return None if self._made_for is None else self._made_for.training

    def lifted(self, walk: Walk, x: Tensor, s: float) -> tuple[Tensor, float]:
        """State and level that a step begins at instead of x at s, of a method that adds noise before a step."""
        return x, s

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
        return self.integrate(denoiser, noise, self.levels(denoiser, steps), labels=labels, callback=callback)

    def integrate(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        levels: Sequence[float],
        *,
        labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """As `sample`, over noise levels of the caller's: decreasing, from the start x = levels[0] * noise on."""
        walk = Walk(lambda x, sigma: denoiser(x, sigma, labels), schedule_of(denoiser), noise, levels)
        x = noise * levels[0]
        for i, (s, t) in enumerate(pairwise(levels)):
            walk.done = i
            x, s = self.lifted(walk, x, s)
            denoised = walk.model(x, s)
            walk.points.append(Point(s, x, denoised))
            x = self.step(walk, t) if t > 0 else denoised
            if callback is not None:
                callback(i, t, x, denoised)
        return x
