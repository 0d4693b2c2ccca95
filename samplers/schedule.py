"""Noise schedules and the time grids, both in sigma coordinates: x = x0 + sigma * eps.

sigma is the noise-to-signal ratio sigma_t / alpha_t of a process x_t = alpha_t x0 + sigma_t eps, so lambda = log(alpha / sigma)
= -log sigma is half the logSNR, and a variance-preserving (VP) state is x / sqrt(1 + sigma^2). Schedules are Python floats: no
solver waits for a device. A grid ends at sigma = 0 exactly, or at the level where a solver stops; see `sigmas`.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Protocol

from samplers.errors import UserError, unknown


class Schedule(Protocol):
    """How a process names its noise levels: a time t that grows with sigma, from sigma_min to sigma_max.

    t is in the process's own unit (a fraction, a number of one of a thousand steps), so a network's time input is made of it.
    """

    @property
    def sigma_min(self) -> float: ...
    @property
    def sigma_max(self) -> float: ...

    def sigma(self, t: float) -> float:
        """Noise level at time t."""

    def t(self, sigma: float) -> float:
        """Time of a noise level; the inverse of `sigma`."""


@dataclass(frozen=True)
class _Range:
    """A schedule cut at two noise levels."""

    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise UserError(f"a schedule needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")


@dataclass(frozen=True)
class Cosine(_Range):
    """VP cosine schedule cut at two noise levels: sigma(t) = tan(a t + b), t in [0, 1].

    b = atan(sigma_min), a = atan(sigma_max) - b, as in progressive distillation (arXiv 2202.00512, `schedules.py`), where
    logSNR runs over +-20, that is sigma over e^-10 .. e^10 (the default here).
    """

    sigma_min: float = math.exp(-10)
    sigma_max: float = math.exp(10)

    def sigma(self, t: float) -> float:
        b = math.atan(self.sigma_min)
        return math.tan((math.atan(self.sigma_max) - b) * t + b)

    def t(self, sigma: float) -> float:
        b = math.atan(self.sigma_min)
        return (math.atan(sigma) - b) / (math.atan(self.sigma_max) - b)


@dataclass(frozen=True)
class Power(_Range):
    """EDM's time: t = sigma^(1 / rho), in whose equal steps its grid is spaced (arXiv 2206.00364, eq. 5)."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def sigma(self, t: float) -> float:
        return t**self.rho

    def t(self, sigma: float) -> float:
        return sigma ** (1 / self.rho)


@dataclass(frozen=True)
class Flow(_Range):
    """Rectified flow, x_t = (1 - t) x0 + t eps: t = sigma / (1 + sigma) (arXiv 2209.03003).

    t = 1 is an infinite sigma, so the range ends before it: by default at t = 0.001 and 0.999.
    """

    sigma_min: float = 0.001 / 0.999
    sigma_max: float = 0.999 / 0.001

    def sigma(self, t: float) -> float:
        return t / (1 - t)

    def t(self, sigma: float) -> float:
        return sigma / (1 + sigma)


@dataclass(frozen=True)
class LinearBeta:
    """Continuous VP schedule whose beta grows linearly: log(1 + sigma(t)^2) = beta_min t + (beta_max - beta_min) t^2 / 2.

    Song et al. (arXiv 2011.13456, appendix C); t in [t_min, 1], EDM's 1e-5 being the default start (its table 1, "VP").
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5

    def __post_init__(self) -> None:
        if not (0 < self.beta_min < self.beta_max < math.inf and 0 < self.t_min < 1):
            raise UserError("a linear schedule needs 0 < beta_min < beta_max and t_min between 0 and 1")

    @property
    def sigma_min(self) -> float:
        return self.sigma(self.t_min)

    @property
    def sigma_max(self) -> float:
        return self.sigma(1.0)

    def sigma(self, t: float) -> float:
        return math.sqrt(math.expm1(self.beta_min * t + (self.beta_max - self.beta_min) * t * t / 2))

    def t(self, sigma: float) -> float:
        twice = 2 * math.log1p(sigma * sigma)  # stable for a small sigma, unlike the root of the quadratic minus beta_min
        return twice / (self.beta_min + math.sqrt(self.beta_min**2 + (self.beta_max - self.beta_min) * twice))


@dataclass(frozen=True)
class DiscreteVP:
    """A table of T noise levels, as DDPM's networks are trained on: alphas_cumprod[t], t = 0 .. T - 1, falling in (0, 1).

    Between two of them t is linear in log sigma and outside it stays at the end, as in k-diffusion's `DiscreteSchedule`
    and diffusers' `_sigma_to_t`. A table that ends at 0 (zero terminal SNR, sigma infinite) is taken to end at 2^-24,
    sigma 4096, as diffusers does.
    """

    alphas_cumprod: Sequence[float] = field(repr=False)

    def __post_init__(self) -> None:
        *most, last = self.alphas_cumprod or [0.0]
        if not most or not all(1 > a > b >= 0 for a, b in pairwise([*most, last])):
            raise UserError("alphas_cumprod must be two numbers or more that fall, each between 0 and 1")

    @cached_property
    def _logs(self) -> list[float]:
        """log sigma of each step."""
        return [math.log((1 - a) / a) / 2 for a in (float(a) or 2.0**-24 for a in self.alphas_cumprod)]

    @property
    def sigma_min(self) -> float:
        return math.exp(self._logs[0])

    @property
    def sigma_max(self) -> float:
        return math.exp(self._logs[-1])

    def sigma(self, t: float) -> float:
        i = min(max(int(t), 0), len(self._logs) - 2)
        low, high = self._logs[i : i + 2]
        return math.exp(low + min(max(t - i, 0.0), 1.0) * (high - low))

    def t(self, sigma: float) -> float:
        log = math.log(sigma)
        i = min(max(bisect_right(self._logs, log) - 1, 0), len(self._logs) - 2)
        low, high = self._logs[i : i + 2]
        return i + min(max((log - low) / (high - low), 0.0), 1.0)


VP = LinearBeta()
"""The process in whose time the papers of DPM-Solver and DEIS tell their levels, whatever the teacher's own."""


