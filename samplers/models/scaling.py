"""What a network's output F means: x0_hat = c_skip(s) x + c_out(s) F(c_in(s) x, c_noise(s)), s = sigma.

EDM's notation (Karras et al., arXiv 2206.00364, table 1), for x = x0 + s eps. A VP network sees x / sqrt(1 + s^2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from samplers.schedule import Schedule

Level = TypeVar("Level", float, Tensor)
TimeInput = Callable[[Any], Any]
"""s -> what the network is told of it: of a float a float, of a tensor [B] a tensor [B]."""


@dataclass(frozen=True)
class Scaling:
    """The four coefficients, as functions of noise levels s that go with images, [B, 1, 1, 1].

    The first three stand as the two linear maps that they make up: so an expression is rounded as its family writes it.

    Attributes:
        name: what F is, in a word.
        enter: (x, s) -> c_in x, what the network sees.
        leave: (x, s, F) -> c_skip x + c_out F, the denoised images.
        c_noise: s -> the network's time input.
    """

    name: str
    enter: Callable[[Tensor, Tensor], Tensor]
    leave: Callable[[Tensor, Tensor, Tensor], Tensor]
    c_noise: TimeInput

    def c_in(self, s: Tensor) -> Tensor:
        """Factor of the network's input."""
        return self.enter(torch.ones_like(s), s)

    def c_skip(self, s: Tensor) -> Tensor:
        """Share of x in the denoised images."""
        return self.leave(torch.ones_like(s), s, torch.zeros_like(s))

    def c_out(self, s: Tensor) -> Tensor:
        """Factor of F in them."""
        return self.leave(torch.zeros_like(s), s, torch.ones_like(s))

    def denoise(self, network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: float | Tensor) -> Tensor:
        """x0_hat, shaped like x [B, C, H, W], by network(c_in x, c_noise [B]) -> F, for sigma a float or a tensor (0-d or [B]).

        A float's time input is computed in Python: nothing waits for a device.
        """
        if isinstance(sigma, Tensor):
            s = sigma.to(x).expand(x.shape[0])
            noise = self.c_noise(s)
        else:
            s = torch.full((x.shape[0],), sigma, device=x.device, dtype=x.dtype)
            noise = torch.full_like(s, self.c_noise(sigma))
        s = s[:, None, None, None]
        f = network(self.enter(x, s), noise).to(x.dtype)  # autocast returns its own
        return self.leave(x, s, f)


def log(s: Level) -> Level:
    """Natural logarithm of a noise level, or of each of [B]."""
    return s.log() if isinstance(s, Tensor) else math.log(s)


def logsnr(s: Level) -> Level:
    """The time input of our U-Net: log(alpha^2 / sigma_vp^2) = -2 log s."""
    return -2 * log(s)


def time_of(schedule: Schedule, factor: float = 1.0) -> TimeInput:
    """A time input that is the schedule's own time by `factor`: 1 for a DDPM's steps, 999 for EDM's VP networks.

    Of levels in a tensor it is computed on the host, which waits for them.
    """

    def of(s: Level) -> Level:
        if isinstance(s, Tensor):
            return torch.tensor([factor * schedule.t(v) for v in s.tolist()], device=s.device, dtype=s.dtype)
        return factor * schedule.t(s)

    return of


_VP: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "x": lambda x, s, f: f,
    "eps": lambda x, s, f: x - s * f,
    "v": lambda x, s, f: (x - s * torch.sqrt(1 + s**2) * f) / (1 + s**2),
}
VP = tuple(_VP)
"""What a VP network may predict: x0, the noise, or v = alpha eps - sigma_vp x0 (arXiv 2202.00512, section 4)."""


def vp(predicts: str, c_noise: TimeInput = logsnr) -> Scaling:
    """A variance-preserving network that predicts one of `VP`."""
    return Scaling(predicts, lambda x, s: x / torch.sqrt(1 + s**2), _VP[predicts], c_noise)


def ve(c_noise: TimeInput = lambda s: log(s / 2)) -> Scaling:
    """A variance-exploding network, which sees x as it is and predicts the noise with the other sign (EDM's table 1, "VE")."""
    return Scaling("ve", lambda x, s: x, lambda x, s, f: x + s * f, c_noise)


def edm(sigma_data: float = 0.5, c_noise: TimeInput = lambda s: log(s) / 4) -> Scaling:
    """EDM's preconditioning, of data whose standard deviation is `sigma_data` (table 1, "Ours")."""
    return consistency(0.0, sigma_data, c_noise, name="edm")


def consistency(
    sigma_min: float = 0.002,
    sigma_data: float = 0.5,
    c_noise: TimeInput = lambda s: 250 * log(s + 1e-44),
    name: str = "consistency",
) -> Scaling:
    """EDM's with the boundary condition of consistency models, x0_hat = x at sigma_min (arXiv 2303.01469, appendix C).

    c_skip = d^2 / ((s - sigma_min)^2 + d^2), c_out = (s - sigma_min) d / sqrt(s^2 + d^2), d = sigma_data; the time input is
    that of the paper's own networks.
    """
    d = sigma_data

    def leave(x: Tensor, s: Tensor, f: Tensor) -> Tensor:
        beyond = s - sigma_min
        return x * (d**2 / (beyond**2 + d**2)) + f * (beyond * d / torch.sqrt(s**2 + d**2))

    return Scaling(name, lambda x, s: x / torch.sqrt(s**2 + d**2), leave, c_noise)


def flow(c_noise: TimeInput = lambda s: s / (1 + s)) -> Scaling:
    """A rectified flow's velocity, F = eps - x0 at x_t = (1 - t) x0 + t eps, t = s / (1 + s) (arXiv 2209.03003)."""
    return Scaling("flow", lambda x, s: x / (1 + s), lambda x, s, f: (x - s * f) / (1 + s), c_noise)
