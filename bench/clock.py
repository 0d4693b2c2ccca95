"""Time: CUDA events on a GPU, the monotonic clock on a CPU. One repetition at a time; the runner interleaves them.

The interval rules are those of `bench.statistics`; warm-up, rounds and their order are the runner's.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch


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


class Clock:
    """Marks work on a device. `name` is what records call it."""

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
