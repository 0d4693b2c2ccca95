"""The record of a measured cell: one JSON object, never edited."""

from typing import Any

import torch

from bench.environment import environment
from bench.job import Job
from bench.plan import Plan
from bench.store import SCHEMA
from samplers.teacher import Teacher


def record(job: Job, plan: Plan, teacher: Teacher, device: torch.device, clock: str) -> dict[str, Any]:
    """What a cell's job became: measured, failed or skipped. `clock` is the name of the one that timed it."""
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
        "device": str(device),
        "precision": job.cell.precision,
        "mode": job.cell.mode,
        "counted": job.counted or None,
        "time": job.time(clock) if ok else None,
        "memory": {"peak_bytes": job.peak_bytes} if ok else None,
        "quality": job.quality if ok else None,
        "training": None if student is None else student.training,
        "path": job.path,
        "status": "ok" if ok else "skipped" if job.skipped else "failed",
        "error": job.error,
        "environment": environment(device),
    }
