"""What a solver integrates: a denoiser in sigma coordinates."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from samplers.schedule import Cosine, Schedule


@runtime_checkable
class Denoiser(Protocol):
    """`denoiser(x, sigma, labels=None) -> x0_hat`, images NCHW in [-1, 1], x = x0 + sigma * eps (k-diffusion, EDM).

    sigma is a float, a 0-d tensor or shape [B]; labels int64 [B] or None. dtype and device follow x. It may have a `schedule`
    (see `schedule_of`) and a `sigma_end` (see `end_of`) too.
    """

    sigma_min: float
    sigma_max: float
    shape: tuple[int, int, int]
    num_classes: int

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor: ...


def schedule_of(denoiser: Denoiser) -> Schedule:
    """The time of a denoiser's grids: its own `schedule` where it has one, else the cosine cut at its sigma range."""
    return getattr(denoiser, "schedule", None) or Cosine(denoiser.sigma_min, denoiser.sigma_max)


def end_of(denoiser: Denoiser) -> float:
    """The noise level at which sampling may end: its `sigma_end` where it has one, else the lowest that it knows."""
    return getattr(denoiser, "sigma_end", None) or denoiser.sigma_min
