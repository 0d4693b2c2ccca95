"""Records of one or several runs as a table."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.records.store import read_records
from samplers.errors import UserError

SPREAD = ("median", "p10", "p90", "min", "ci_low", "ci_high", "n")
COLUMNS = [  # of every record, in the order of results.csv; metrics and environment follow
    "run_id", "cell", "sampler", "family", "steps", "grid", "deterministic", "order",
    "teacher.name", "teacher.sha256", "student.name", "student.sha256",
    "images", "seed", "labels", "batch_size", "device", "precision", "mode", "status", "error",
    "counted.calls", "counted.forwards", "counted.flops_per_image", "counted.teacher_equivalents",
    "time.clock",
    *(f"time.latency_ms.{s}" for s in SPREAD),
    *(f"time.images_per_s.{s}" for s in SPREAD),
    *(f"time.cold_start_s.{s}" for s in ("load", "compile", "first_image", "total")),
    "time.overhead_fraction", "time.conditions.valid", "time.conditions.reasons", "memory.peak_bytes",
    "quality.trajectory_error.value", "quality.trajectory_error.ci_low", "quality.trajectory_error.ci_high",
    "quality.trajectory_error.n", "quality.trajectory_error.reference", "quality.trajectory_error.reference_error",
    "quality.label_agreement.value", "quality.label_agreement.ci_low", "quality.label_agreement.ci_high",
    "quality.label_agreement.n", "training.seconds", "training.device", "training.images",
]  # fmt: skip
_TEXT = re.compile(
    r"(run|run_id|cell|sampler|family|grid|deterministic|labels|device|precision|mode|status|error"
    r"|time\.(clock|sweep|sweep_stopped|conditions\.(valid|reasons))|energy\.counter"
    r"|training\.(device|torch|finished|curve|note)|path\.sigmas|(teacher|student|environment)\..*|.*_sha256|.*\.reference)$"
)
MACHINE = ("device", "environment.gpu.name", "environment.cpu", "environment.threads")
NEEDED = {"run_id", "cell", "sampler", "steps", "status", "seed", "images", "teacher"}


def load_records(runs: Sequence[Path]) -> pd.DataFrame:
    """All records of the run folders, one row each, nested keys joined by dots (`time.latency_ms.median`).

    The columns of COLUMNS are always there; `run` is the folder. Where a folder tells a cell twice its last record counts.

    Raises:
        UserError: a folder without records, a file that is not records, or records of another version.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for folder in map(Path, runs):
        path = folder / "records.jsonl"
        for record in read_records(path):
            if not record.keys() >= NEEDED:
                raise UserError(f"{path}: a record lacks {', '.join(sorted(NEEDED - record.keys()))}; run the plan again")
            rows[str(folder.resolve()), record["cell"]] = {"run": str(folder), **record}
    if not rows:
        where = ", ".join(str(r) for r in runs) or "no folder was named"
        raise UserError(f"no records to report ({where}); run a plan first with 'bench run'")
    df = pd.json_normalize(list(rows.values()))
    if (reasons := "time.conditions.reasons") in df:
        df[reasons] = [("; ".join(r) or None) if isinstance(r, list) else None for r in df[reasons]]
    lists = ("time.raw.", "training.validation.")  # these stay in records.jsonl
    df = df.drop(columns=[c for c in df.columns if c.startswith(lists)])
    df = df.reindex(columns=[*df.columns, *(c for c in COLUMNS if c not in df.columns)])
    # A null where other records have an object leaves a column named like the object.
    df = df.drop(columns=[c for c in df.columns if any(o.startswith(f"{c}.") for o in df.columns)])
    for column in df.columns:
        if not _TEXT.match(column):
            df[column] = pd.to_numeric(df[column], errors="coerce")
    return df
