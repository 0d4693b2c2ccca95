"""The cosine noise schedule and the time grids, both in sigma coordinates: x = x0 + sigma * eps.

sigma here is the noise-to-signal ratio sigma_t / alpha_t of a variance-preserving (VP) process, so lambda = log(alpha / sigma)
= -log sigma is half the logSNR, and a VP state is x / sqrt(1 + sigma^2). Schedules are Python floats: no solver waits for a
device. Every grid ends at sigma = 0 exactly; see `sigmas`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from samplers.errors import UserError, unknown


@dataclass(frozen=True)
class CosineSchedule:
    """VP cosine schedule cut at two noise levels: sigma(t) = tan(a t + b), t in [0, 1].

    b = atan(sigma_min), a = atan(sigma_max) - b, as in progressive distillation (arXiv 2202.00512, `schedules.py`), where
    logSNR runs over +-20, that is sigma over e^-10 .. e^10 (the default here).
    """

    sigma_min: float = math.exp(-10)
    sigma_max: float = math.exp(10)

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise UserError(f"a schedule needs 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")

    def sigma(self, t: float) -> float:
        """Noise level at time t in [0, 1]."""
        b = math.atan(self.sigma_min)
        return math.tan((math.atan(self.sigma_max) - b) * t + b)

    def t(self, sigma: float) -> float:
        """Time in [0, 1] of a noise level; the inverse of `sigma`."""
        b = math.atan(self.sigma_min)
        return (math.atan(sigma) - b) / (math.atan(self.sigma_max) - b)


def _uniform_t(s: CosineSchedule, n: int) -> list[float]:
    return [s.sigma(1 - i / n) for i in range(n)]


def _quadratic(s: CosineSchedule, n: int) -> list[float]:
    return [s.sigma((1 - i / n) ** 2) for i in range(n)]


def _logsnr(s: CosineSchedule, n: int) -> list[float]:
    high, low = math.log(s.sigma_max), math.log(s.sigma_min)
    return [math.exp(high + i / max(n - 1, 1) * (low - high)) for i in range(n)]


def _karras(s: CosineSchedule, n: int, rho: float = 7.0) -> list[float]:
    high, low = s.sigma_max ** (1 / rho), s.sigma_min ** (1 / rho)
    return [(high + i / max(n - 1, 1) * (low - high)) ** rho for i in range(n)]


GRIDS: dict[str, Callable[[CosineSchedule, int], list[float]]] = {
    "uniform_t": _uniform_t,
    "quadratic": _quadratic,
    "logsnr": _logsnr,
    "karras": _karras,
}
"""Name -> the N nodes before the final 0. `uniform_t`: DDIM's linear spacing (arXiv 2010.02502), t_i = 1 - i/N.
`quadratic`: DDIM's and DEIS's other one, t_i = (1 - i/N)^2. `logsnr`: equal steps of log sigma, DPM-Solver's
(arXiv 2206.00927). `karras`: equal steps of sigma^(1/7), EDM's (arXiv 2206.00364, eq. 5)."""


def sigmas(schedule: CosineSchedule, steps: int, grid: str) -> list[float]:
    """The N + 1 noise levels sigma_max = sigma_0 > ... > sigma_{N-1} > sigma_N = 0 of a run of N = `steps` steps.

    The last step goes to sigma 0 the same way for every solver: x_N = denoiser(x_{N-1}, sigma_{N-1}), one call, which is the
    Euler step there. `uniform_t` and `quadratic` have t = 0 as their last point, replaced by 0; `logsnr` and `karras` place
    all N nodes on [sigma_max, sigma_min] and append the 0, as EDM and k-diffusion do.

    Raises:
        UserError: an unknown grid, or fewer than one step.
    """
    if grid not in GRIDS:
        raise unknown("grid", grid, GRIDS)
    if steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    return [*GRIDS[grid](schedule, steps), 0.0]
