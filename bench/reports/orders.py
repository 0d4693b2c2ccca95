"""The order at which a solver's trajectory error falls, observed between its largest numbers of calls."""

import math

import pandas as pd

from bench.presentation.document import Cell, Table, cell
from bench.presentation.text import measured, num
from bench.records.columns import title_of
from bench.reports.sections import Section

ERROR = "quality.trajectory_error"
ABOVE = 3.0
"""Times the reference's own error that an error must have to tell an order."""
ORDERS_TEXT = (
    "The slope of the error between the two largest numbers of calls at which it is at least three times the reference's own "
    "error, on logarithmic axes, with the range that the errors' intervals allow. It reaches the order of a method only where "
    "the steps are small enough and the teacher's ODE is smooth."
)


def orders_table(section: Section) -> Table | None:
    """A row for each deterministic sampler with two such errors; None where none has."""
    rows = section.rows[section.rows["deterministic"].eq(True) & section.rows[f"{ERROR}.value"].notna()]
    rows = rows[rows["student.name"].isna() & (rows[f"{ERROR}.value"] > ABOVE * rows[f"{ERROR}.reference_error"])]
    lines = []
    for label, own in rows.drop_duplicates(["label", "counted.calls"]).groupby("label", sort=True):
        if len(own) < 2:
            continue
        a, b = (row for _, row in own.sort_values("counted.calls").tail(2).iterrows())
        values = [_slope(a, b, *ends) for ends in (("value", "value"), ("ci_low", "ci_high"), ("ci_high", "ci_low"))]
        between = f"{num(a['counted.calls'])} to {num(b['counted.calls'])}"
        observed = f"{values[0]:.2f}" + (f" [{values[1]:.2f}, {values[2]:.2f}]" if not math.isnan(sum(values)) else "")
        told = (Cell(observed, values[0]), Cell(between, b["counted.calls"]), cell(b[f"{ERROR}.value"], measured))
        lines.append([cell(label), cell(a["order"], num), *told])
    columns = ["sampler", "order", "observed order", "between calls", title_of(f"{ERROR}.value")]
    return Table(columns, lines, range(1, len(columns))) if lines else None


def _slope(a: pd.Series, b: pd.Series, of_a: str, of_b: str) -> float:
    first, second = float(a[f"{ERROR}.{of_a}"]), float(b[f"{ERROR}.{of_b}"])
    if not (first > 0 and second > 0):
        return math.nan
    return math.log(first / second) / math.log(b["counted.calls"] / a["counted.calls"])
