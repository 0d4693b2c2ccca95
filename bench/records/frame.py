"""Records of one or several runs as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.records.columns import COLUMNS, is_number
from bench.records.store import read_lines
from bench.records.versions import plain
from samplers.errors import UserError

MACHINE = ("device", "environment.gpu.name", "environment.cpu", "environment.threads")


def load_records(runs: Sequence[Path]) -> pd.DataFrame:
    """All records of the run folders, one row each, nested keys joined by dots (`time.latency_ms.median`).

    The columns of COLUMNS are always there; `run` is the folder. Where a folder tells a cell twice its last record counts.
    Where some were edited by hand, the column `edited` tells which.

    Raises:
        UserError: a folder without records, a file that is not records, or records of a version that is not known.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for folder in map(Path, runs):
        for record, edited in read_lines(folder / "records.jsonl"):
            told = {"edited": True} if edited else {}
            rows[str(folder.resolve()), record.cell] = {"run": str(folder), **plain(record), **told}
    if not rows:
        where = ", ".join(str(r) for r in runs) or "no folder was named"
        raise UserError(f"no records to report ({where}); run a plan first with 'bench run'")
    df = pd.json_normalize(list(rows.values()))
    if "edited" in df:
        df["edited"] = df["edited"].eq(True)
    for column in {"time.conditions.reasons", "tables"} & {*df.columns}:
        df[column] = [("; ".join(r) or None) if isinstance(r, list) else None for r in df[column]]
    lists = ("time.raw.", "training.validation.")  # these stay in records.jsonl
    df = df.drop(columns=[c for c in df.columns if c.startswith(lists)])
    df = df.reindex(columns=[*df.columns, *(c for c in COLUMNS if c not in df.columns)])
    # A null where other records have an object leaves a column named like the object.
    df = df.drop(columns=[c for c in df.columns if any(o.startswith(f"{c}.") for o in df.columns)])
    for column in df.columns:
        if is_number(column):
            try:
                df[column] = pd.to_numeric(df[column], errors="coerce")
            except OverflowError:  # an integer beyond any float, of a card
                df[column] = float("nan")
    return df
