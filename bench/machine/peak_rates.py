"""What a device can do at most: the rates that measured work is read against."""

import time

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
    best, end = float("inf"), time.perf_counter() + seconds

    def four() -> None:
        for _ in range(4):
            a @ b

    a @ b
    while time.perf_counter() < end:
        _, elapsed = clock.time(four)
        best = min(best, elapsed.seconds / 4)
    return 2 * n**3 / best


def copy_rate(device: torch.device, clock: Clock, seconds: float = 1.0) -> float:
    """Bytes/s that a copy in this device's memory moves, read and written counted both (the fastest seen)."""
    source, target = (torch.ones(COPIED // 4, device=device) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        _, elapsed = clock.time(lambda: target.copy_(source))
        best = min(best, elapsed.seconds)
        if time.perf_counter() >= end:
            return 2 * source.nbytes / best
