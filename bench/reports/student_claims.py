"""Whether students beat solvers: each against the best solver of its cost or less, cost by cost."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench.presentation.document import Cell, Table, cell
from bench.presentation.text import interval, measured, num, plural
from bench.records.columns import axis_of, title_of
from bench.records.differences import difference
from bench.reports.ranking import first
from bench.reports.sections import Section, batch_sizes, disturbed, one_machine

COUNTS = ("counted.calls", "counted.teacher_equivalents")
TIMES = ("time.latency_ms", "image_ms")
Verdict = Literal["better than", "tied with", "worse than", "not tested against", "no solver"]


@dataclass(frozen=True)
class Claim:
    """How a student stands to the best solver that costs no more; there may be no such `solver`."""

    verdict: Verdict
    solver: pd.Series | None = None


def with_image_ms(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their milliseconds an image in batches, and the ends of its interval, beside those of the latency."""
    added = {f"image_ms.{end}": 1000 / rows[f"time.images_per_s.{end}"] for end in ("median", "ci_low", "ci_high")}
    # The slowest rate is the longest time: its ends change places.
    return rows.assign(
        **{"image_ms.median": added["image_ms.median"]},
        **{"image_ms.ci_low": added["image_ms.ci_high"], "image_ms.ci_high": added["image_ms.ci_low"]},
    )


def students(rows: pd.DataFrame, seen: Section) -> pd.DataFrame:
    """The trained ones among rows that `seen` has, too."""
    return rows[rows["student.name"].notna() & rows.index.isin(seen.rows.index)]


def claim(student: pd.Series, solvers: pd.DataFrame, cost: str) -> Claim | None:
    """What can be said of a student beside solvers of its cost or less; None where its own cost is not known.

    A solver costs more in time where their intervals do not meet; one without an interval does not count.

    Args:
        student: a scored row.
        solvers: scored rows, of `with_image_ms` as the student.
        cost: one of COUNTS or TIMES.
    """
    low, high = (cost, cost) if cost in COUNTS else (f"{cost}.ci_low", f"{cost}.ci_high")
    within = solvers[low] <= student[high]
    if cost in TIMES:
        within &= ~disturbed(solvers)
        if student["time.conditions.valid"] in (False,):  # None and NaN: not known
            return None
    if pd.isna(student[high]):
        return None
    best = first(solvers, within)
    if best is None:
        return Claim("no solver")
    found = difference(student, best)
    if not found.known:
        return Claim("not tested against", best)
    if found.tie:
        return Claim("tied with", best)
    return Claim("better than" if student["cost"] < best["cost"] else "worse than", best)


def claims_table(section: Section, seen: Section) -> Table | None:
    """A row a student and number of calls, a column a cost; None without students or without solvers.

    Times are left out where rows were timed on several machines.

    Args:
        section: whose solvers the students are held against.
        seen: whose students, of the rows of that section.
    """
    rows = with_image_ms(section.scored)
    trained, solvers = students(rows, seen), rows[rows["student.name"].isna()]
    if trained.empty or solvers.empty:
        return None
    costs = (*COUNTS, *TIMES) if one_machine(rows) else COUNTS
    titles = {c: title_of(c) for c in COUNTS} | {
        "time.latency_ms": axis_of("time.latency_ms.median"),
        "image_ms": f"ms per image at batch {batch_sizes(rows)}",
    }
    lines = [
        [
            cell(student["label"]),
            cell(student["counted.calls"], num),
            Cell(interval(student["fd"], student["fd_low"], student["fd_high"]), student["fd"]),
            *(_cell(claim(student, solvers, cost)) for cost in costs),
        ]
        for _, student in trained.sort_values(["label", "counted.calls"], kind="stable").iterrows()
    ]
    columns = [title_of("sampler"), title_of("counted.calls"), section.distance, *(f"by {titles[c]}" for c in costs)]
    return Table(columns, lines, (1, 2))


def _cell(found: Claim | None) -> Cell:
    if found is None:
        return Cell("not valid, or no interval")
    if found.solver is None:
        return Cell("no solver of its cost", found.verdict)
    r = found.solver
    return Cell(f"{found.verdict} {r['label']} ({plural(r['counted.calls'], 'call')}, {measured(r['fd'])})", found.verdict)


CLAIMS_TEXT = (
    "Each student against the best of the solvers without training that cost no more, which is named with its calls and its "
    "quality. Better and worse are beyond chance (95 %, each comparison by itself, paired image by image where that is "
    "possible); where no solver cost as little, nothing is claimed. In time a solver costs more where the two intervals do not "
    "meet, and times that are not valid are left out."
)
