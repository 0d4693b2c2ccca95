"""What a device can do at most: the rates that measured work is read against."""

import time

import torch

from bench.clock import Clock

MATRIX = {"cuda": 8192, "cpu": 1024}
"""Size of the square matrices whose product gives a device's rate: large enough to fill it."""


def matrix_rate(device: torch.device, clock: Clock, seconds: float = 1.0) -> float:
    """FLOP/s of a large float32 matrix product on this device: the ceiling that a pass is read against (the fastest seen)."""
    n = MATRIX.get(device.type, 1024)
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    a @ b
    while time.perf_counter() < end:
        clock.settle()
        span = clock.start()
        for _ in range(4):
            a @ b
        clock.stop(span)
        clock.settle()
        best = min(best, span.seconds() / 4)
    return 2 * n**3 / best
