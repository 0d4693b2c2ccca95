import numpy as np
import pytest
from scipy.stats import quantile_test

from bench.instruments.statistics import half_width, median_interval, summarise, wants_more


@pytest.mark.parametrize("coverage", [0.95, 0.975, 0.99])
@pytest.mark.parametrize("n", [0, 1, 5, 6, 7, 8, 12, 31, 332, 333])
def test_the_median_s_interval_is_scipy_s(n: int, coverage: float):
    x = np.random.default_rng(n).exponential(size=n)
    theirs = quantile_test(x, p=0.5).confidence_interval(coverage) if n else (np.nan, np.nan)
    assert median_interval(x, coverage) == tuple(None if np.isnan(v) else v for v in theirs)
    if n and coverage == 0.95:
        s = summarise(x)
        assert (s["ci_low"], s["ci_high"]) == median_interval(x)


@pytest.mark.parametrize("n", [8, 9, 20, 31, 100])
def test_the_interval_holds_the_median_as_often_as_it_says(n: int):
    """Of a skewed distribution, 4,000 times; by chance 0.2 % fewer."""
    generator = np.random.default_rng(0)
    intervals = [median_interval(generator.exponential(size=n), 0.99) for _ in range(4000)]
    assert np.mean([low <= np.log(2) <= high for low, high in intervals]) >= 0.985


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
