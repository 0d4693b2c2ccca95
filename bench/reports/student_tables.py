"""What a report tells of trained samplers: the cost of training."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from bench.presentation.document import Table, cell, emphasis, woven
from bench.presentation.text import measured, num, one_line
from bench.records.columns import title_of
from bench.reports.sections import Section


def trained(section: Section) -> pd.DataFrame:
    """One row a student: a sampler may have one for each number of steps."""
    rows = section.rows[section.rows["student.name"].notna()]
    return rows.drop_duplicates(["label", "student.sha256"]).sort_values(["label", "steps"], kind="stable")


def students_table(section: Section) -> Table | None:
    """What making each student took, from its card; None without students."""
    rows = trained(section)
    if rows.empty:
        return None
    columns: dict[str, Callable[[Any], str]] = {
        "student.name": one_line,
        "student.sha256": lambda v: one_line(v)[:12],
        "training.device": one_line,
        "training.seconds": lambda v: measured(v / 60),
        "training.cost.seconds": lambda v: measured(v / 60),
        "training.images": num,
        "training.cost.student_forwards": num,
        "training.cost.teacher_forwards": num,
    }
    lines = [
        [cell(r["label"]), *(cell(r.get(c, float("nan")), form) for c, form in columns.items())] for _, r in rows.iterrows()
    ]
    return Table([*map(title_of, ("sampler", *columns))], lines, range(4, 9))


STUDENTS_TEXT = woven(
    "By their cards. {} counts what came before too: the students higher up a ladder, the data where its maker took the time; "
    "blank where the card does not tell.",
    emphasis("In all"),
)
