"""The record of a measured cell: one JSON object, never edited."""

from typing import Any

from bench.machine.environment import environment
from bench.records.schema import SCHEMA, Record, Time
from bench.records.versions import validated
from bench.runs.measurement import Measurement, Unusable
from bench.runs.session import Session
from samplers.errors import PluginError, UserError, foreign, one_line, package_at
from samplers.registry import MEND


def record(m: Measurement, session: Session) -> Record:
    """What became of a cell: measured, failed or skipped; failed where what its plug-ins tell of themselves fits no record."""
    try:
        with foreign("what it tells of itself cannot be recorded", MEND, package_at(m.sampler)):
            return _record(m, session)
    except PluginError as e:
        m.sampler, m.error, m.told = Unusable(), m.error or one_line(e, 600), {}
        return _record(m, session)


def _record(m: Measurement, session: Session) -> Record:
    plan, teacher, student = session.plan, session.teacher, m.sampler.student
    ok, told, note = m.error is None, m.told, teacher.card.get("note")
    measured = {key: told.get(key) if ok else None for key in ("time", "memory", "energy", "quality")}
    if "time" in told and ok:  # what was not timed is told to be missing
        measured["time"] = dict.fromkeys(Time.model_fields) | told["time"]
    values = {
        "schema": SCHEMA,
        "run_id": plan.run_id(),
        "cell": m.cell.id,
        "sampler": m.cell.sampler,
        "family": m.card.family,
        "steps": m.cell.steps,
        **_setting(m, session),
        "deterministic": m.deterministic,
        "order": m.card.order,
        "teacher": {"name": teacher.name, "sha256": teacher.sha256} | ({"note": str(note)} if note else {}),
        "student": None if student is None else {"name": student.name, "sha256": student.sha256},
        "images": plan.images,
        "seed": plan.seed,
        "labels": plan.labels if teacher.num_classes else "none",
        "batch_size": plan.batch_size,
        "device": str(session.device),
        "precision": m.cell.precision,
        "mode": m.cell.mode,
        "status": "ok" if ok else "skipped" if m.skipped else "failed",
        "error": m.error,
        "counted": told.get("counted"),
        "rank_by": session.rank_by,
        **measured,
        "training": None if student is None else student.training,
        "path": told.get("path"),
        **({"tables": tables} if (tables := session.tables.get(m.cell)) else {}),
        "environment": environment(session.device),
    }
    try:
        return validated(values)
    except UserError as e:
        raise ValueError(str(e)) from e


def _setting(m: Measurement, session: Session) -> dict[str, Any]:
    """Grid, lowest level above 0 and last step, of a sampler that has them."""
    found: dict[str, Any] = {"grid": getattr(m.sampler, "grid", None)}
    levels = m.sampler.levels(session.teacher, m.cell.steps) if m.error is None else []
    return found | ({"end": min(v for v in levels if v > 0), "last_step": m.card.last} if levels else {})
