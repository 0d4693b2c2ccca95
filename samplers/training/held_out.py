"""Score a student while it trains: its images for held-out noises against those of the teacher it learns from."""

from collections.abc import Callable

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.noises import labels, noise
from samplers.training.recipe import HeldOutNoises

BATCH = 64


def relative_rmse(found: Tensor, true: Tensor) -> float:
    """Root of the mean squared difference over the mean square of `true`, same shapes."""
    return float(((found - true).double().square().mean() / true.double().square().mean()).sqrt())


class HeldOut:
    """Noises [N, C, H, W] that no student trains on, with labels 0, 1, .. K - 1, 0, .. [N] (None without classes).

    Args:
        denoiser: gives the shape and the number of classes.
        wanted: count and seed of the noises.
    """

    def __init__(self, denoiser: Denoiser, wanted: HeldOutNoises, device: torch.device):
        indices = range(wanted.count)
        self.noise = noise(wanted.seed, indices, denoiser.shape, device=device)
        self.labels = labels(indices, denoiser.num_classes, device=device)

    @torch.no_grad()
    def images(self, sample: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
        """Images [N, C, H, W] that `sample(noise, labels)` makes of all noises."""
        classes = self.labels.split(BATCH) if self.labels is not None else [None] * len(self.noise)
        return torch.cat([sample(z, n) for z, n in zip(self.noise.split(BATCH), classes, strict=False)])
