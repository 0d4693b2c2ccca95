"""One call of a cell's sampler in the plan's precision and mode: inputs, images, time.

What is timed is the same in every mode: the sampler's bare call. Counts and the time inside networks come from passes of their
own (`metered`), which carry the meter's marks.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import samplers
from bench.instruments.clock import Clock, Elapsed
from bench.instruments.meter import Count, Meter
from bench.instruments.modes import Run, in_mode, unchanged
from bench.machine.device import peak_memory, peak_memory_start
from bench.runs.cells import Cell
from bench.runs.measurement import Measurement
from bench.runs.plan import Plan
from samplers.denoiser import Denoiser
from samplers.errors import PluginError, UserError, defined, described, one_line, package_at
from samplers.models.teacher import Teacher
from samplers.noises import labels
from samplers.time_limit import at_most

LEAST = 60.0
"""Seconds that any pass may take."""
SLACK = 100
"""Times what a pass should take, that it may."""


@dataclass(frozen=True)
class Pass:
    """Images float32 [B, C, H, W], and how long they took."""

    images: Tensor
    elapsed: Elapsed


@dataclass(frozen=True)
class Metered:
    """A pass with the meter's marks in it: how long it took, the seconds of that inside networks, and what was counted."""

    elapsed: Elapsed
    inside: float
    count: Count


