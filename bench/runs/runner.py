"""From a plan to records: prepare, time in rounds (`bench.runs.timing`), generate the rest, score, store."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import samplers
from bench.instruments.clock import Clock
from bench.instruments.meter import flops
from bench.instruments.modes import check_mode
from bench.instruments.operations import Operations
from bench.machine.conditions import watch
from bench.machine.device import resolve_device
from bench.quality.extractor import Extractor, features_of, find_extractor
from bench.quality.images import to_uint8
from bench.quality.metrics import Sample, check_metrics, check_needs, label_agreement, score
from bench.quality.reference import find_reference
from bench.quality.trajectory import Converged, converged, relative_rmse, true_path
from bench.records.store import Store
from bench.runs.cells import Cell, cells, expand
from bench.runs.cold_start import cold_start
from bench.runs.executor import Passes
from bench.runs.measurement import DeviceLostError, Job
from bench.runs.plan import Plan
from bench.runs.progress import Display
from bench.runs.record import record
from bench.runs.timing import Rounds
from samplers.errors import UserError
from samplers.models.teacher import Teacher
from samplers.protocol import Sampler
from samplers.time_limit import stop_in_time
from samplers.training.cards import machine
from samplers.training.precision import available_cores, reproducible_float32

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
        check_mode(plan.mode, self.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device.index or 0)  # streams and graphs take the current device
        torch.set_num_threads(plan.threads or available_cores())
        self.watch = watch(self.device, torch.get_num_threads())
        reproducible_float32()
        self.teacher: Teacher = samplers.load_teacher(plan.teacher, device=self.device)
        self.extractor: Extractor = find_extractor(plan.extractor, self.teacher)
        self.real = find_reference(self.extractor)
        self.labelled = plan.labels == "balanced" and self.teacher.num_classes > 0
        check_needs(plan.metrics, self.extractor, self.real, self.labelled)
        self.display = Display(quiet)
        self.passes = Passes(plan, self.teacher, Clock(self.device), self.display.advance)
        self.samplers = {c: samplers.get(c.sampler) for c in self.cells}  # a student may be of certain steps only
        self.unready = {c: why for c, s in self.samplers.items() if (why := self._ready(c, s)) is not None}
        self.store = Store(out, plan.text_in(out), self._identity())
        self.rounds = Rounds(plan, self.passes, self.store, self.watch, self._keep)
        self.reference: Converged | None = None
        z, labels = self.passes.inputs(range(1))
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
            "reference": self.real.sha256,
            "device": f"{self.device}, {machine(self.device)}",
            **({"students": hashes} if hashes else {}),
        }

    # ------------------------------------------------------------------ phases

    def run(self) -> None:
        """Measure every cell that has no record yet. Ctrl-C loses the repetition in progress; the next run goes on."""
        done = {Cell.of(r) for r in self.store.records()}
        jobs = [Job(c, self.samplers[c]) for c in self.cells if c not in done]
        for job in [j for j in jobs if j.cell in self.unready]:
            job.error, job.skipped = self.unready[job.cell], True
            self._add(job)
        jobs = [j for j in jobs if not j.skipped]
        if not jobs:
            return
        try:
            with self.display:
                self._measure(jobs)
        except DeviceLostError:
            kept = {Cell.of(r) for r in self.store.records()}
            for job in [j for j in jobs if j.error is not None and j.cell not in kept]:
                self._add(job)  # so that the next process goes on with the others
            raise
        finally:
            self._end(len(jobs))

    def _ready(self, cell: Cell, sampler: Sampler) -> str | None:
        """Let a sampler load its student; why it cannot be measured, where "all" brought in one that cannot.

        Raises:
            UserError: the same, of a sampler that the plan names.
        """
        spec = cell.sampler
        try:
            sampler.prepare(self.passes.meter, self.device, cell.steps)
            student, labels = sampler.student, self.plan.labels if self.teacher.num_classes else "none"
            if student is None:
                return None
            if self.plan.seed in student.noise_seeds:
                raise UserError(f"{spec} was trained on the noises of seed {self.plan.seed}; choose another --seed to score it")
            if student.labels not in ("any", labels):
                need = "with class labels" if student.labels == "balanced" else "without class labels"
                raise UserError(f"{spec} was trained {need}; ask for --labels {student.labels}")
        except UserError as e:
            if spec in {str(s.at(None)) for s, named in expand(self.plan).items() if named}:
                raise
            return str(e)
        return None

    def _measure(self, jobs: list[Job]) -> None:
        if self.plan.trajectory_images:
            self.reference = self._converged()
        self.display.begin(sum(self._cost(j) for j in jobs), len(jobs))
        for phase in (self._prepare, self._cold_start) if self.plan.cold_start else (self._prepare,):
            for job in jobs:
                job.attempt(phase)
        self.rounds.run(jobs)
        self.rounds.sweep(jobs)
        self.rounds.energy(jobs)
        self.display.rest(sum(self._cost(j) for j in jobs))
        for job in jobs:
            job.attempt(self._fill)
            job.attempt(self._score)
            self._add(job)
            self.store.forget_parts(job.cell.id)
            self.display.cell_done()

    def _add(self, job: Job) -> None:
        self.store.add(record(job, self.plan, self.teacher, self.passes.clock, self.watch))

    def _end(self, asked: int) -> None:
        """Tidy, and keep what this invocation took, interrupted or not."""
        self.store.close()
        wall = time.perf_counter() - self.begin
        self.store.add_session(
            {
                "cells_asked": asked,
                "wall_s": round(wall, 3),
                "network_s": round(self.passes.network_s, 3),
                "wall_over_network": round(wall / max(self.passes.network_s, 1e-9), 4),
            }
        )

    def _converged(self) -> Converged:
        z, labels = self.passes.inputs(range(self.plan.trajectory_images))
        reference, seconds = converged(self.teacher, z, labels, self.plan.seed, self.display.advance)
        self.passes.network_s += seconds
        self.store.save_row("reference", to_uint8(reference.images[:ROW]).cpu().numpy())
        return reference

    def _cost(self, job: Job) -> int:
        """Forwards that a job will still take, about, for the progress bar."""
        p, timed = self.plan, len(self.store.parts(job.cell.id, "timed"))
        left = max(p.repetitions - timed, 0)
        stored = len(self.store.parts(job.cell.id, "batch")) * p.batch_size
        again = max(p.repetitions - max(timed, p.images // p.batch_size), 0) * p.batch_size
        images = max(p.images - stored, 0) + again + left + 1 + (p.batch_size if left else 0)
        if left:
            images += p.repetitions * sum(p.sweep)
        return job.card.calls(job.cell.steps) * images

    def _batch(self, k: int) -> range:
        size = self.plan.batch_size
        return range(k * size, min((k + 1) * size, self.plan.images))

    def _prepare(self, job: Job) -> None:
        """Count passes at batch 1, in eager mode."""
        steps = job.cell.steps
        self.passes.counted(job, range(1))
        count = self.passes.meter.count
        job.counted = {"calls": count.calls, "forwards": count.forwards}
        z, labels = self.passes.inputs(range(1))
        work = flops(job.sampler.sample, self.teacher, z, steps=steps, labels=labels)
        job.counted |= {"flops_per_image": work, "teacher_equivalents": round(work / self.teacher_flops, 4)}
        with torch.no_grad(), self.passes.autocast(), Operations() as operations:
            job.sampler.sample(self.teacher, z, steps=steps, labels=labels)
        job.counted["synchronisations"] = operations.synchronisations
        self._keep_path(job)

    @torch.no_grad()
    def _keep_path(self, job: Job) -> None:
        """Where one call decodes a whole path (a callback told more often than there were calls): it, beside the true one."""
        z, labels = self.passes.inputs(range(min(PATHS, self.plan.images)))
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

    def _cold_start(self, job: Job) -> None:
        """Time the cell in a fresh process, before this one takes its own times."""
        kept = self.store.parts(job.cell.id, "cold")
        if kept:
            job.cold_start = json.loads(str(kept["cold"]["seconds"]))
            return
        job.cold_start = cold_start(self.plan, job.cell, str(self.device), torch.get_num_threads())
        self.store.save_part(job.cell.id, "cold", {"seconds": np.array(json.dumps(job.cold_start))})

    def _keep(self, job: Job, k: int, images: Tensor) -> None:
        """Score-ready data of batch k: features, logits, and squared errors against the converged solution."""
        pixels = to_uint8(images)
        seen = features_of(self.extractor, pixels)
        arrays = {k: v.cpu().numpy() for k, v in seen._asdict().items() if v is not None}
        if self.reference is not None and job.deterministic:
            arrays["error"] = self.reference.squared_error(images, k * self.plan.batch_size)
        self.store.save_part(job.cell.id, f"batch{k:05d}", arrays)
        if k == 0:
            self.store.save_row(job.cell.id, pixels[:ROW].cpu().numpy())

    def _fill(self, job: Job) -> None:
        """The batches that the timed rounds did not make; a mode knows whole ones only, of which the last keeps a part."""
        have = self.store.parts(job.cell.id, "batch").keys()
        self.passes.ready(job, self.plan.batch_size)
        for k in range(-(-self.plan.images // self.plan.batch_size)):
            if f"batch{k:05d}" not in have:
                part, start = self._batch(k), k * self.plan.batch_size
                made = part if job.cell.mode == "eager" else range(start, start + self.plan.batch_size)
                self._keep(job, k, self.passes.sample(job, made).images[: len(part)])
                stop_in_time()

    def _score(self, job: Job) -> None:
        parts = list(self.store.parts(job.cell.id, "batch").values())
        arrays: dict[str, np.ndarray] = {
            k: np.concatenate([p[k] for p in parts]) for k in ("features", "logits") if k in parts[0]
        }
        if self.labelled:
            arrays["labels"] = np.arange(len(arrays["features"])) % self.teacher.num_classes
        seen = Sample.of(**arrays)
        quality, influences = score(seen, self.extractor, self.real, self.plan.metrics, self.plan.seed)
        if "fd" in influences:
            self.store.save_influence(job.cell.id, influences["fd"])
        if self.reference is not None and job.deterministic:
            error = np.concatenate([part["error"] for part in parts])
            quality["trajectory_error"] = relative_rmse(error, self.reference)
        if seen.labels is not None and seen.logits is not None:
            quality["label_agreement"] = label_agreement(seen.logits, seen.labels, self.extractor)
        job.quality = quality
