import numpy as np
import pytest
from scipy.stats import binom

from bench.instruments.statistics import half_width, summarise, wants_more


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


def test_half_width_is_relative_to_the_median():
    assert half_width([10.0, 9, 11, 10, 10, 10]) == 0.1  # of six, the interval is from the first to the last
    assert half_width([10.0] * 5) is None, "five values have no interval"
    assert half_width([0.0] * 6) is None


WIDE, NARROW = [[9.0, 10, 11, 10, 10, 10]], [[10.0] * 6]


@pytest.mark.parametrize(
    ("series", "done", "spent", "precision", "more"),
    [
        (NARROW, 9, 99.0, 0.02, True),  # `least` in any case
        (WIDE, 10, 3.0, None, False),  # and no more than these without a precision
        (WIDE, 10, 3.0, 0.02, True),
        (WIDE, 10, 3.0, 0.1, False),
        (NARROW, 10, 3.0, 0.02, False),
        (NARROW, 10, 1.9, 0.02, True),  # two seconds before a narrow interval is believed
        ([*NARROW, *WIDE], 10, 3.0, 0.02, True),  # latency and throughput both
        ([[]], 10, 3.0, 0.02, True),  # all were dropped
        (WIDE, 10, 30.0, 0.02, False),  # the budget is spent
        (NARROW, 11, 3.0, 0.02, True),  # looked at every five
        (NARROW, 15, 3.0, 0.02, False),
    ],
)
def test_repetitions_go_on_until_they_are_precise_or_the_budget_is_spent(
    series: list[list[float]], done: int, spent: float, precision: float | None, more: bool
):
    assert wants_more(series, done, spent, least=10, precision=precision, budget=30.0) is more


def test_a_budget_below_the_floor_is_kept():
    assert not wants_more(WIDE, 10, 1.0, least=10, precision=0.02, budget=0.5)
