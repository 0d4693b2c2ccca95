"""Medians and intervals of repeated measurements."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom


def summarise(values: Sequence[float]) -> dict[str, float | int | None]:
    """Median, p10, p90, minimum and a 95 % interval of the median, of n >= 1 values.

    The interval is distribution-free: two order statistics whose binomial coverage is at least 95 %; None for fewer than six
    values, which no such interval exists for.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    low = int(binom.ppf(0.025, n, 0.5)) - 1 if n else -1
    # P(x[low] <= median <= x[n - 1 - low]) = 1 - 2 P(Bin(n, 1/2) <= low)
    has = low >= 0 and 1 - 2 * binom.cdf(low, n, 0.5) >= 0.95
    return {
        "median": float(np.median(x)),
        "p10": float(np.quantile(x, 0.1)),
        "p90": float(np.quantile(x, 0.9)),
        "min": float(x[0]),
        "ci_low": float(x[low]) if has else None,
        "ci_high": float(x[n - 1 - low]) if has else None,
        "n": n,
    }
