"""Progressive distillation (Salimans & Ho, arXiv 2202.00512): a student's one DDIM step learns its teacher's two.

Algorithm 2 of the paper, in sigma coordinates (x = x0 + sigma eps), for a student of N steps:

    i ~ Cat[1..N],  s = sigma(i / N),  m = sigma((i - 1/2) / N),  u = sigma((i - 1) / N), which is 0 for i = 1
    x_m = DDIM step of the teacher from s to m,  x_u = DDIM step of the teacher from m to u
    target = (x_u - (u / s) x_s) / (1 - u / s)        the image that makes one DDIM step from s land on x_u
    loss = weight(s) ||student(x_s, s) - target||^2

A recipe may put another metric of sqrt(weight(s)) (student(x_s, s) - target) in the place of the square.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.errors import UserError
from samplers.schedule import Cosine

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "truncated_snr": lambda s: s.pow(-2).clamp(min=1),
    "snr_plus_1": lambda s: s.pow(-2) + 1,
}
"""Section 4 of the paper: weight of an image at noise level s [B], SNR = 1 / s^2."""


def ladder(start: int, end: int) -> list[int]:
    """Steps of each student, from `start` / 2 down to `end`, halving.

    Raises:
        UserError: the halving of `start` does not meet `end`.
    """
    rungs = [start]
    while rungs[-1] > end and rungs[-1] % 2 == 0:
        rungs.append(rungs[-1] // 2)
    if end < 1 or rungs[-1] != end or len(rungs) < 2:
        raise UserError(f"a ladder halves its steps: {start} does not come down to {end}; choose powers of two")
    return rungs[1:]


def levels(schedule: Cosine, step: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise levels (s, m, u), float64 [B]: start, middle and end of step number `step` (int64 [B], 1..N) of N = `steps`.

    Step 1 is the last one taken; its end is sigma 0, as for every solver of the suite.
    """
    nodes = torch.tensor([0.0] + [schedule.sigma(n / (2 * steps)) for n in range(1, 2 * steps + 1)], dtype=torch.float64)
    nodes = nodes.to(step.device)
    return nodes[2 * step], nodes[2 * step - 1], nodes[2 * step - 2]


def ddim_step(x: Tensor, denoised: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """x_t = D + (t / s) (x_s - D) for an image each its own noise levels s > t >= 0, [B]."""
    return torch.lerp(denoised, x, (t / s).to(x.dtype)[:, None, None, None])


def two_step_target(teacher: Denoiser, x: Tensor, s: Tensor, m: Tensor, u: Tensor, labels: Tensor | None) -> Tensor:
    """What the student must predict at x [B, C, H, W] of level s, for its one step to u to equal the teacher's two."""
    x_m = ddim_step(x, teacher(x, s.to(x.dtype), labels), s, m)
    x_u = ddim_step(x_m, teacher(x_m, m.to(x.dtype), labels), m, u)
    kept = (u / s).to(x.dtype)[:, None, None, None]
    return (x_u - kept * x) / (1 - kept)
