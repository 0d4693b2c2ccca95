"""A cell being measured: what was counted, timed and scored of it so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.instruments.clock import Elapsed
from bench.instruments.modes import Run
from bench.instruments.statistics import half_width, summarise
from bench.machine.conditions import Reading, Watch
from bench.runs.cells import Cell
from bench.runs.plan import Plan
from bench.runs.sweep import Point, stopped
from samplers.errors import UserError
from samplers.protocol import Card, Sampler


class DeviceLostError(UserError):
    """A fault of the device itself, after which a process cannot use it any more."""


@dataclass(frozen=True)
class Repetition:
    """One timed repetition: an image alone, and a batch.

    Attributes:
        latency: of one image.
        batch: of a batch.
        overhead: time of the batch outside network calls over the time inside; None in modes that cannot be taken apart.
        peak_bytes: of the batch, None where the system does not tell.
        reading: what `bench.machine.conditions` saw, None where it sees nothing.
    """

    latency: Elapsed
    batch: Elapsed
    overhead: float | None
    peak_bytes: int | None
    reading: Reading | None

    @property
    def dropped(self) -> list[str]:
        """Why it is left out of the summaries; empty for one that is not."""
        return self.reading["dropped"] if self.reading else []

    @property
    def seconds(self) -> float:
        """Both parts, as the host saw them where it has a clock of its own."""
        return sum(e.seconds if e.host_seconds is None else e.host_seconds for e in (self.latency, self.batch))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Repetition":
        """What `dataclasses.asdict` made of one."""
        return cls(**values | {key: Elapsed(**values[key]) for key in ("latency", "batch")})


@dataclass
class Job:
    """A cell being measured: its sampler, what was counted, and its times so far."""

    cell: Cell
    sampler: Sampler
    counted: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    path: dict[str, Any] | None = None
    runs: dict[int, Run] = field(default_factory=dict)
    """By batch size, in modes other than eager."""
    graph_bytes: dict[int, int | None] = field(default_factory=dict)
    """Peak memory of capturing each graph, which is when it takes it."""
    warm_up: dict[str, Any] | None = None
    timed: list[Repetition] = field(default_factory=list)
    sweep: list[Point] = field(default_factory=list)
    cold_start: dict[str, float | None] | None = None
    energy: dict[str, Any] | None = None
    error: str | None = None
    skipped: bool = False

    @property
    def card(self) -> Card:
        return self.sampler.card

    @property
    def deterministic(self) -> bool:
        """Whether its images are a function of the noise alone, so that they can be held against the ODE's solution."""
        return not self.card.draws_noise(self.cell.steps)

    def attempt(self, phase: Callable[["Job"], None]) -> None:
        """Run a phase; what goes wrong in the sampler becomes the job's error, and the other jobs go on.

        Raises:
            DeviceLostError: as well as the job's error, where no other job can go on in this process.
        """
        if self.error is not None:
            return
        try:
            phase(self)
        except UserError:
            raise  # a full disk, say: not the sampler's fault
        except Exception as e:
            self.error = f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"
            if isinstance(e, torch.AcceleratorError):  # whatever comes after it in this process fails too
                raise DeviceLostError(f"the device failed in {self.cell.id} ({self.error}); the same command goes on") from e

    @property
    def kept(self) -> list[Repetition]:
        """The repetitions that count: those not dropped, or all where none would be left."""
        return [r for r in self.timed if not r.dropped] or self.timed

    @property
    def peak_bytes(self) -> int | None:
        """Of the timed batches."""
        return max((r.peak_bytes for r in self.timed if r.peak_bytes is not None), default=None)

    def series(self) -> list[list[float]]:
        """Seconds of one image and of a batch, of the repetitions that were not dropped."""
        good = [r for r in self.timed if not r.dropped]
        return [[r.latency.seconds for r in good], [r.batch.seconds for r in good]]

    def time(self, clock: str, plan: Plan, watch: Watch | None) -> dict[str, Any]:
        """The record's `time`: medians with intervals of latency (batch 1) and throughput, and the raw values."""
        kept, size = self.kept, self.cell.batch_size
        gaps = [r.latency.gap for r in kept if r.latency.gap is not None]
        hosts = [r.latency.host_seconds for r in kept if r.latency.host_seconds is not None]
        overheads = [r.overhead for r in kept if r.overhead is not None]
        widths = [half_width([e.seconds for e in times]) for times in ([r.latency for r in kept], [r.batch for r in kept])]
        asked = plan.time_precision
        return {
            "clock": clock,
            "latency_ms": summarise([1e3 * r.latency.seconds for r in kept]),
            "host_latency_ms": summarise([1e3 * s for s in hosts]) if hosts else None,
            "launch_gap_ms": summarise([1e3 * s for s in gaps]) if gaps else None,
            "images_per_s": summarise([size / r.batch.seconds for r in kept]),
            "precision_asked": asked,
            "precision_reached": None if asked is None or None in widths else max(w for w in widths if w is not None),
            "sweep": [p.record(watch) for p in self.sweep if p.error is None] if plan.sweep else None,
            "sweep_stopped": stopped(self.sweep, plan.sweep),
            "cold_start_s": self.cold_start,
            "overhead_fraction": summarise(overheads)["median"] if overheads else None,
            "warm_up": self.warm_up,
            "conditions": watch.verdict(self._readings()) if watch is not None else None,
            "raw": self._raw(),
        }

    def _readings(self) -> list[Reading]:
        return [r.reading for r in self.timed if r.reading is not None]

    def _raw(self) -> dict[str, Any]:
        """All repetitions in the order they were made, dropped ones too, by number with their reasons."""
        raw: dict[str, Any] = {
            "latency_ms": [round(1e3 * r.latency.seconds, 4) for r in self.timed],
            "batch_s": [round(r.batch.seconds, 6) for r in self.timed],
        }
        if any(r.latency.host_seconds is not None for r in self.timed):
            raw["host_latency_ms"] = [round(1e3 * (r.latency.host_seconds or 0), 4) for r in self.timed]
            raw["host_batch_s"] = [round(r.batch.host_seconds or 0, 6) for r in self.timed]
        if dropped := {str(i): r.dropped for i, r in enumerate(self.timed) if r.dropped}:
            raw["dropped"] = dropped
        return raw
