"""Consistency models (Song et al., arXiv 2303.01469): a network that maps any point of an ODE path to the path's end.

    f(x, s) = (sigma_min / s) x + (1 - sigma_min / s) D(x, s)

The boundary condition f(x, sigma_min) = x holds for any network D. This is the skip scaling of consistency trajectory models
(Kim et al., arXiv 2310.02279, eq. 9, at the end point sigma_min): Euler's step to sigma_min. So with the teacher's weights f
starts as one step of DDIM, which EDM's scaling, made for networks that predict another thing, would not.

Training makes f agree on neighbours s > t of one path, f(x_s, s) ~ f(x_t, t), where x_t comes from x_s by a step of the
teacher's ODE (distillation, algorithm 2) or from the same image and noise (training, algorithm 3; from the teacher's weights
that is easy consistency tuning, Geng et al., arXiv 2406.14548).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.schedule import Schedule, spaced


class ConsistencyFunction:
    """f(x, s, labels): x [B, C, H, W], noise level s >= sigma_min, a float or [B]; returns the path's end, shaped like x."""

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser

    def __call__(self, x: Tensor, s: float | Tensor, labels: Tensor | None = None) -> Tensor:
        skip = self.denoiser.sigma_min / s
        if isinstance(skip, Tensor):
            skip = skip[:, None, None, None].to(x.dtype)
        return torch.lerp(self.denoiser(x, s, labels), x, skip)


def nodes(schedule: Schedule, intervals: int, grid: str) -> Tensor:
    """The N + 1 noise levels, float64, sigma_min = s_0 < ... < s_N = sigma_max, of a discretisation in N `intervals`."""
    return torch.tensor(spaced(schedule, intervals, grid)[::-1], dtype=torch.float64)


def intervals_at(step: int, steps: int, first: int, last: int) -> int:
    """The curriculum of improved consistency training (arXiv 2310.14189, section 3.4): `first` intervals, doubled in equal
    shares of the training up to `last`.
    """
    stages = max(math.ceil(math.log2(last / first)), 0) + 1
    return min(first * 2 ** (step * stages // steps), last)


def _euler(teacher: Denoiser, x: Tensor, s: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    """DDIM's step: x_t = D + (t / s) (x - D)."""
    return torch.lerp(teacher(x, s, labels), x, (t / s)[:, None, None, None])


def _heun(teacher: Denoiser, x: Tensor, s: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    """EDM's second-order step (arXiv 2206.00364, algorithm 1): two teacher forwards."""
    wide_s, wide_t = s[:, None, None, None], t[:, None, None, None]
    slope = (x - teacher(x, s, labels)) / wide_s
    y = x + (wide_t - wide_s) * slope
    return x + (wide_t - wide_s) * (slope + (y - teacher(y, t, labels)) / wide_t) / 2


ODE_STEPS: dict[str, tuple[Callable[[Denoiser, Tensor, Tensor, Tensor, Tensor | None], Tensor], int]] = {
    "ddim": (_euler, 1),
    "heun": (_heun, 2),
}
"""Name -> (step of the teacher's ODE from levels s to t, [B]; its teacher forwards an image)."""
