"""The record of a measured cell: one JSON object, never edited."""

from collections.abc import Sequence
from math import inf
from typing import Any

from bench.clock import Clock
from bench.conditions import Watch
from bench.environment import environment
from bench.job import Job
from bench.plan import Plan
from bench.store import SCHEMA
from samplers.teacher import Teacher


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


def _missed(time: dict[str, Any]) -> bool:
    asked, reached = time.get("precision_asked"), time.get("precision_reached")
    return asked is not None and (reached is None or reached > asked)


def caveats(records: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader of these records should be told about their times: one line each, none where all is well."""
    times = [(r["cell"], r["time"]) for r in records if r["time"] is not None]
    lines = []
    wide = [(t["precision_reached"] or inf, cell) for cell, t in times if _missed(t)]
    if wide:
        width, cell = max(wide)
        lines.append(
            f"precision: {len(wide)} of {len(times)} cells did not reach the one asked for within their budget "
            f"({cell}: {'no interval' if width == inf else f'{width:.1%}'}); raise --time-budget"
        )
    disturbed = [(cell, t["conditions"]) for cell, t in times if (t.get("conditions") or {}).get("valid") is False]
    if disturbed:
        cell, conditions = disturbed[0]
        lines.append(
            f"conditions: {len(disturbed)} of {len(times)} cells were timed while something disturbed them, so their times are "
            f"marked invalid ({cell}: {'; '.join(conditions['reasons'])})"
        )
    return lines
