"""Frechet distance between Gaussians fitted to features, and its sampling error, in float64.

d^2 = |m_s - m_r|^2 + tr S_s + tr S_r - 2 tr (S_r^1/2 S_s S_r^1/2)^1/2 (Dowson and Landau 1982; arXiv 1706.08500 for images).
With any factor S_r = A A' the last trace is the sum of the square roots of the eigenvalues of the symmetric matrix A' S_s A,
which stays real and accurate for singular covariances (fewer images than features), where a matrix square root does not.
A is LAPACK's pivoted Cholesky factor: a tenth of the time of the eigenvectors that S_r^1/2 needs, and as stable.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import blas, eigh, eigvalsh, lapack
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
            rows[:b] = part.cpu().numpy()
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
            raise UserError(f"a covariance needs at least 2 images, not {self.n}; ask for more with --images")
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


@dataclass(frozen=True)
class Reference:
    """The moments that samples are compared with; what depends on them alone is computed once."""

    moments: Moments

    @cached_property
    def trace(self) -> float:
        """tr S_r."""
        return float(np.trace(self.moments.cov))

    @cached_property
    def factor(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(L, p, rank): lower triangular L [D, D], zero beyond column `rank`, with L L' = S_r[p][:, p]."""
        c, pivots, rank, _ = lapack.dpstrf(self.moments.cov, lower=1)
        lower = np.asfortranarray(np.tril(c))
        lower[:, rank:] = 0
        return lower, pivots - 1, min(rank, self.moments.n - 1)


def frechet_distance(sample: Moments, reference: Reference) -> float:
    """The squared Frechet distance, never below 0, of a sample's moments to the reference.

    Raises:
        UserError: fewer than two images on a side.
        ValueError: moments of different dimensions.
    """
    cov = sample.cov
    inner, rank = _inner(sample, cov, reference)
    values = eigvalsh(inner, lower=True, overwrite_a=True, check_finite=False)[-rank:]
    shift = sample.mean - reference.moments.mean
    covariances = np.trace(cov) + reference.trace - 2 * np.sqrt(values.clip(min=0)).sum()
    return max(float(shift @ shift + covariances), 0.0)


def influence(features: Tensor, sample: Moments, reference: Reference) -> np.ndarray:
    """What each of a sample's features [N, D] pulls the distance by, float64 [N]: the delta method.

    v_i = 2 (x_i - m_s).(m_s - m_r) + (x_i - m_s)' (I - T) (x_i - m_s), where T S_s T = S_r is the optimal transport of the
    sample to the reference. The distance's standard error is sd(v) / sqrt(N) (`standard_error`); between two samplers run on
    the same noises it is that of the difference of their v.

    T = A (A' S_s A)^-1/2 A', by pseudo-inverse: directions in which the sample does not vary do not touch its features.
    """
    cov = sample.cov
    inner, rank = _inner(sample, cov, reference)
    values, vectors = eigh(inner, lower=True, overwrite_a=True, check_finite=False, driver="evd")
    values, vectors = values[-rank:], vectors[:, -rank:]
    kept = values > len(inner) * np.finfo(np.float64).eps * values[-1]
    lower, pivots, _ = reference.factor
    root = np.empty((len(inner), int(kept.sum())))
    root[pivots] = lower @ (vectors[:, kept] * values[kept] ** -0.25)  # T = root root'
    shift = sample.mean - reference.moments.mean
    parts = []
    for part in features.detach().split(ROWS):
        x = part.cpu().numpy().astype(np.float64) - sample.mean
        parts.append(2 * (x @ shift) + np.square(x).sum(axis=1) - np.square(x @ root).sum(axis=1))
    return np.concatenate(parts)


def standard_error(influences: np.ndarray) -> float:
    """Standard error of the distance (or of a paired difference) from influence values [N] (or their differences).

    Right within a factor of about 1.5, mostly too large, for N >= 10 D.
    """
    return float(np.std(influences, ddof=1) / math.sqrt(len(influences)))


def interval(distance: float, influences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the distance at this number of images, clipped at 0; the bias in 1/N is not in it."""
    half = 1.96 * standard_error(influences)
    return max(distance - half, 0.0), distance + half


def _inner(sample: Moments, cov: np.ndarray, reference: Reference) -> tuple[np.ndarray, int]:
    """(A' S_s A in its lower triangle, the rank it can have at most)."""
    if sample.mean.shape != reference.moments.mean.shape:
        raise ValueError(f"features have dimension {len(sample.mean)}, the reference's {len(reference.moments.mean)}")
    lower, pivots, rank = reference.factor
    inner, _ = lapack.dsygst(cov[np.ix_(pivots, pivots)], lower, itype=2, lower=1)
    return inner, max(min(rank, sample.n - 1), 1)
