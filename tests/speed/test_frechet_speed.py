"""Frechet distance at 2048 features (Inception), against torch-fidelity, and at 64 (ours); the memory of streamed moments."""

import tracemalloc

import numpy as np
import pytest
import torch

from bench.quality.frechet import Moments, Reference, frechet_distance

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
    benchmark.pedantic(lambda: frechet_distance(sample, Reference(reference)), rounds=3)


@pytest.mark.benchmark(group="frechet-2048")
def test_distance_with_the_references_factor_cached(benchmark, pair):
    sample, reference = pair[0], Reference(pair[1])
    frechet_distance(sample, reference)
    benchmark.pedantic(lambda: frechet_distance(sample, reference), rounds=3)


@pytest.mark.benchmark(group="frechet-2048")
def test_distance_by_torch_fidelity(benchmark, pair):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    statistics = [{"mu": m.mean, "sigma": m.cov} for m in pair]
    theirs = benchmark.pedantic(lambda: fid_statistics_to_metric(*statistics, verbose=False), rounds=1)
    ours = frechet_distance(pair[0], Reference(pair[1]))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


@pytest.mark.benchmark(group="moments-2048")
def test_streaming_50000_features_needs_less_than_200_mb(benchmark):
    batch = torch.randn(1000, D, generator=torch.Generator().manual_seed(0))

    def stream() -> np.ndarray:
        moments = Moments(D)
        for _ in range(50):
            moments.update(batch)
        return moments.cov

    def watched() -> int:
        tracemalloc.start()
        stream()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert benchmark.pedantic(watched, rounds=1) < 200e6