def _between(low: float, high: float, u: float) -> float:
    return low + u * (high - low)


GRIDS: dict[str, Callable[[Schedule, float, float], float]] = {
    "uniform_t": lambda s, low, u: s.sigma(_between(s.t(low), s.t(s.sigma_max), u)),
    "quadratic": lambda s, low, u: s.sigma(_between(s.t(low), s.t(s.sigma_max), u * u)),
    "vp_quadratic": lambda s, low, u: VP.sigma(_between(math.sqrt(VP.t(low)), math.sqrt(VP.t(s.sigma_max)), u) ** 2),
    "logsnr": lambda s, low, u: math.exp(_between(math.log(low), math.log(s.sigma_max), u)),
    "karras": lambda s, low, u: _between(low ** (1 / 7), s.sigma_max ** (1 / 7), u) ** 7,
}
"""Name -> the level at a share u of the way up from a level `low` (u = 0) to sigma_max (u = 1); equal steps of u make a grid.
`uniform_t`: DDIM's linear spacing (arXiv 2010.02502), in the schedule's own time; `quadratic`: DDIM's other one, u^2 of that
time. `vp_quadratic`: DEIS's (arXiv 2204.13902), equal steps of sqrt(t), t the time of `VP`. `logsnr`: equal steps of log sigma,
DPM-Solver's (arXiv 2206.00927). `karras`: equal steps of sigma^(1/7), EDM's (arXiv 2206.00364, eq. 5)."""
GITS = "gits"
SOLVER_GRIDS = (*GRIDS, GITS)
"""Those of a solver: `gits` is made for its teacher (see `samplers.solvers.gits`), and no function of a schedule."""
ONE_SHORT = ("uniform_t", "quadratic")
"""Grids whose last point is 0 in the place of their lowest level, as DDIM has it."""
LASTS = ("denoise", "stop")
"""What comes at the last node: one call more, x = D(x, sigma), to sigma 0; or nothing, x keeps the noise of that level."""


def vp_end(calls: int) -> float:
    """Where DPM-Solver's authors advise to end: t = 1e-3 up to 15 calls (sigma 0.0105), 1e-4 beyond (0.0032)."""
    return VP.sigma(1e-3 if calls <= 15 else 1e-4)


def spaced(schedule: Schedule, intervals: int, grid: str, low: float | None = None) -> list[float]:
    """The N + 1 noise levels of N `intervals` from sigma_max down to `low` (sigma_min where None); sigma_max alone of none."""
    low = schedule.sigma_min if low is None else low
    inner = [GRIDS[grid](schedule, low, 1 - i / intervals) for i in range(1, intervals)]
    return [schedule.sigma_max, *inner, low][: intervals + 1]


def sigmas(
    schedule: Schedule,
    steps: int,
    grid: str,
    *,
    end: float | None = None,
    last: str = "denoise",
    lowest: float | None = None,
) -> list[float]:
    """The N + 1 noise levels sigma_max = sigma_0 > ... > sigma_N of a run of N = `steps` steps.

    Args:
        end: level of the last node above 0. None: `lowest`, but of a grid of ONE_SHORT with `denoise` one step above it.
        last: `denoise`: N nodes, and sigma_N = 0, to which the last step goes in one call: x_N = denoiser(x, sigma_{N-1}),
            Euler's step there. `stop`: sigma_N is the last node, and all N steps lie between nodes.
        lowest: level that no node is below; None: the schedule's sigma_min.

    Raises:
        UserError: an unknown grid or last step, fewer than one step, or an end that is too low or too high.
    """
    low = schedule.sigma_min if lowest is None else lowest
    if grid not in GRIDS:
        raise unknown("grid", grid, GRIDS)
    if last not in LASTS:
        raise unknown("last step", last, LASTS)
    if steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    if end is not None and not low <= end < schedule.sigma_max:
        raise UserError(f"no walk ends at sigma {end:g} here; give an end from {low:g} to below {schedule.sigma_max:g}")
    if last == "stop":
        return spaced(schedule, steps, grid, low if end is None else end)
    if end is None and grid in ONE_SHORT:
        return [*spaced(schedule, steps, grid, low)[:-1], 0.0]
    return [*spaced(schedule, steps - 1, grid, low if end is None else end), 0.0]
