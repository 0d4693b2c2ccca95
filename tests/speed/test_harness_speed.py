"""What the harness adds to a pass: at most 1 % of one of 10 ms, which is 0.1 ms.

The passes here cost nothing, so that all of their time is the harness's: reading the clock and counting the calls, which lie
inside the time that is told of a pass; and around it noise, labels, a look for NaN, and keeping the time on disk.
"""

from pathlib import Path

import pytest
import torch

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from bench.records.store import Store
from bench.runs.measurement import Measurement
from bench.runs.plan import Plan
from bench.runs.session import Session
from bench.runs.timing import Timing

LIMIT_MS = 0.1


class Free(samplers.Sampler):
    """Hands the noise back, after one call of a network that does the same."""

    card = samplers.Card("free", "free", "none", None, True, lambda n: n)

    def sample(self, denoiser, noise, *, steps, labels=None, callback=None):
        return denoiser(noise, 1.0, labels)


class Network:
    """A denoiser of the teacher's shape that costs nothing."""

    def __init__(self, teacher: samplers.Teacher):
        self.sigma_min, self.sigma_max, self.schedule = teacher.sigma_min, teacher.sigma_max, teacher.schedule
        self.shape, self.num_classes = teacher.shape, teacher.num_classes

    def __call__(self, x, sigma, labels=None):
        return x


def keep_ms(benchmark, **extra: float) -> None:
    """Beside the times, the median in ms and what it may be."""
    benchmark.extra_info.update(ms=round(1e3 * benchmark.stats.stats.median, 5), limit_ms=LIMIT_MS, **extra)


@pytest.mark.benchmark(group="harness")
@torch.no_grad()
def test_clock_and_counts(benchmark, teacher):
    """What is inside the time that is told of a pass, beside the pass."""
    sampler, clock = Free(), Clock(torch.device("cpu"))
    meter, z = Meter(Network(teacher), clock), samplers.noise(0, range(1), teacher.shape)

    def timed() -> float:
        with meter.watching(sampler):
            _, elapsed = clock.time(lambda: sampler.sample(meter, z, steps=1))
            return elapsed.seconds + meter.network_seconds()

    benchmark.pedantic(timed, rounds=50, warmup_rounds=3, iterations=100)
    keep_ms(benchmark, calls=1, forwards=1, batch=1)


@pytest.fixture
def session(teacher) -> Session:
    """Of a plan whose repetitions are at batch 1; its networks cost nothing."""
    found = Session(Plan(samplers=("ddim",), calls=(1,), batch_size=1, images=2, threads=1), quiet=True)
    found.executor.teacher = Network(teacher)
    return found


@pytest.fixture
def measurement(session) -> Measurement:
    found = Measurement(session.cells[0], Free())
    found.tell("counted", forwards=1)
    return found


@pytest.mark.benchmark(group="harness")
def test_one_pass(benchmark, session, measurement):
    benchmark.pedantic(session.executor.sample, args=(measurement, range(1)), rounds=50, warmup_rounds=3, iterations=20)
    keep_ms(benchmark, calls=1, forwards=1, batch=1)


@pytest.mark.benchmark(group="harness")
def test_one_repetition(benchmark, session, measurement, tmp_path: Path):
    """A latency and a throughput pass, peak memory, conditions, and their times written: two passes, so twice the limit."""
    store, phase, timed = Store(tmp_path / "run", "", {}), Timing(lambda *_: None), []
    args = (measurement, timed, session, store)
    benchmark.pedantic(phase._repeat, args=args, rounds=50, warmup_rounds=3, iterations=5)
    keep_ms(benchmark, calls=2, forwards=2, batch=1)
    benchmark.extra_info["limit_ms"] = 2 * LIMIT_MS
