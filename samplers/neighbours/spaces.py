"""From a scheduler's states, times and outputs to ours: x = x0 + sigma eps, noise levels, denoised images."""

import math
from dataclasses import dataclass

from torch import Tensor

from samplers.schedule import Schedule


@dataclass(frozen=True)
class Space:
    """Variance-preserving states x / sqrt(1 + sigma^2), times of a table, noise as output.

    Attributes:
        schedule: of the denoiser, in equal steps of whose time the table's levels lie.
        end: the table's lowest level.
        size: of the table.
    """

    schedule: Schedule
    end: float
    size: int

    def level(self, time: float) -> float:
        """The noise level of a time that the scheduler names."""
        low, high = self.schedule.t(self.end), self.schedule.t(self.schedule.sigma_max)
        return self.schedule.sigma(low + time / (self.size - 1) * (high - low))

    def time(self, sigma: float) -> float:
        """The scheduler's name of a noise level; the inverse of `level`."""
        low, high = self.schedule.t(self.end), self.schedule.t(self.schedule.sigma_max)
        return (self.schedule.t(sigma) - low) / (high - low) * (self.size - 1)

    def seen(self, sigma: float) -> float:
        """Factor from what the network sees to x."""
        return math.hypot(sigma, 1.0)

    def state(self, sigma: float) -> float:
        """Factor from the scheduler's state to x."""
        return self.seen(sigma)

    def output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        """The network's output that means this denoised image."""
        return (x - denoised) / sigma

    def sigma(self, own: float) -> float:
        """A noise level as ours, of one of the scheduler's `sigmas`."""
        return own

    def own(self, sigma: float) -> float:
        """A noise level as the scheduler has it; the inverse of `sigma`."""
        return sigma


class Exploding(Space):
    """States x, scaled for the network; times of a table, noise as output."""

    def state(self, sigma: float) -> float:
        return 1.0


class Preconditioned(Exploding):
    """EDM's, of data with deviation 1/2 (arXiv 2206.00364, table 1): states x, times log(sigma) / 4."""

    def level(self, time: float) -> float:
        return math.exp(4 * time)

    def time(self, sigma: float) -> float:
        return math.log(sigma) / 4

    def seen(self, sigma: float) -> float:
        return math.hypot(sigma, 0.5)

    def output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        skip, out = 0.25 / (sigma**2 + 0.25), 0.5 * sigma / math.hypot(sigma, 0.5)
        return (denoised - skip * x) / out


class CosinePreconditioned(Preconditioned):
    """The same of data with deviation 1 and of the other sign, which is v (arXiv 2202.00512); times 2 atan(sigma) / pi."""

    def level(self, time: float) -> float:
        return math.tan(math.pi / 2 * time)

    def time(self, sigma: float) -> float:
        return 2 / math.pi * math.atan(sigma)

    def seen(self, sigma: float) -> float:
        return math.hypot(sigma, 1.0)

    def output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        return (x / (sigma**2 + 1) - denoised) * math.hypot(sigma, 1.0) / sigma


class Flowing(Space):
    """Rectified flow's: states x / (1 + sigma), times sigma / (1 + sigma) in units of 1 / `size`, eps - x0 as output."""

    def level(self, time: float) -> float:
        return time / (self.size - time)

    def time(self, sigma: float) -> float:
        return self.size * self.own(sigma)

    def seen(self, sigma: float) -> float:
        return 1 + sigma

    def output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        return (x - denoised) / sigma - denoised

    def sigma(self, own: float) -> float:
        return own / (1 - own)

    def own(self, sigma: float) -> float:
        return sigma / (1 + sigma)
