"""Frechet distance between Gaussians fitted to features, and its sampling error, in float64.

d^2 = |m_s - m_r|^2 + tr S_s + tr S_r - 2 tr (S_r^1/2 S_s S_r^1/2)^1/2 (Dowson and Landau 1982; arXiv 1706.08500 for images).
With any factor S_r = A A' the last trace is the sum of the square roots of the eigenvalues of the symmetric matrix A' S_s A,
which stays real and accurate for singular covariances (fewer images than features), where a matrix square root does not.
A is LAPACK's pivoted Cholesky factor: a tenth of the time of the eigenvectors that S_r^1/2 needs, and as stable.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh, eigvalsh, lapack
from torch import Tensor

from bench.quality.metrics import FEATURES, INCEPTION, OTHERS, REFERENCE_MOMENTS, Score, at_least
from bench.quality.moments import ROWS, Moments
from bench.quality.reference import Reference
from bench.quality.sample import Sample

LEAST = 3
"""Images a feature from which an interval is told; in simulations it covers from half of that on, and mostly too much."""
Z = 1.96
"""Two-sided 95 % of a normal distribution, to as many digits as the intervals in stored records were made with."""


class FrechetDistance:
    """The metric `fd`, with what each image pulls the distance by."""

    name = "fd"
    outputs = ("fd",)
    better = "lower"
    description = "Frechet distance of the features to the reference's (biased upwards in 1/images)"
    needs = frozenset({FEATURES, REFERENCE_MOMENTS, OTHERS})

    def check(self, images: int) -> None:
        at_least(2, images, self.name)

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        distance = frechet_distance(sample.moments, reference)
        influences = _influences(sample, reference)
        low, high = interval(distance, influences) if sample.n >= LEAST * sample.dimensions else (None, None)
        return {self.outputs[0]: Score(distance, low, high, sample.n, influences)}


class FID(FrechetDistance):
    """The metric `fid`."""

    name = "fid"
    outputs = ("fid",)
    description = "FID: the Frechet distance in Inception's features (biased upwards in 1/images)"
    needs = frozenset({FEATURES, REFERENCE_MOMENTS, INCEPTION})


class FrechetDistanceOfAll(FrechetDistance):
    """The metric `fdinf`: what the distance of N images tends to with N (arXiv 1911.07023).

    Its bias is c / N, so twice the distance of all images less the mean of those of two random halves is without it, to the
    next order. In simulations at N = 5 D and 10 D that took off nine tenths of the bias or more, and its interval, which is
    that of the distance, covered the limit nine times in ten.
    """

    name = "fdinf"
    outputs = ("fdinf",)
    description = "Frechet distance extrapolated to infinitely many images"
    per_feature = 4

    def score(self, sample: Sample, reference: Reference, seed: int) -> dict[str, Score]:
        halves = [frechet_distance(half, reference) for half in sample.halves(seed)]
        value = 2 * frechet_distance(sample.moments, reference) - sum(halves) / 2
        half = Z * standard_error(_influences(sample, reference))
        return {self.outputs[0]: Score(value, value - half, value + half, sample.n)}


class FIDOfAll(FrechetDistanceOfAll):
    """The metric `fidinf`."""

    name = "fidinf"
    outputs = ("fidinf",)
    description = "FID extrapolated to infinitely many images"
    needs = FID.needs


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
    """What each of a sample's features [N, D] pulls the distance by, float64 [N] (`pull`)."""
    return pull(sample, reference)(features)


def pull(sample: Moments, reference: Reference) -> Callable[[Tensor], np.ndarray]:
    """A function of features [B, D] of a sample: what each pulls the distance by, float64 [B]; the delta method.

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

    def of(features: Tensor) -> np.ndarray:
        parts = []
        for part in features.detach().split(ROWS):
            x = part.cpu().numpy().astype(np.float64) - sample.mean
            parts.append(2 * (x @ shift) + np.square(x).sum(axis=1) - np.square(x @ root).sum(axis=1))
        return np.concatenate(parts)

    return of


def _influences(sample: Sample, reference: Reference) -> np.ndarray:
    """Of all images [N], in a second pass over them."""
    of = pull(sample.moments, reference)
    return np.concatenate([of(part.features) for part in sample.parts()])


def standard_error(influences: np.ndarray) -> float:
    """Standard error of the distance (or of a paired difference) from influence values [N] (or their differences).

    Right within a factor of about 1.5, mostly too large, for N >= 3 D.
    """
    return float(np.std(influences, ddof=1) / math.sqrt(len(influences)))


def interval(distance: float, influences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the distance at this number of images, clipped at 0; the bias in 1/N is not in it."""
    half = Z * standard_error(influences)
    return max(distance - half, 0.0), distance + half


def _inner(sample: Moments, cov: np.ndarray, reference: Reference) -> tuple[np.ndarray, int]:
    """(A' S_s A in its lower triangle, the rank it can have at most)."""
    if sample.mean.shape != reference.moments.mean.shape:
        raise ValueError(f"features have dimension {len(sample.mean)}, the reference's {len(reference.moments.mean)}")
    lower, pivots, rank = reference.factor
    inner, _ = lapack.dsygst(cov[np.ix_(pivots, pivots)], lower, itype=2, lower=1)
    return inner, max(min(rank, sample.n - 1), 1)
