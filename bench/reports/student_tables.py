"""What a report tells of trained samplers: the cost of training."""

from collections.abc import Callable

import pandas as pd

from bench.presentation.document import Cell, Table, cell, emphasis, woven
from bench.presentation.text import measured, num, one_line
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
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "training.seconds": ("its training, minutes", lambda v: measured(v / 60)),
        "training.cost.seconds": ("in all, minutes", lambda v: measured(v / 60)),
        "training.images": ("images seen", num),
        "training.cost.student_forwards": ("student forwards, in all", num),
        "training.cost.teacher_forwards": ("teacher forwards, in all", num),
    }
    lines = [
        [
            cell(r["label"]),
            cell(r["student.name"]),
            Cell(one_line(r["student.sha256"])[:12], r["student.sha256"]),
            cell(r.get("training.device")),
            *(cell(r.get(c, float("nan")), text) for c, (_, text) in columns.items()),
        ]
        for _, r in rows.iterrows()
    ]
    header = ["sampler", "student", "SHA-256", "trained on", *(name for name, _ in columns.values())]
    return Table(header, lines, range(4, len(header)))


STUDENTS_TEXT = woven(
    "By their cards. {} counts what came before too: the students higher up a ladder, the data where its maker took the time; "
    "blank where the card does not tell.",
    emphasis("In all"),
)
