"""Rows by name, and why ties do not follow the order of the values."""

import pandas as pd

from bench.presentation.text import num
from bench.reports.ranking import Winner


def listed(rows: pd.DataFrame, most: int = 8) -> str:
    """Rows by name and number of calls, in the order of their quality; the rest only counted."""
    best = rows[["label", "counted.calls", "place"]].nsmallest(most, "place")
    names = [f"{label} ({num(calls)})" for label, calls in zip(best["label"], best["counted.calls"], strict=True)]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def intransitive(rows: pd.DataFrame, best: Winner) -> str:
    """Why rows of a selection are not tied with its best although one farther off is; empty where there are none."""
    if not best.nearer:
        return ""
    paired = best.differences["paired"][best.nearer].all()
    return (
        f"Nearer to {best.row['label']} ({num(best.row['counted.calls'])}) than some of its ties and yet not tied: "
        f"{listed(rows.loc[best.nearer], 3)}; {'paired image by image, ' if paired else ''}that difference varies less."
    )
