"""A cell being measured: what was counted, timed and scored of it so far."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.plan import Cell
from bench.statistics import summarise
from samplers.protocol import Card, Sampler


@dataclass
class Job:
    """A cell being measured: its sampler, what was counted, and its times so far."""

    cell: Cell
    sampler: Sampler
    counted: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    path: dict[str, Any] | None = None
    peak_bytes: int | None = None
    latency: list[float] = field(default_factory=list)
    batch_seconds: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    error: str | None = None
    skipped: bool = False

    @property
    def card(self) -> Card:
        return self.sampler.card

    @property
    def deterministic(self) -> bool:
        """Whether its images are a function of the noise alone, so that they can be held against the ODE's solution."""
        return not self.card.draws_noise(self.cell.steps)

    def add(self, times: np.ndarray) -> None:
        """One timed repetition: seconds of one image, seconds of a batch, overhead fraction, peak bytes (0: unknown)."""
        self.latency.append(float(times[0]))
        self.batch_seconds.append(float(times[1]))
        self.overhead.append(float(times[2]))
        self.peak_bytes = max(self.peak_bytes or 0, int(times[3])) or None

    def time(self, clock: str) -> dict[str, Any]:
        """The record's `time`: medians with intervals of latency (batch 1) and throughput, and the raw values."""
        return {
            "clock": clock,
            "latency_ms": summarise([1e3 * s for s in self.latency]),
            "images_per_s": summarise([self.cell.batch_size / s for s in self.batch_seconds]),
            "cold_start_s": None,  # needs a process of its own for each cell: not measured yet
            "overhead_fraction": summarise(self.overhead)["median"],
            "raw": {
                "latency_ms": [round(1e3 * s, 4) for s in self.latency],
                "batch_s": [round(s, 6) for s in self.batch_seconds],
            },
        }
