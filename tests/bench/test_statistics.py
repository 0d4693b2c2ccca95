import numpy as np
import pytest
from scipy.stats import binom

from bench.statistics import summarise


@pytest.mark.parametrize("n", [6, 10, 31, 100])
def test_interval_is_the_narrowest_pair_of_order_statistics_with_coverage(n: int):
    s = summarise(list(range(n)))
    low, high = int(s["ci_low"]), int(s["ci_high"])
    assert high == n - 1 - low
    # x[low] > median with probability P(Bin(n, 1/2) <= low), and the same above.
    assert 1 - 2 * binom.cdf(low, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(low + 1, n, 0.5) < 0.95


def test_no_interval_for_five_values():
    assert summarise([1, 2, 3, 4, 5])["ci_low"] is None


def test_coverage_by_simulation():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        s = summarise(rng.exponential(size=12))
        hits += s["ci_low"] <= np.log(2) <= s["ci_high"]
    assert 0.95 <= hits / 2000 <= 0.975  # exact coverage at n = 12 is 0.9614


def test_order_statistics():
    s = summarise([5.0, 1.0, 3.0])
    assert (s["median"], s["min"], s["n"]) == (3.0, 1.0, 3)
