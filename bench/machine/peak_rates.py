"""What a device can do at most: the rates that measured work is read against."""

import math
import time
from collections.abc import Callable

import torch

from bench.instruments.clock import Clock

MATRIX = {"cuda": 8192, "cpu": 1024}
"""Size of the square matrices whose product gives a device's rate: large enough to fill it."""
COPIED = 2**28
"""Bytes copied at a time: more than a cache holds."""


def matrix_rate(device: torch.device, clock: Clock, seconds: float = 1.0) -> float:
    """FLOP/s of a large float32 matrix product on this device: the ceiling that a pass is read against (the fastest seen)."""
    n = MATRIX.get(device.type, 1024)
    a, b = (torch.randn(n, n, device=device) for _ in range(2))

    def four() -> None:
        for _ in range(4):
            a @ b

    a @ b
    return 4 * 2 * n**3 / _fastest(four, clock, seconds)


def copy_rate(device: torch.device, clock: Clock, seconds: float = 1.0) -> float:
    """Bytes/s that a copy in this device's memory moves, read and written counted both (the fastest seen)."""
    source, target = (torch.ones(COPIED // 4, device=device) for _ in range(2))
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), clock, seconds)


def _fastest(run: Callable[[], object], clock: Clock, seconds: float) -> float:
    """Seconds of the fastest of as many runs as take so long together, one at least."""
    best, end = math.inf, time.perf_counter() + seconds
    while True:
        best = min(best, clock.time(run)[1].seconds)
        if time.perf_counter() >= end:
            return best
