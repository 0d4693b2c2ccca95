"""What a report tells of trained samplers: the cost of training."""

import pandas as pd

from bench.presentation.text import markdown, measured, num
from bench.reports.sections import Section


def trained(section: Section) -> pd.DataFrame:
    """One row a student: a sampler may have one for each number of steps."""
    rows = section.rows[section.rows["student.name"].notna()]
    return rows.drop_duplicates(["label", "student.sha256"]).sort_values(["label", "steps"], kind="stable")


def students_table(section: Section) -> str:
    """What making each student took, from its card; empty without students."""
    rows = trained(section)
    if rows.empty:
        return ""
    columns = {
        "training.seconds": ("its training, minutes", lambda v: measured(v / 60)),
        "training.cost.seconds": ("in all, minutes", lambda v: measured(v / 60)),
        "training.images": ("images seen", num),
        "training.cost.student_forwards": ("student forwards, in all", num),
        "training.cost.teacher_forwards": ("teacher forwards, in all", num),
    }
    cells = [
        [r["label"], r["student.name"], str(r["student.sha256"])[:12], str(r.get("training.device", ""))]
        + [text(r[c]) if c in rows and pd.notna(r[c]) else "" for c, (_, text) in columns.items()]
        for _, r in rows.iterrows()
    ]
    header = ["sampler", "student", "SHA-256", "trained on", *(name for name, _ in columns.values())]
    return markdown(header, cells, right=range(4, len(header)))


STUDENTS_TEXT = (
    "By their cards. *In all* counts what came before too: the students higher up a ladder, the data where its maker took the "
    "time; blank where the card does not tell."
)
