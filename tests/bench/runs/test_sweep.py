import pytest
import torch

from bench.runs.sweep import BatchSize, stopped, why

SIZES = (1, 4, 16)


def test_a_point_is_its_median_rate_without_the_disturbed_passes():
    good, hot = {"dropped": []}, {"dropped": ["heat"]}
    point = BatchSize(batch_size=4, seconds=[0.5, 9.0, 0.4, 0.8], readings=[good, hot, good, good], peak_bytes=7)
    assert point.rate == 8
    record = point.record(None)
    assert (record["batch_size"], record["peak_bytes"]) == (4, 7)
    assert record["images_per_s"]["n"] == 3
    assert record["images_per_s"]["median"] == 8
    assert BatchSize(batch_size=4, seconds=[0.5, 0.4], readings=[hot, hot]).kept == [0.5, 0.4], "all, where none would be left"
    assert BatchSize(batch_size=4, seconds=[0.5, 0.4]).kept == [0.5, 0.4], "all, where nobody watched"


def points(*rates: float) -> list[BatchSize]:
    return [BatchSize(batch_size=size, seconds=[size / rate]) for size, rate in zip(SIZES, rates, strict=False)]


def test_a_sweep_goes_on_while_the_best_grows_by_three_percent():
    assert stopped([], SIZES) is None
    assert stopped(points(10), SIZES) is None
    assert stopped(points(10, 10.4), SIZES) is None
    assert stopped(points(10, 10.2), SIZES) == "throughput grew by less than 3% at batch 4"
    assert stopped(points(10, 20, 40), SIZES) == "every size was measured"
    assert stopped(points(10, 20, 19), SIZES) == "throughput grew by less than 3% at batch 16"


def test_what_could_not_be_measured_ends_it():
    assert stopped([*points(10), BatchSize(batch_size=4, error="out of memory")], SIZES) == "out of memory at batch 4"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (ValueError("two\n lines"), "ValueError: two lines"),
    ],
)
def test_why_is_told_in_a_few_words(error: Exception, told: str):
    assert why(error) == told
