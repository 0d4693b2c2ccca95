"""How many CPU threads a process should take: by a short measurement, since on a loaded machine all cores are the slowest."""

import math
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from bench.presentation.text import num
from samplers.training.precision import available_cores

ROUNDS = 5
SECONDS = 2.0
"""Of measuring, after which no further round begins."""
AS_FAST = 1.05
"""Fewer threads are taken where they are at most so much slower than the fastest: they leave room for what else runs."""


class Choice(NamedTuple):
    """Threads to take, and in a line why."""

    threads: int
    why: str


def candidates(cores: int) -> list[int]:
    """All cores, half of them, and one."""
    return sorted({cores, math.ceil(cores / 2), 1}, reverse=True)


def choose(seconds: dict[int, float]) -> int:
    """The fewest of threads -> seconds a pass that are about as fast as the fastest."""
    best = min(seconds.values())
    return min(n for n, took in seconds.items() if took <= AS_FAST * best)


def choose_threads(
    work: Callable[[], object],
    *,
    cores: int | None = None,
    take: Callable[[int], object] = torch.set_num_threads,
    now: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Time `work` with each of the `candidates` in turns, and take the best; about two seconds.

    Args:
        work: a pass as it will be timed.
        cores: at most; those that this process may use where None.
        take: sets the number of threads.
        now: seconds of a clock.
    """
    cores = available_cores() if cores is None else cores
    if cores == 1:
        take(1)
        return Choice(1, "threads: 1, the only core")
    times: dict[int, list[float]] = {n: [] for n in candidates(cores)}
    end = now() + SECONDS
    for turn in range(ROUNDS + 1):
        if turn > 1 and now() >= end:
            break
        for n, taken in times.items():
            take(n)
            begin = now()
            work()
            if turn:  # the first round warms up
                taken.append(now() - begin)
    medians = {n: statistics.median(taken) for n, taken in times.items()}
    best = choose(medians)
    take(best)
    others = ", ".join(f"{num(1e3 * s)} ms with {n}" for n, s in medians.items() if n != best)
    return Choice(best, f"threads: {best} of {cores} cores; a network pass took {num(1e3 * medians[best])} ms ({others})")
