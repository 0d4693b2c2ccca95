"""`bench profile NAME`: where one pass of a trained sampler spends its time, and what the pass costs in teacher forwards."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import Meter
from bench.instruments.modes import ModeError, Run, check_mode, in_mode
from bench.instruments.statistics import summarise
from bench.machine.conditions import Reading, watch, watched
from bench.machine.device import peak_memory, peak_memory_start, prepare_process
from bench.machine.environment import environment
from bench.machine.peak_rates import matrix_rate
from bench.machine.threads import choose_threads
from bench.profiling.settings import ProfileSettings
from bench.profiling.stages import stage_times
from samplers.errors import UserError
from samplers.flops import flops
from samplers.models.teacher import Teacher

WARM = 2
"""Passes before those that are timed."""


class Display(Protocol):
    """Who is told how far it is."""

    def say(self, line: str) -> None: ...
    def now(self, what: str) -> None: ...
    def rest(self, forwards: int) -> None: ...
    def advance(self, forwards: int) -> None: ...


class Silent:
    """Tells nobody."""

    def say(self, line: str) -> None: ...
    def now(self, what: str) -> None: ...
    def rest(self, forwards: int) -> None: ...
    def advance(self, forwards: int) -> None: ...


class Profiler:
    """Measures one setting on one device: build it (which checks everything), then `measure()`."""

    def __init__(self, settings: ProfileSettings, device: torch.device, display: Display | None = None):
        check_mode(settings.mode, device)
        self.settings, self.device, self.display = settings, device, display or Silent()
        prepare_process(device, settings.threads or 0)
        self.clock = Clock(device)
        self.teacher: Teacher = samplers.load_teacher(settings.teacher, device=device)
        self.sampler = samplers.get(settings.sampler)
        self.sampler.prepare(self.teacher, device, 1)
        self.stages = self.sampler.stages()
        if not self.sampler.networks() or not self.stages:
            raise UserError(
                f"{settings.sampler} carries no network whose stages can be told apart; profile a trained sampler, as dsno"
            )
        if settings.threads is None and device.type == "cpu":
            self.display.say(choose_threads(self._ends).why)
        self.watch = watch(device, torch.get_num_threads())
        self.readings: list[Reading] = []

    @torch.no_grad()
    def _ends(self) -> None:
        """A call of the teacher on the smallest and on the largest batch."""
        for batch in {self.settings.batch_sizes[0], self.settings.batch_sizes[-1]}:
            z, labels = self.inputs(batch)
            self.teacher(z, 1.0, labels)

    # ------------------------------------------------------------------ passes

    def inputs(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of the first `batch` images."""
        z = samplers.noise(self.settings.seed, range(batch), self.teacher.shape, device=self.device)
        return z, samplers.labels(range(batch), self.teacher.num_classes, device=self.device)

    @torch.no_grad()
    def eager(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """One pass: noise to images."""
        return self.sampler.sample(self.teacher, z, steps=1, labels=labels)

    def runner(self, batch: int) -> Callable[[], Tensor]:
        """A pass at this batch size, in the mode asked for."""
        return self._in_mode(self.eager, self.sampler.networks(), *self.inputs(batch))

    def forward(self, batch: int) -> Callable[[], Tensor]:
        """One call of the teacher on `batch` images, in the same mode."""
        z, labels = self.inputs(batch)
        z = z.contiguous(memory_format=torch.channels_last)

        @torch.no_grad()
        def run(z: Tensor, labels: Tensor | None) -> Tensor:
            return self.teacher(z, 1.0, labels)

        return self._in_mode(run, self.teacher.networks(), z, labels)

    def _in_mode(self, run: Run, networks: Sequence[nn.Module], z: Tensor, labels: Tensor | None) -> Callable[[], Tensor]:
        """`run` on these inputs, compiled or captured if so asked.

        Raises:
            UserError: that does not work here, or gives other images than eager.
        """
        try:
            other = in_mode(self.settings.mode, run, networks, z, labels, "fp32")
        except ModeError as e:
            raise UserError(str(e)) from e
        return lambda: other(z, labels)

    # ------------------------------------------------------------------ measurements

    def measure(self) -> dict[str, Any]:
        """All of it, as a dictionary ready for JSON: see the keys of `bench profile`'s profile.json."""
        s = self.settings
        meter = Meter(self.teacher, self.clock)
        z, labels = self.inputs(1)
        with meter.watching(self.sampler), torch.no_grad():
            self.sampler.sample(meter, z, steps=1, labels=labels)
        forwards = meter.count.forwards
        own = flops(self.eager, z, labels)
        one = flops(self.teacher, z, 1.0, labels)
        self.display.now("matrix rate")
        rate = matrix_rate(self.device, self.clock)
        ends = sorted({s.batch_sizes[0], s.batch_sizes[-1]}) if s.mode == "eager" else []
        passes = sum(forwards * b for b in ends) + sum((3 * forwards + 1) * b for b in s.batch_sizes)
        self.display.rest((s.repetitions + WARM) * passes)
        split = [row for b in ends for row in self._stages(b, forwards)]
        rows = []
        for i, batch in enumerate(s.batch_sizes, 1):
            self.display.now(f"batch {batch}, {i} of {len(s.batch_sizes)}")
            try:
                rows.append(self._batch(batch, forwards, own, rate))
            except torch.OutOfMemoryError as e:
                raise UserError(f"batch {batch} does not fit in the device's memory; give smaller --batch-sizes") from e
        student = self.sampler.student
        conditions = self.watch and self.watch.verdict(self.readings)
        return {
            "schema": 1,
            "sampler": s.sampler,
            "teacher": {"name": self.teacher.name, "sha256": self.teacher.sha256},
            "student": None if student is None else {"name": student.name, "sha256": student.sha256},
            "mode": s.mode,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "clock": "CUDA events" if self.device.type == "cuda" else "CPU timer (perf_counter)",
            "counted": {"calls": meter.count.calls, "forwards": forwards, "flops_per_image": own, "teacher_flops": one},
            "teacher_equivalents": round(own / one, 4),
            "matrix_flops_per_s": rate,
            "batches": rows,
            "stages": split,
            "conditions": conditions,
            "environment": environment(self.device),
        }

    def _timed(self, runs: Sequence[Callable[[], Any]], forwards: Sequence[int]) -> list[list[float]]:
        """Seconds of each of `runs`, which take so many forwards, repeated in rounds of shuffled order, after a warm-up."""
        order, spent = random.Random(self.settings.seed), [[] for _ in runs]  # type: random.Random, list[list[float]]
        for run, work in zip(runs, forwards, strict=True):
            for _ in range(WARM):
                run()
                self.display.advance(work)
        for _ in range(self.settings.repetitions):
            turns = list(range(len(runs)))
            order.shuffle(turns)
            for i in turns:
                (_, elapsed), reading = watched(self.watch, lambda: self.clock.time(runs[i]))  # noqa: B023 (called here)
                spent[i].append(elapsed.seconds)
                self.readings += [reading] if reading is not None else []
                self.display.advance(forwards[i])
        return spent

    def _batch(self, batch: int, forwards: int, work: int, rate: float) -> dict[str, Any]:
        """A pass at one batch size beside one teacher forward, and beside M of them in one call and one after another."""
        s = self.settings
        if s.mode == "compile":
            torch._dynamo.reset()  # each size is compiled for itself; a function keeps only a few
        peak_memory_start(self.device)  # before a graph is captured, which is when it takes its memory
        run = self.runner(batch)
        run()
        peak = peak_memory(self.device)
        one, many = self.forward(batch), self.forward(batch * forwards)

        def sequence() -> None:
            for _ in range(forwards):
                one()

        each = batch * forwards
        own, single, joint, serial = self._timed([run, one, many, sequence], [each, batch, each, each])

        def ratio(other: list[float]) -> dict[str, Any]:
            return summarise([a / b for a, b in zip(own, other, strict=True)])  # of the same round

        seconds = float(np.median(own))
        return {
            "batch_size": batch,
            "ms": summarise([1e3 * v for v in own]),
            "teacher_forward_ms": summarise([1e3 * v for v in single]),
            "images_per_s": batch / seconds,
            "ratio_to_one_forward": ratio(single),
            "ratio_to_m_forwards": ratio(joint),
            "ratio_to_m_calls": ratio(serial),
            "flops_per_s": work * batch / seconds,
            "share_of_matrix_rate": work * batch / seconds / rate,
            "peak_bytes": peak,
        }

    def _stages(self, batch: int, forwards: int) -> list[dict[str, Any]]:
        """`stage_times` of a pass that takes so many forwards an image."""
        self.display.now(f"stages at batch {batch}")
        z, labels = self.inputs(batch)

        def done() -> None:
            self.display.advance(batch * forwards)

        rows = stage_times(lambda: self.eager(z, labels), self.stages, self.clock, self.settings.repetitions, done)
        return [{"batch_size": batch, **row} for row in rows]

    def trace(self, path: Path, batch: int) -> None:
        """Write a Chrome trace (chrome://tracing, Perfetto) of one pass."""
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])
        run = self.runner(batch)
        run()
        with profile(activities=kinds) as p:
            run()
            self.clock.settle()
        path.parent.mkdir(parents=True, exist_ok=True)
        p.export_chrome_trace(str(path))
