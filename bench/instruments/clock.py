"""Time: CUDA events on a GPU, the monotonic clock on a CPU. One repetition at a time; `bench.runs.timing` interleaves them.

A repetition settles the device, reads the host's clock, marks the start on the stream, runs, marks the end, settles again and
reads the host's clock. Both times are kept: on a GPU what the host's has beyond the device's is the launch gap, which without
the leading synchronisation would hide behind work that is still queued. Nothing is synchronised inside the region.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


@dataclass
class Span:
    """A stretch of work: its start and stop marks."""

    start: Any
    stop: Any = None

    def seconds(self) -> float:
        """Its length; on a GPU only after a synchronisation."""
        if isinstance(self.start, int):
            return (self.stop - self.start) * 1e-9
        return self.start.elapsed_time(self.stop) * 1e-3


@dataclass(frozen=True)
class Elapsed:
    """How long a repetition took.

    Attributes:
        seconds: on the device: between two events on a GPU's stream, by the host's clock on a CPU.
        host_seconds: on a GPU, by the host's clock around it; None on a CPU, where the two are one.
    """

    seconds: float
    host_seconds: float | None = None

    @property
    def gap(self) -> float | None:
        """Seconds of launches and Python that the device's clock does not see; None on a CPU."""
        return None if self.host_seconds is None else self.host_seconds - self.seconds


class Clock:
    """Marks and times work on a device. `name` is what records call it."""

    def __init__(self, device: torch.device):
        self.device = device
        self.name = "cuda_events" if device.type == "cuda" else "perf_counter"

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def start(self) -> Span:
        """Begin a stretch of work on the current stream."""
        return Span(self._mark())

    def stop(self, span: Span) -> Span:
        """End it."""
        span.stop = self._mark()
        return span

    def settle(self) -> None:
        """Wait for the device: before a repetition, and after it before its times are read. Nothing on a CPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, run: Callable[[], Result]) -> tuple[Result, Elapsed]:
        """What `run` returns, and how long this one repetition took."""
        self.settle()
        begin = time.perf_counter_ns()
        span = self.start()
        result = run()
        self.stop(span)
        self.settle()
        end = time.perf_counter_ns()
        host = (end - begin) * 1e-9 if self.device.type == "cuda" else None
        return result, Elapsed(span.seconds(), host)
