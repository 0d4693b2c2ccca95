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
