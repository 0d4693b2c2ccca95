"""Frechet distance at 2048 features (Inception) and at 64 (ours), and the memory and time of streamed moments."""

import tracemalloc

import pytest
import torch

from bench.quality.frechet import frechet_distance
from bench.quality.moments import Moments
from bench.quality.reference import Reference

D = 2048


def two(d: int) -> list[Moments]:
    """Moments of two samples with a falling spectrum, as image features have."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(d, d, generator=generator) / d**0.5 * torch.logspace(0, -2, d)
    return [Moments.of(torch.randn(3000, d, generator=generator) @ mix * scale) for scale in (1.0, 1.2)]


@pytest.fixture(scope="module")
def pair():
    return two(D)


@pytest.mark.benchmark(group="frechet-64")
def test_distance_at_64_features(benchmark):
    sample, reference = two(64)
    benchmark.extra_info.update(features=64)
    benchmark.pedantic(lambda: frechet_distance(sample, Reference(reference)), rounds=50, warmup_rounds=3)


@pytest.mark.benchmark(group="frechet-2048")
def test_distance_uncached(benchmark, pair):
    sample, reference = pair
    benchmark.extra_info.update(features=D)
    benchmark.pedantic(lambda: frechet_distance(sample, Reference(reference)), rounds=7)  # the fewest with an interval


@pytest.mark.benchmark(group="frechet-2048")
def test_distance_with_the_references_factor_cached(benchmark, pair):
    sample, reference = pair[0], Reference(pair[1])
    benchmark.extra_info.update(features=D)
    benchmark.pedantic(lambda: frechet_distance(sample, reference), rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="moments-2048")
def test_streaming_50000_features_needs_less_than_200_mb(benchmark):
    """A batch of 1,000 features is timed."""
    batch = torch.randn(1000, D, generator=torch.Generator().manual_seed(0))
    benchmark.extra_info.update(features=D, batch=len(batch))
    tracemalloc.start()
    moments = Moments(D)
    benchmark.pedantic(moments.update, args=(batch,), rounds=50)
    assert moments.cov.shape == (D, D)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert moments.n == 50_000
    assert peak < 200e6
