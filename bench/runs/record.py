"""The record of a measured cell: one JSON object, never edited."""

from typing import Any

from bench.instruments.clock import Clock
from bench.machine.conditions import Watch
from bench.machine.environment import environment
from bench.records.store import SCHEMA
from bench.runs.measurement import Job
from bench.runs.plan import Plan
from samplers.models.teacher import Teacher


def record(job: Job, plan: Plan, teacher: Teacher, clock: Clock, watch: Watch | None) -> dict[str, Any]:
    """What a cell's job became: measured, failed or skipped; `clock` timed it while `watch` saw to the conditions."""
    ok, student = job.error is None, job.sampler.student
    return {
        "schema": SCHEMA,
        "run_id": plan.run_id(),
        "cell": job.cell.id,
        "sampler": job.cell.sampler,
        "family": job.card.family,
        "steps": job.cell.steps,
        "grid": getattr(job.sampler, "grid", None),
        "deterministic": job.deterministic,
        "order": job.card.order,
        "teacher": {"name": teacher.name, "sha256": teacher.sha256},
        "student": None if student is None else {"name": student.name, "sha256": student.sha256},
        "images": plan.images,
        "seed": plan.seed,
        "labels": plan.labels if teacher.num_classes else "none",
        "batch_size": plan.batch_size,
        "device": str(clock.device),
        "precision": job.cell.precision,
        "mode": job.cell.mode,
        "counted": job.counted or None,
        "time": job.time(clock.name, plan, watch) if ok else None,
        "memory": {"peak_bytes": job.peak_bytes} if ok else None,
        "energy": job.energy if ok else None,
        "quality": job.quality if ok else None,
        "training": None if student is None else student.training,
        "path": job.path,
        "status": "ok" if ok else "skipped" if job.skipped else "failed",
        "error": job.error,
        "environment": environment(clock.device),
    }
