"""Whether the rows of a section were made under equal conditions: what is the same for all, and what differs."""

from functools import lru_cache

import pandas as pd

from bench.presentation.document import Cell, Inline, Table, cell
from bench.presentation.text import num, one_line
from bench.reports.sections import Section

CONVERGED = "quality.trajectory_error.reference"
"""What noisy samplers have none of, which is no difference."""
TOLD = ("teacher.sha256", "end", "last_step", "time.conditions.valid")
"""Columns that are told of, too, where no record has them."""
SHARED = {
    "teacher.name": "teacher", "teacher.sha256": "teacher's weights", "seed": "noises (seed)", "images": "images a cell",
    "labels": "labels", "grid": "time grid", "end": "last noise level", "last_step": "last step", "precision": "precision",
    "mode": "mode", "batch_size": "batch size", "device": "device", "environment.cpu": "CPU", "environment.gpu.name": "GPU",
    "environment.threads": "threads", "environment.packages.torch": "torch", "environment.commit": "commit",
    "time.clock": "clock", "time.conditions.valid": "times valid", CONVERGED: "converged solution",
}  # fmt: skip
"""Columns of records that comparisons take to be equal, and what they are called."""
MOST = 4  # values that are told, and samplers of each
FAIRNESS_TEXT: Inline = (
    "What differs is marked; samplers in brackets. A difference is no fault (each solver may have the grid of its paper, and a "
    "student has none), but what it changes is part of what is compared. Images of all samplers are rounded to 8 bits and "
    "scored by the same lines of code."
)


def fairness_table(section: Section) -> Table:
    """A row for each condition that is known: its value where all rows share it, else each value with its samplers."""
    lines = []
    keys = {f"quality.{section.metric}.{k}_sha256": k for k in ("extractor", "reference")} if section.metric else {}
    for column, name in {**SHARED, **keys}.items():
        rows = section.rows.reindex(columns=["sampler", column])
        rows = rows[rows[column].notna()] if column == CONVERGED or rows[column].isna().all() else rows
        if rows.empty:
            lines += [[cell(name), cell("not known"), cell("these records do not tell")]] if column in TOLD else []
            continue
        values = rows[column].astype(object).where(rows[column].notna(), None).map(_text)
        found = rows["sampler"].groupby(values, sort=False).unique()
        if len(found) == 1:
            lines.append([cell(name), cell("same"), cell(found.index[0])])
        else:
            lines.append(
                [cell(name), Cell("differs", "differs", "heed"), cell("; ".join(_who(v, s) for v, s in found.items()))]
            )
    return Table(["condition", "for all rows", "value"], lines)


@lru_cache(maxsize=1024, typed=True)
def _text(value: object) -> str:
    """A value for a reader: hashes cut short, "none" for what is missing."""
    if value is None:
        return "none"
    text = num(value) if isinstance(value, int | float) and not isinstance(value, bool) else one_line(value)
    return text[:12] if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else text


def _who(value: object, samplers: "pd.Series[str]") -> str:
    names = sorted(samplers)
    return f"{value} ({', '.join(names[:MOST])}{f' and {len(names) - MOST} more' if len(names) > MOST else ''})"
