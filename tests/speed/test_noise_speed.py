"""Noise that belongs to an image: drawn image by image, so its cost is worth watching."""

import pytest

import samplers


@pytest.mark.benchmark(group="noise")
@pytest.mark.parametrize("batch", [1, 64])
def test_noise(benchmark, teacher, batch):
    benchmark.extra_info.update(calls=0, forwards=0, batch=batch)
    benchmark.pedantic(samplers.noise, args=(0, range(batch), teacher.shape), rounds=50, warmup_rounds=3, iterations=5)


@pytest.mark.benchmark(group="noise")
def test_fresh_noise(benchmark, teacher):
    """One step's noise of a stochastic solver, the hash of the starting noise included."""
    z = samplers.noise(0, range(64), teacher.shape)
    benchmark.extra_info.update(calls=0, forwards=0, batch=64)
    benchmark.pedantic(lambda: samplers.FreshNoise(z)(0), rounds=50, warmup_rounds=3, iterations=5)
