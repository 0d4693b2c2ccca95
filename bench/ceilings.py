"""What a device can do at most: the rates that measured work is read against."""

import time

import torch

from bench.clock import Clock

MATRIX = 1024
"""Size of the square matrices whose product gives the device's rate."""


def matrix_rate(device: torch.device, clock: Clock, seconds: float = 1.0) -> float:
    """FLOP/s of a large float32 matrix product on this device: the ceiling that a pass is read against (the fastest seen)."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
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
    return 2 * MATRIX**3 / best
