"""Denoisers with exact scores, of data that is a Gaussian or a mixture of some: what a solver does, without a network's errors.

They follow the dtype and the device of the noise; float64 shows a method's order. A function that makes one is a teacher too:
`--teacher python:MODULE:FUNCTION`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Gaussian:
    """Data N(mu, diag(s^2)), mu and s [C, H, W]: D(x, sigma) = mu + s^2 / (s^2 + sigma^2) (x - mu)."""

    num_classes = 0

    def __init__(self, mu: Tensor, s: Tensor, sigma_min: float = 0.002, sigma_max: float = 80.0):
        self.mu, self.s, self.sigma_min, self.sigma_max = mu, s, sigma_min, sigma_max
        self.shape = (mu.shape[0], mu.shape[1], mu.shape[2])

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        mu, s = self.mu.to(x), self.s.to(x)
        return mu + s**2 / (s**2 + _level(sigma, x) ** 2) * (x - mu)

    def state(self, x: Tensor, start: float | Tensor, sigma: float | Tensor) -> Tensor:
        """Where the path of the ODE through x [B, C, H, W] at `start` is at `sigma`: x - mu scales with sqrt(s^2 + sigma^2)."""
        mu, s = self.mu.to(x), self.s.to(x)
        return mu + ((s**2 + _level(sigma, x) ** 2) / (s**2 + _level(start, x) ** 2)).sqrt() * (x - mu)


class Mixture:
    """K isotropic Gaussians: weights [K], means [K, C, H, W], standard deviations s [K]; D is the posterior mean."""

    num_classes = 0

    def __init__(
        self, weights: Sequence[float], means: Tensor, s: Sequence[float], sigma_min: float = 0.002, sigma_max: float = 80.0
    ):
        self.log_weights, self.s = torch.tensor(weights, dtype=torch.float64).log(), torch.tensor(s, dtype=torch.float64)
        self.means, self.sigma_min, self.sigma_max = means.flatten(1), sigma_min, sigma_max
        self.shape = (means.shape[1], means.shape[2], means.shape[3])

    def __call__(self, x: Tensor, sigma: float | Tensor, labels: Tensor | None = None) -> Tensor:
        s = self.s.to(x)
        offsets = x.flatten(1)[:, None] - self.means.to(x)  # [B, K, C H W]
        variances = s**2 + _level(sigma, x).flatten(1) ** 2  # [1 or B, K]
        size = offsets.shape[2]
        logits = self.log_weights.to(x) - size / 2 * variances.log() - offsets.square().sum(2) / (2 * variances)
        means = self.means.to(x) + (s**2 / variances)[..., None] * offsets  # [B, K, C H W]
        return (logits.softmax(1)[..., None] * means).sum(1).reshape(x.shape)


def _level(sigma: float | Tensor, x: Tensor) -> Tensor:
    """A level, or one for each image, to go with images: [1 or B, 1, 1, 1]."""
    return torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
