"""What the speed suite shares: the shipped teacher, and results that say which machine they are of."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import samplers
from bench.machine.environment import fingerprint


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """So that `bench.comparison.pytest_benchmark` can refuse to compare two kinds of machine; pytest-benchmark only warns."""
    torch.set_num_threads(1)  # as every benchmark runs, even where the file is asked for before the first has
    machine_info["cohort"] = fingerprint()


@pytest.fixture(autouse=True)
def _cpu_share(benchmark) -> Iterator[None]:
    """Keep how much of its time a benchmark had a core: one that waited for other processes cannot be judged."""
    wall, own = time.perf_counter(), time.process_time()
    yield
    share = (time.process_time() - own) / (time.perf_counter() - wall)
    benchmark.extra_info["cpu_share"] = round(share, 3)


@pytest.fixture(scope="session")
def teacher() -> samplers.Teacher:
    return samplers.load_teacher("mnist32")
