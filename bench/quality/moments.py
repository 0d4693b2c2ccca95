"""Mean and covariance of features that arrive in batches, in float64."""

import math
from collections.abc import Mapping

import numpy as np
from scipy.linalg import blas
from torch import Tensor, from_numpy, tensor

from samplers.errors import UserError

ROWS = 1024
"""Features converted to float64 at a time."""


class Moments:
    """Mean and covariance of features [N, D] that arrive in batches, of any sizes (Chan, Golub and LeVeque 1983).

    Holds one D x D float64 matrix (34 MB at 2048 features) and never all the features.

    Attributes:
        n: features seen.
        mean: float64 [D].
    """

    def __init__(self, dim: int):
        self.n = 0
        self.mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim), order="F")  # lower triangle of sum (x - mean)(x - mean)', 0 above

    @classmethod
    def of(cls, features: Tensor) -> "Moments":
        """Moments of features [N, D] at hand."""
        moments = cls(features.shape[1])
        moments.update(features)
        return moments

    def update(self, features: Tensor) -> None:
        """Add features [B, D] of any float dtype and device.

        Raises:
            ValueError: features of another dimension.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(f"features of shape {list(features.shape)} do not fit moments of dimension {len(self.mean)}")
        for part in features.detach().split(ROWS):
            b = len(part)
            if not b:
                continue
            rows = np.empty((b + 1, len(self.mean)))
            rows[:b] = part.cpu().double().numpy()  # NumPy has no bfloat16
            batch_mean = rows[:b].mean(axis=0)
            rows[:b] -= batch_mean
            # The difference of means enters the scatter as one more row.
            shift = batch_mean - self.mean
            rows[b] = math.sqrt(self.n * b / (self.n + b)) * shift
            self._scatter = blas.dsyrk(1.0, rows.T, beta=1.0, c=self._scatter, lower=1, overwrite_c=1)
            self.n += b
            self.mean = self.mean + shift * (b / self.n)

    @property
    def cov(self) -> np.ndarray:
        """Unbiased covariance (divided by n - 1), float64 [D, D].

        Raises:
            UserError: fewer than two features.
        """
        if self.n < 2:
            raise UserError(f"a covariance needs at least 2 images, not {self.n}; give it more (of a run: --images)")
        cov = self._scatter / (self.n - 1)
        diagonal = cov.diagonal().copy()
        cov += cov.T
        np.fill_diagonal(cov, diagonal)
        return cov

    def to_tensors(self) -> dict[str, Tensor]:
        """mean float64 [D], cov float64 [D, D] and n, to store."""
        return {"mean": from_numpy(self.mean), "cov": from_numpy(self.cov), "n": tensor(self.n)}

    @classmethod
    def from_tensors(cls, stored: Mapping[str, Tensor]) -> "Moments":
        """From what `to_tensors` gave."""
        mean, cov = stored["mean"].double().numpy(), stored["cov"].double().numpy()
        moments = cls(len(mean))
        moments.n, moments.mean = int(stored["n"]), mean.copy()
        moments._scatter = np.asfortranarray(np.tril(cov) * (moments.n - 1))
        return moments
