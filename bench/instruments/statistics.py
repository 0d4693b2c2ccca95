"""Medians and intervals of repeated measurements."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

LOOK = 5
"""Repetitions between two looks at the precision reached. Each look gives chance another turn, so the coverage is nominal."""
FLOOR = 2.0
"""Seconds timed at least before an interval is believed to be narrow: a shorter stretch may see one state of the machine."""


def summarise(values: Sequence[float]) -> dict[str, float | int | None]:
    """Median, p10, p90, minimum and a 95 % interval of the median, of n >= 1 values.

    The interval is `median_interval`; None for fewer than six values.
    """
    x = np.asarray(values, dtype=np.float64)
    low, high = median_interval(x)
    return {
        "median": float(np.median(x)),
        "p10": float(np.quantile(x, 0.1)),
        "p90": float(np.quantile(x, 0.9)),
        "min": float(x.min()),
        "ci_low": low,
        "ci_high": high,
        "n": len(x),
    }


def median_interval(values: np.ndarray, coverage: float = 0.95) -> tuple[float | None, float | None]:
    """The two order statistics that hold the median with probability `coverage` or more, whatever the distribution of [n].

    What `scipy.stats.quantile_test` gives, which takes thirty times as long. (None, None) where n is too small for any.
    """
    x, n = np.sort(values), len(values)
    k = int(binom.ppf((1 - coverage) / 2, n, 0.5)) - 1 if n else -1  # P(x[k] > median) = P(Bin(n, 1/2) <= k)
    return (float(x[k]), float(x[n - 1 - k])) if k >= 0 else (None, None)


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the median's 95 % interval, relative to the median; None for fewer than six values."""
    s = summarise(values)
    low, high, median = s["ci_low"], s["ci_high"], s["median"]
    return None if low is None or high is None or not median else (high - low) / 2 / median


def wants_more(
    series: Sequence[Sequence[float]], done: int, spent: float, *, least: int, precision: float | None, budget: float
) -> bool:
    """Whether a cell needs another timed repetition.

    Without a precision there are exactly `least`. With one they go on from there until FLOOR seconds were timed and every
    series' `half_width` is no more than it, which is looked at every LOOK repetitions, or `budget` seconds are spent.

    Args:
        series: the times measured so far, those of dropped repetitions left out.
        done: repetitions so far, dropped ones too.
        spent: seconds that they took.
        least: repetitions in any case.
        precision: relative half width asked for, or None.
        budget: seconds.
    """
    if done < least:
        return True
    if precision is None or spent >= budget:
        return False
    if (done - least) % LOOK:  # a look after each would find, sooner or later, a lucky one
        return True
    widths = [half_width(values) if len(values) else None for values in series]
    return spent < FLOOR or any(w is None or w > precision for w in widths)
