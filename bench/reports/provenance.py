"""What a report tells of its records' origin: plan, machine, versions, and how scores were made."""

from collections.abc import Sequence

import pandas as pd

from bench.presentation.document import Cell, Table, cell
from bench.presentation.text import num, one_line
from bench.records.columns import title_of
from bench.reports.sections import Section

MADE = ("resize", "rounding", "dimensions", "reference_name", "reference_n")
"""Of a score, besides its hashes: how its images came to the features, and what they are compared with."""


def edited(df: pd.DataFrame, most: int = 4) -> str:
    """Which records are not as they were written; empty where none is known to be."""
    rows = df[df["edited"]] if "edited" in df else df[:0]
    if rows.empty:
        return ""
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return (
        f"{len(rows)} of {len(df)} records were edited by hand: the hash in their line is not that of what they hold "
        f"({', '.join(rows['cell'].head(most))}{more}). What is said here of them was not measured so."
    )


def values(df: pd.DataFrame, column: str) -> str:
    """The different values of a column, as text."""
    values = df[column].dropna()
    if values.nunique() > 4 and pd.api.types.is_numeric_dtype(values):
        return f"{num(values.min())} to {num(values.max())}"
    return ", ".join(sorted({one_line(v) for v in values.astype(object).unique()}))


def what_was_run(df: pd.DataFrame, groups: Sequence[Section]) -> Table:
    """Plan, machine and versions as a table of two columns."""
    text = df.assign(**{"teacher.sha256": df["teacher.sha256"].str[:12]})
    columns = (
        "teacher.name", "teacher.sha256", "images", "seed", "labels", "batch_size", "device", "precision", "mode",
        "time.clock", "quality.trajectory_error.reference", "run_id",
    )  # fmt: skip
    names = {"teacher.sha256": f"{title_of('teacher.name')}'s {title_of('teacher.sha256')}", "run_id": f"{title_of('run_id')}s"}
    rows = [[names.get(column, title_of(column)), values(text, column)] for column in columns]
    for section in groups:
        if section.metric:
            first, key = section.rows.iloc[0], f"quality.{section.metric}"
            shas = [f"{what} {str(first.get(f'{key}.{what}_sha256', ''))[:12]}" for what in ("extractor", "reference")]
            told = [f"{title_of(c)}: {values(section.rows, c)}" for f in MADE if (c := f"{key}.{f}") in section.rows]
            rows.append([f"{section.metric} ({section.key()})", "; ".join([f"SHA-256: {', '.join(shas)}", *told])])
    environment = sorted(c for c in df.columns if c.startswith("environment."))
    rows += [[c.removeprefix("environment.").removeprefix("packages."), values(df, c)] for c in environment]
    return Table(["what", "value"], [[cell(name), Cell(value, value)] for name, value in rows if value])
