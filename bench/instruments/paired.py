"""Paired, interleaved timing of two runs of the same work in one process: what a noisy machine does hits both alike.

Each pair runs both sides once, in random order, and gives one log(time of B / time of A). Its median over the pairs, with
an interval from their order statistics, needs no assumption on the noise: a neighbour's burst moves a few pairs, not the
median. Cells take turns, pair by pair, so that drift hits them alike too.

Outliers: none is dropped. Their ratios are ranks to the median, no more.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.instruments.statistics import median_interval

Task = Callable[[], Any]
COVERAGE = 0.99
"""Of the interval of each process, at each look."""
FEWEST = 20
"""Pairs before anything is said."""
WARM_UP = 3
"""Runs of each side that are not counted."""


@dataclass(frozen=True)
class Rule:
    """When to stop.

    Attributes:
        effect: relative difference that must be found, above 0.
        seconds: most time to spend on all cells together; what is undecided then stays ambiguous.
    """

    effect: float = 0.05
    seconds: float = 20.0

    @property
    def half_width(self) -> float:
        """Of the interval of a log ratio that is narrow enough: an eighth of the effect."""
        return math.log1p(self.effect) / 8


@dataclass
class Paired:
    """The pairs of one cell: seconds of A and of B, in the order in which they were run."""

    a: list[float] = field(default_factory=list)
    b: list[float] = field(default_factory=list)

    def log_ratios(self) -> np.ndarray:
        """log(time of B / time of A) of each pair, [n]."""
        return np.log(np.array(self.b) / np.array(self.a))

    def interval(self) -> tuple[float | None, float | None]:
        """Distribution-free interval of the median log ratio; None for too few pairs."""
        return median_interval(self.log_ratios(), COVERAGE)

    def summary(self) -> dict[str, Any]:
        """For a record: medians in ms, ratio with its interval, number of pairs and the raw log ratios."""
        logs, (low, high) = self.log_ratios(), self.interval()
        return {
            "a_ms": 1e3 * float(np.median(self.a)),
            "b_ms": 1e3 * float(np.median(self.b)),
            "ratio": float(np.exp(np.median(logs))),
            "ratio_low": None if low is None else math.exp(low),
            "ratio_high": None if high is None else math.exp(high),
            "pairs": len(logs),
            "log_ratios": [round(float(v), 6) for v in logs],
        }


def measure(cells: Mapping[str, tuple[Task, Task]], rule: Rule, seed: int, timed: Callable[[Task], float]) -> dict[str, Paired]:
    """Time pairs of all cells until each interval is narrow enough, or the time is spent.

    Args:
        cells: name -> (A, B), two ways to run the same work.
        rule: when to stop.
        seed: of the order of cells and of sides.
        timed: runs its argument and returns the seconds that took; on a GPU by events.

    Returns:
        The pairs by name; where the time was too short there are few, or none.
    """
    order, spent = random.Random(seed), 0.0
    found = {name: Paired() for name in cells}
    for a, b in cells.values():
        for _ in range(WARM_UP):
            spent += timed(a) + timed(b)
    open_cells = list(cells)
    while open_cells and spent < rule.seconds:
        order.shuffle(open_cells)
        for name in list(open_cells):
            sides, pairs = cells[name], found[name]
            turn = [0, 1] if order.random() < 0.5 else [1, 0]
            took = {i: timed(sides[i]) for i in turn}
            pairs.a.append(took[0])
            pairs.b.append(took[1])
            spent += took[0] + took[1]
            if _enough(pairs, rule):
                open_cells.remove(name)
    return found


def _enough(pairs: Paired, rule: Rule) -> bool:
    n = len(pairs.a)
    if n < FEWEST or (n - FEWEST) % 10:  # a look at each pair would find, sooner or later, a lucky one
        return False
    low, high = pairs.interval()
    return low is not None and high is not None and (high - low) / 2 <= rule.half_width
