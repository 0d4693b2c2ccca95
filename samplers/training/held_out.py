"""Score a student while it trains: its images for held-out noises against those of the teacher it learns from."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from samplers.denoiser import Denoiser
from samplers.errors import UserError
from samplers.noise import noise
from samplers.training.recipe import check_value

BATCH = 64


def relative_rmse(found: Tensor, true: Tensor) -> float:
    """Root of the mean squared difference over the mean square of `true`, same shapes."""
    return float(((found - true).double().square().mean() / true.double().square().mean()).sqrt())


def check_held_out(wanted: Any, where: str) -> None:
    """Refuse a recipe's `held_out` that is not {count, seed}, whole numbers."""
    for key in ("count", "seed"):
        if not isinstance(wanted, Mapping) or key not in wanted:
            raise UserError(f"{where}: held_out needs a count and a seed")
        check_value(wanted[key], int, f"{where}: held_out: {key}", 0 if key == "seed" else 1)


class HeldOut:
    """Noises [N, C, H, W] that no student trains on, with labels 0, 1, .. K - 1, 0, .. [N] (None without classes).

    Args:
        denoiser: gives the shape and the number of classes.
        wanted: {count, seed} of the noises.
        where: of the recipe, for messages.

    Raises:
        UserError: no count or seed, or not whole numbers.
    """

    def __init__(self, denoiser: Denoiser, wanted: Any, device: torch.device, where: str):
        check_held_out(wanted, where)
        indices = range(wanted["count"])
        self.noise = noise(wanted["seed"], indices, denoiser.shape, device=device)
        classes = denoiser.num_classes
        self.labels = torch.tensor([i % classes for i in indices], device=device) if classes else None

    @torch.no_grad()
    def images(self, sample: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
        """Images [N, C, H, W] that `sample(noise, labels)` makes of all noises."""
        labels = self.labels.split(BATCH) if self.labels is not None else [None] * len(self.noise)
        return torch.cat([sample(z, n) for z, n in zip(self.noise.split(BATCH), labels, strict=False)])
