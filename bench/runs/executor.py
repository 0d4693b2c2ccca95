"""One sample call of a cell, in the plan's precision and mode: inputs, images, time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import samplers
from bench.instruments.clock import Clock, Elapsed
from bench.instruments.meter import Meter
from bench.instruments.modes import in_mode, unchanged
from bench.machine.device import peak_memory, peak_memory_start
from bench.runs.measurement import Job
from bench.runs.plan import Plan
from samplers.models.teacher import Teacher


@dataclass(frozen=True)
class Pass:
    """Images float32 [B, C, H, W], how long they took, and the overhead fraction (None in modes other than eager)."""

    images: Tensor
    elapsed: Elapsed
    overhead: float | None


class Passes:
    """Samples for a plan on one device, and adds up `network_s`, the seconds inside network calls.

    Args:
        plan: seed, labels, precision and mode.
        teacher: of the samplers.
        clock: of the device.
        advance: told of the forwards of every pass.
    """

    def __init__(self, plan: Plan, teacher: Teacher, clock: Clock, advance: Callable[[int], None]):
        self.plan, self.teacher, self.clock, self.device = plan, teacher, clock, clock.device
        self.meter = Meter(teacher, clock)
        self.network_s = 0.0
        self._advance = advance

    def inputs(self, indices: range) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of images `indices`."""
        z = samplers.noise(self.plan.seed, indices, self.teacher.shape, device=self.device)
        if self.plan.labels == "none" or not self.teacher.num_classes:
            return z, None
        return z, torch.tensor([i % self.teacher.num_classes for i in indices], device=self.device)

    def autocast(self) -> torch.autocast:
        """The plan's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    @torch.no_grad()
    def counted(self, job: Job, indices: range) -> Pass:
        """A pass without the cell's mode whose calls and forwards are left in `meter`; no network is compiled yet."""
        z, labels = self.inputs(indices)
        with self.meter.watching(job.sampler), self.autocast():
            images, elapsed = self.clock.time(lambda: job.sampler.sample(self.meter, z, steps=job.cell.steps, labels=labels))
        inside = self.meter.network_seconds()
        self.network_s += inside
        self._advance(self.meter.count.forwards)
        return Pass(_finite(images), elapsed, elapsed.seconds / inside - 1 if inside else math.inf)

    @torch.no_grad()
    def sample(self, job: Job, indices: range) -> Pass:
        """A pass in the cell's mode, which `ready` has made ready for this number of images.

        Raises:
            ModeError: a network had to be compiled again.
            FloatingPointError: images that are not finite.
        """
        if job.cell.mode == "eager":
            return self.counted(job, indices)
        z, labels = self.inputs(indices)
        run = job.runs[len(indices)]
        with unchanged(job.cell.mode):
            images, elapsed = self.clock.time(lambda: run(z, labels))
        self.network_s += elapsed.seconds
        self._advance(job.counted["forwards"] * len(indices))
        return Pass(_finite(images), elapsed, None)

    def again(self, job: Job, size: int) -> Callable[[], float]:
        """A pass on the same noises again and again, with nothing else between two: returns the host's seconds of one."""
        z, labels = self.inputs(range(size))

        @torch.no_grad()
        def eager(z: Tensor, labels: Tensor | None) -> Tensor:
            with self.autocast():
                return job.sampler.sample(self.teacher, z, steps=job.cell.steps, labels=labels)

        run = eager if job.cell.mode == "eager" else job.runs[size]

        def once() -> float:
            _, elapsed = self.clock.time(lambda: run(z, labels))
            return elapsed.seconds if elapsed.host_seconds is None else elapsed.host_seconds

        return torch.no_grad()(once)

    def peak(self, job: Job, size: int) -> int | None:
        """Peak bytes since `peak_memory_start`; of a graph, what capturing it took, since a replay takes nothing."""
        return job.graph_bytes[size] if job.cell.mode == "graph" else peak_memory(self.device)

    @torch.no_grad()
    def ready(self, job: Job, size: int) -> None:
        """Make the cell's mode ready for passes of `size` images, before they are warmed up; once, and nothing in mode eager.

        Raises:
            ModeError: the mode does not work here, or gives other images than eager.
            torch.OutOfMemoryError: it would need more memory than there is.
        """
        if job.cell.mode == "eager" or size in job.runs:
            return
        z, labels = self.inputs(range(size))

        def run(z: Tensor, labels: Tensor | None) -> Tensor:
            # Autocast is entered in here, so that a graph holds none of the casts that an earlier pass has cached.
            with self.autocast():
                return job.sampler.sample(self.teacher, z, steps=job.cell.steps, labels=labels)

        peak_memory_start(self.device)
        networks = [*self.teacher.networks(), *job.sampler.networks()]
        job.runs[size] = in_mode(job.cell.mode, run, networks, z, labels, self.plan.precision)
        job.graph_bytes[size] = peak_memory(self.device)


def _finite(images: Tensor) -> Tensor:
    if not torch.isfinite(images).all():
        raise FloatingPointError("images are not finite (NaN or infinity)")
    return images.float()
