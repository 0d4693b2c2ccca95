"""Throughput over batch sizes: the points of one cell's sweep, and when it ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bench.instruments.statistics import summarise
from bench.machine.conditions import Reading, Watch

GROWTH = 1.03
"""Times the best throughput so far, which a larger batch must reach for the sweep to go on."""


@dataclass
class Point:
    """One batch size.

    Attributes:
        batch_size: images of one pass.
        seconds: of each timed pass.
        readings: of the conditions during each, where they can be seen.
        peak_bytes: the most that one took, None where the system does not tell.
        error: why the size could not be measured.
    """

    batch_size: int
    seconds: list[float] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    peak_bytes: int | None = None
    error: str | None = None

    @property
    def kept(self) -> list[float]:
        """Seconds of the passes that were not disturbed, or of all where none would be left."""
        disturbed = [bool(r["dropped"]) for r in self.readings] or [False] * len(self.seconds)
        return [s for s, bad in zip(self.seconds, disturbed, strict=True) if not bad] or self.seconds

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.batch_size / float(np.median(self.kept))

    def record(self, watch: Watch | None) -> dict[str, Any]:
        """The point in the record's `time.sweep`, with the conditions of its own passes."""
        rates = summarise([self.batch_size / s for s in self.kept])
        conditions = watch.verdict(self.readings) if watch is not None else None
        return {
            "batch_size": self.batch_size,
            "images_per_s": rates,
            "peak_bytes": self.peak_bytes,
            "conditions": conditions,
        }


def stopped(points: Sequence[Point], sizes: Sequence[int]) -> str | None:
    """Why a sweep over `sizes` ends after these points; None if it goes on."""
    if not points:
        return None
    *before, last = points
    if last.error is not None:
        return f"{last.error} at batch {last.batch_size}"
    if before and last.rate < GROWTH * max(p.rate for p in before):
        return f"throughput grew by less than {GROWTH - 1:.0%} at batch {last.batch_size}"
    return "every size was measured" if last.batch_size == sizes[-1] else None


def why(error: Exception) -> str:
    """What ended a sweep, in a few words."""
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:  # the CPU's allocator
        return "out of memory"
    return f"{type(error).__name__}: {text[:200]}"