class Executor:
    """Samples for a plan on one device, and adds up `sampling_s`, the seconds inside passes.

    Owns the compiled and captured runs of cells in other modes than eager. A pass that takes far too long is stopped (see
    `patience`), and what it returns must be images like its noise; a sampler that fails in either is told of by `PluginError`.

    Args:
        plan: seed, labels, precision and mode.
        teacher: of the samplers.
        clock: of the device.
        advance: told of the forwards of every pass.
    """

    def __init__(self, plan: Plan, teacher: Teacher, clock: Clock, advance: Callable[[int], None]):
        self.plan, self.teacher, self.clock, self.device = plan, teacher, clock, clock.device
        self.meter = Meter(teacher, clock)
        self.sampling_s = 0.0
        self._advance = advance
        self._runs: dict[tuple[Cell, int], Run] = {}
        self._graph_bytes: dict[tuple[Cell, int], int | None] = {}

    def inputs(self, indices: range) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of images `indices`."""
        z = samplers.noise(self.plan.seed, indices, self.teacher.shape, device=self.device)
        classes = 0 if self.plan.labels == "none" else self.teacher.num_classes
        return z, labels(indices, classes, device=self.device)

    def autocast(self) -> torch.autocast:
        """The plan's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    def _bare(self, m: Measurement) -> Run:
        @torch.no_grad()
        def run(z: Tensor, labels: Tensor | None) -> Tensor:
            # Autocast is entered in here, so that a graph holds none of the casts that an earlier pass has cached.
            with self.autocast():
                return self.call(m, self.teacher, z, labels)

        return run

    def _run(self, m: Measurement, size: int) -> Run:
        """The cell's call at a batch size that `ready` has made ready."""
        return self._bare(m) if m.cell.mode == "eager" else self._runs[m.cell, size]

    @cached_property
    def forward_seconds(self) -> float:
        """What one forward of the teacher takes, of one image."""
        z, labels = self.inputs(range(1))
        with torch.no_grad():
            return min(self.clock.time(lambda: self.teacher(z, 1.0, labels))[1].seconds for _ in range(2))

    def patience(self, m: Measurement, images: int) -> AbstractContextManager[None]:
        """How long a pass may take: LEAST seconds, and SLACK times what its calls should.

        That is what its first pass took, of one image, or before that its claimed calls of the teacher. So a heavy sampler on
        a slow machine has its hours and one that hangs is left after a minute or a few, without a limit for anyone to choose.
        """
        one = m.card.calls(m.cell.steps) * self.forward_seconds if m.seconds is None else m.seconds
        return at_most(LEAST + SLACK * images * one)

    def call(self, m: Measurement, denoiser: Denoiser, z: Tensor, labels: Tensor | None, **more: Any) -> Tensor:
        """The sampler's bare call. What it takes for a user's mistake is its own fault here, where all was checked before."""
        try:
            return m.sampler.sample(denoiser, z, steps=m.cell.steps, labels=labels, **more)
        except UserError as e:
            raise PluginError(described(e, package_at(m.sampler))) from e

    @torch.no_grad()
    def metered(self, m: Measurement, indices: range) -> Metered:
        """A pass in mode eager whose calls are counted and timed; no network is compiled yet.

        Raises:
            PluginError: as `sample`, or it has written to its noise or labels.
            UserError: it has written to the teacher's weights, so nothing can be measured any more.
        """
        (z, labels), weights = self.inputs(indices), self._versions()
        kept = [v.clone() for v in (z, labels) if v is not None]
        with self.patience(m, len(z)), self.meter.watching(m.sampler), self.autocast():
            images, elapsed = self.clock.time(lambda: self.call(m, self.meter, z, labels))
        m.seconds = m.seconds or elapsed.seconds
        if self._versions() != weights:
            told = "changes the teacher's weights, so what is measured after it is of another teacher"
            raise UserError(f"sampler '{one_line(m.cell.sampler)}' {told}; leave it out")
        written = not all(map(torch.equal, kept, (v for v in (z, labels) if v is not None)))
        self._done(m, images, z, elapsed, self.meter.count.forwards, "it writes to its noise or labels" if written else "")
        return Metered(elapsed, self.meter.network_seconds(), self.meter.count)

    @torch.no_grad()
    def sample(self, m: Measurement, indices: range) -> Pass:
        """A pass in the cell's mode, which `ready` has made ready for this number of images.

        Raises:
            ModeError: a network had to be compiled again.
            PluginError: images of another shape or dtype than the noise, or that are not finite.
        """
        z, labels = self.inputs(indices)
        run = self._run(m, len(indices))
        with self.patience(m, len(z)), unchanged(m.cell.mode):
            images, elapsed = self.clock.time(lambda: run(z, labels))
        return Pass(self._done(m, images, z, elapsed, m.told["counted"]["forwards"] * len(indices)), elapsed)

    def _versions(self) -> list[int]:
        """How often each of the teacher's weights has been written to, where torch counts that."""
        weights = (*self.teacher.parameters(), *self.teacher.buffers())
        return [w._version for w in weights if not w.is_inference()]

    def _done(self, m: Measurement, images: Tensor, z: Tensor, elapsed: Elapsed, forwards: int, wrong: str = "") -> Tensor:
        self.sampling_s += elapsed.seconds
        self._advance(forwards)
        if wrong := wrong or self._wrong(images, z):
            where = defined(type(m.sampler))
            raise PluginError(f"{wrong}{where and f', {where}'}")
        return images.float()

    def _wrong(self, images: Any, z: Tensor) -> str:
        """What is wrong with what a sampler returned for noise z; "" where nothing is."""
        if not isinstance(images, Tensor):
            return f"it returns no tensor but a {type(images).__name__}"
        if images.shape != z.shape:
            return f"it returns images of shape {tuple(images.shape)} for noise of {tuple(z.shape)}"
        rounded = self.plan.precision == "bf16" and images.dtype == torch.bfloat16
        if (images.dtype != z.dtype and not rounded) or images.device != z.device:
            return f"it returns images of {images.dtype} on {images.device} for noise of {z.dtype} on {z.device}"
        if images.requires_grad:
            return "it returns images with a graph of gradients; sample under torch.no_grad()"
        return "" if torch.isfinite(images).all() else "images are not finite (NaN or infinity)"

    def again(self, m: Measurement, size: int) -> Callable[[], float]:
        """A pass on the same noises again and again, with nothing else between two: returns the host's seconds of one."""
        z, labels = self.inputs(range(size))
        run = self._run(m, size)

        def once() -> float:
            with self.patience(m, size):
                _, elapsed = self.clock.time(lambda: run(z, labels))
            return elapsed.seconds if elapsed.host_seconds is None else elapsed.host_seconds

        return torch.no_grad()(once)

    def peak(self, m: Measurement, size: int) -> int | None:
        """Peak bytes since `peak_memory_start`; of a graph, what capturing it took, since a replay takes nothing."""
        return self._graph_bytes[m.cell, size] if m.cell.mode == "graph" else peak_memory(self.device)

    @torch.no_grad()
    def ready(self, m: Measurement, size: int) -> None:
        """Make the cell's mode ready for passes of `size` images, before they are warmed up; once, and nothing in mode eager.

        Raises:
            ModeError: the mode does not work here, or gives other images than eager.
            torch.OutOfMemoryError: it would need more memory than there is.
        """
        if m.cell.mode == "eager" or (m.cell, size) in self._runs:
            return
        z, labels = self.inputs(range(size))
        peak_memory_start(self.device)
        networks = [*self.teacher.networks(), *m.sampler.networks()]
        self._runs[m.cell, size] = in_mode(m.cell.mode, self._bare(m), networks, z, labels, self.plan.precision)
        self._graph_bytes[m.cell, size] = peak_memory(self.device)

    def forget(self, m: Measurement, size: int) -> None:
        """Let go of what `ready` made for a batch size that is not used any more."""
        self._runs.pop((m.cell, size), None)
