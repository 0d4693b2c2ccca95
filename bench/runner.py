"""From a plan to records: prepare, time in interleaved rounds, generate the rest, score, store."""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import samplers
from bench.accounting import Meter, flops
from bench.clock import Clock
from bench.environment import peak_memory, peak_memory_start, resolve_device
from bench.job import Job
from bench.plan import Cell, Plan, cells
from bench.progress import Display
from bench.quality.extractor import Extractor, find_extractor
from bench.quality.images import to_uint8
from bench.quality.metrics import check_metrics, label_agreement, score
from bench.quality.trajectory import Converged, converged, relative_rmse, true_path
from bench.record import record
from bench.store import Store
from samplers.errors import UserError
from samplers.protocol import Sampler
from samplers.teacher import Teacher
from samplers.time_limit import stop_in_time
from samplers.training import available_cores, exact_float32
from samplers.zoo_writer import machine

ROW = 10
"""Images kept of each cell for the report's grid."""
PATHS = 4
"""Noises whose decoded paths are kept of a sampler that decodes them."""


class Runner:
    """One invocation of a plan. Build it (which checks everything that can be wrong), then `run()`."""

    def __init__(self, plan: Plan, out: Path, *, quiet: bool = False):
        self.plan = plan
        self.cells = cells(plan)
        self.begin = time.perf_counter()
        check_metrics(plan.metrics, plan.images)
        self.device = resolve_device(plan.device)
        torch.set_num_threads(plan.threads or available_cores())
        self.clock = Clock(self.device)
        exact_float32()
        self.teacher: Teacher = samplers.load_teacher(plan.teacher, device=self.device)
        self.extractor: Extractor = find_extractor(plan.extractor, self.teacher)
        self.meter = Meter(self.teacher, self.clock)
        self.samplers = {c: samplers.get(c.sampler) for c in self.cells}  # a student may be of certain steps only
        self.unready = {c: why for c, s in self.samplers.items() if (why := self._ready(c, s)) is not None}
        self.store = Store(out, plan, self._identity())
        self.display = Display(quiet)
        self.network_s = 0.0
        z, labels = self._inputs(range(1))
        self.teacher_flops = flops(self.teacher, z, 1.0, labels)

    def _identity(self) -> dict[str, Any]:
        """What the records depend on besides the plan."""
        students = {c.sampler: {} for c, s in self.samplers.items() if s.student is not None}  # type: dict[str, dict]
        for c, s in self.samplers.items():
            if s.student is not None:
                students[c.sampler][s.student.sha256] = None  # an ordered set: progressive distillation has one a step count
        hashes = {spec: next(iter(found)) if len(found) == 1 else list(found) for spec, found in students.items()}
        return {
            "teacher": self.teacher.sha256,
            "extractor": self.extractor.sha256,
            "reference": self.extractor.reference_sha256,
            "device": f"{self.device}, {machine(self.device)}",
            **({"students": hashes} if hashes else {}),
        }

    # ------------------------------------------------------------------ one sample call

    def _inputs(self, indices: range) -> tuple[Tensor, Tensor | None]:
        """Noise and labels of images `indices`."""
        z = samplers.noise(self.plan.seed, indices, self.teacher.shape, device=self.device)
        if self.plan.labels == "none" or not self.teacher.num_classes:
            return z, None
        return z, torch.tensor([i % self.teacher.num_classes for i in indices], device=self.device)

    @torch.no_grad()
    def _sample(self, job: Job, indices: range) -> tuple[Tensor, float, float]:
        """(images float32 [B, C, H, W], seconds, overhead fraction) of one repetition."""
        z, labels = self._inputs(indices)
        with (
            self.meter.watching(job.sampler),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"),
        ):
            self.clock.settle()
            span = self.clock.start()
            images = job.sampler.sample(self.meter, z, steps=job.cell.steps, labels=labels)
            self.clock.stop(span)
            self.clock.settle()
        seconds, inside = span.seconds(), self.meter.network_seconds()
        self.network_s += inside
        self.display.advance(self.meter.count.forwards)
        if not torch.isfinite(images).all():
            raise FloatingPointError("images are not finite (NaN or infinity)")
        return images.float(), seconds, seconds / inside - 1 if inside else math.inf

    # ------------------------------------------------------------------ phases

    def run(self) -> None:
        """Measure every cell that has no record yet. Ctrl-C loses the repetition in progress; the next run goes on."""
        done = {r["cell"] for r in self.store.records()}
        jobs = [Job(c, self.samplers[c]) for c in self.cells if c.id not in done]
        for job in [j for j in jobs if j.cell in self.unready]:
            job.error, job.skipped = self.unready[job.cell], True
            self.store.add(record(job, self.plan, self.teacher, self.device, self.clock.name))
        jobs = [j for j in jobs if not j.skipped]
        if not jobs:
            return
        try:
            with self.display:
                self._measure(jobs)
        finally:
            self._end(len(jobs))

    def _ready(self, cell: Cell, sampler: Sampler) -> str | None:
        """Let a sampler load its student; why it cannot be measured, where "all" brought in one that cannot.

        Raises:
            UserError: the same, of a sampler that the plan names.
        """
        spec = cell.sampler
        try:
            sampler.prepare(self.meter, self.device, cell.steps)
            student, labels = sampler.student, self.plan.labels if self.teacher.num_classes else "none"
            if student is None:
                return None
            if self.plan.seed in student.noise_seeds:
                raise UserError(f"{spec} was trained on the noises of seed {self.plan.seed}; choose another --seed to score it")
            if student.labels not in ("any", labels):
                need = "with class labels" if student.labels == "balanced" else "without class labels"
                raise UserError(f"{spec} was trained {need}; ask for --labels {student.labels}")
        except UserError as e:
            if spec in {name.partition("@")[0] for name in self.plan.samplers}:
                raise
            return str(e)
        return None

    def _measure(self, jobs: list[Job]) -> None:
        reference = self._converged() if self.plan.trajectory_images else None
        self.display.begin(sum(self._cost(j) for j in jobs), len(jobs))
        for job in jobs:
            self._guarded(job, self._prepare)
        self._rounds([j for j in jobs if j.error is None], reference)
        for job in jobs:
            self._guarded(job, lambda j: self._fill(j, reference))
            self._guarded(job, lambda j: self._score(j, reference))
            self.store.add(record(job, self.plan, self.teacher, self.device, self.clock.name))
            self.store.forget_parts(job.cell)
            self.display.cell_done()

    def _end(self, asked: int) -> None:
        """Tidy, and keep what this invocation took, interrupted or not."""
        self.store.close()
        wall = time.perf_counter() - self.begin
        self.store.add_session(
            {
                "cells_asked": asked,
                "wall_s": round(wall, 3),
                "network_s": round(self.network_s, 3),
                "wall_over_network": round(wall / max(self.network_s, 1e-9), 4),
            }
        )

    def _guarded(self, job: Job, phase: Callable[[Job], None]) -> None:
        """Run a phase of a job; what goes wrong in the sampler becomes the job's error, and the other jobs go on."""
        if job.error is not None:
            return
        try:
            phase(job)
        except UserError:
            raise  # a full disk, say: not the sampler's fault
        except Exception as e:
            job.error = f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"

    def _converged(self) -> Converged:
        z, labels = self._inputs(range(self.plan.trajectory_images))
        reference, seconds = converged(self.teacher, z, labels, self.plan.seed, self.display.advance)
        self.network_s += seconds
        self.store.save_row("reference", to_uint8(reference.images[:ROW]).cpu().numpy())
        return reference

    def _cost(self, job: Job) -> int:
        """Forwards that a job will still take, for the progress bar."""
        p, timed = self.plan, len(self.store.parts(job.cell, "time"))
        left = p.repetitions - timed
        stored = len(self.store.parts(job.cell, "batch")) * p.batch_size
        again = max(p.repetitions - max(timed, self._whole_batches()), 0) * p.batch_size
        return job.card.calls(job.cell.steps) * (max(p.images - stored, 0) + again + left + 1 + (p.batch_size if left else 0))

    def _whole_batches(self) -> int:
        return self.plan.images // self.plan.batch_size

    def _batch(self, k: int) -> range:
        size = self.plan.batch_size
        return range(k * size, min((k + 1) * size, self.plan.images))

    def _prepare(self, job: Job) -> None:
        """Count one pass at batch 1."""
        steps = job.cell.steps
        self._sample(job, range(1))
        job.counted = {"calls": self.meter.count.calls, "forwards": self.meter.count.forwards}
        z, labels = self._inputs(range(1))
        work = flops(job.sampler.sample, self.teacher, z, steps=steps, labels=labels)
        job.counted |= {"flops_per_image": work, "teacher_equivalents": round(work / self.teacher_flops, 4)}
        self._keep_path(job)

    @torch.no_grad()
    def _keep_path(self, job: Job) -> None:
        """Where one call decodes a whole path (a callback told more often than there were calls): it, beside the true one."""
        z, labels = self._inputs(range(min(PATHS, self.plan.images)))
        levels: list[float] = []
        decoded: list[Tensor] = []

        def keep(_: int, sigma: float, __: Tensor, denoised: Tensor) -> None:
            levels.append(sigma)
            decoded.append(denoised)

        if not job.sampler.networks():
            return
        job.sampler.sample(self.teacher, z, steps=job.cell.steps, labels=labels, callback=keep)
        if len(levels) <= job.counted["calls"]:
            return
        true = true_path(self.teacher, z, labels, levels)
        rows = torch.stack([torch.stack(decoded, dim=1), true], dim=1).flatten(0, 1)  # [2 B, L, C, H, W]
        self.store.save_grid(f"{job.cell.id}.path", to_uint8(rows).cpu().numpy())
        job.path = {"sigmas": levels, "noises": len(z)}

    def _rounds(self, jobs: list[Job], reference: Converged | None) -> None:
        """Timed repetitions, cells in a new random order each round, so that drift of the machine hits all alike.

        A repetition is one image (latency) and one batch (throughput). The batches are those that are scored, kept as
        they come; a run that was interrupted takes them, and their times, from the store.
        """
        plan, order = self.plan, random.Random(self.plan.seed)
        whole = self._whole_batches()
        for job in jobs:
            for part in self.store.parts(job.cell, "time").values():
                job.add(part["times"])
        for job in jobs:
            if len(job.latency) < plan.repetitions:
                self._guarded(job, self._warm_up)
        for r in range(plan.repetitions):
            shuffled = [j for j in jobs if len(j.latency) <= r]
            order.shuffle(shuffled)
            for job in shuffled:
                self._guarded(job, lambda j: self._repetition(j, len(j.latency), len(j.latency) % whole, reference))

    def _warm_up(self, job: Job) -> None:
        """One batch at the real steps and shape, which two steps of a multistep method would not be."""
        self._sample(job, self._batch(0))

    def _repetition(self, job: Job, r: int, k: int, reference: Converged | None) -> None:
        _, latency, _ = self._sample(job, range(1))
        peak_memory_start(self.device)
        images, seconds, overhead = self._sample(job, self._batch(k))
        peak = peak_memory(self.device)
        if r < self._whole_batches():
            self._keep(job, k, images, reference)
        times = np.array([latency, seconds, overhead, peak or 0])
        self.store.save_part(job.cell, f"time{r:04d}", {"times": times})
        job.add(times)
        stop_in_time()

    def _keep(self, job: Job, k: int, images: Tensor, reference: Converged | None) -> None:
        """Score-ready data of batch k: features, logits, and squared errors against the converged solution."""
        pixels = to_uint8(images)
        features, logits = self.extractor(pixels)
        arrays = {"features": features.cpu().numpy(), "logits": logits.cpu().numpy()}
        if reference is not None and job.deterministic:
            arrays["error"] = reference.squared_error(images, k * self.plan.batch_size)
        self.store.save_part(job.cell, f"batch{k:05d}", arrays)
        if k == 0:
            self.store.save_row(job.cell.id, pixels[:ROW].cpu().numpy())

    def _fill(self, job: Job, reference: Converged | None) -> None:
        """The batches that the timed rounds did not make."""
        have = self.store.parts(job.cell, "batch").keys()
        for k in range(-(-self.plan.images // self.plan.batch_size)):
            if f"batch{k:05d}" not in have:
                images, _, _ = self._sample(job, self._batch(k))
                self._keep(job, k, images, reference)
                stop_in_time()

    def _score(self, job: Job, reference: Converged | None) -> None:
        parts = list(self.store.parts(job.cell, "batch").values())
        features, logits = (np.concatenate([part[key] for part in parts]) for key in ("features", "logits"))
        quality, influence = score(features, logits, self.extractor, self.plan.metrics, self.plan.seed)
        if influence is not None:
            self.store.save_influence(job.cell, influence)
        if reference is not None and job.deterministic:
            error = np.concatenate([part["error"] for part in parts])
            quality["trajectory_error"] = relative_rmse(error, reference)
        if self.plan.labels == "balanced" and self.teacher.num_classes:
            labels = np.arange(len(logits)) % self.teacher.num_classes
            quality["label_agreement"] = label_agreement(logits, labels, self.extractor)
        job.quality = quality
