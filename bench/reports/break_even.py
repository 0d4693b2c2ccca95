"""After how many images a student has paid for its training, against the fastest solver that is as good."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bench.presentation.document import Cell, Table, cell, emphasis, woven
from bench.presentation.text import interval, measured, num, plural
from bench.records.columns import title_of
from bench.records.differences import difference
from bench.reports.sections import Section, batch_sizes, machines
from bench.reports.tables import disturbed

CLOCKS: tuple[tuple[str, Callable[[pd.DataFrame], pd.Series]], ...] = (
    ("batch 1", lambda rows: rows["time.latency_ms.median"] / 1000),
    ("batch {}", lambda rows: 1 / rows["time.images_per_s.median"]),
)
"""Seconds per image, one after the other and in batches."""


def total_seconds(row: pd.Series) -> float:
    """Seconds that making a student took: with its data and its ladder where the card tells, else of its training alone."""
    whole = row.get("training.cost.seconds")
    return float(whole if pd.notna(whole) else row.get("training.seconds", float("nan")))


def break_even(training: float, solver: float, student: float) -> float:
    """n* = training seconds / (seconds per image of the solver - of the student); infinite where the student is not faster."""
    return float("inf") if solver <= student else training / (solver - student)


def equals(student: pd.Series, solvers: pd.DataFrame) -> pd.DataFrame:
    """The solvers that are as good as the student: better, or statistically tied with it."""
    kept = [index for index, row in solvers.iterrows() if row["cost"] <= student["cost"] or difference(student, row).tie]
    return solvers.loc[kept]


def break_even_table(section: Section) -> Table | None:
    """A row for each student and number of calls; None without students, or where rows were timed on several machines."""
    rows = section.scored[section.scored["time.latency_ms.median"].notna() & ~disturbed(section.scored)]
    trained = rows[rows["student.name"].notna()] if "training.seconds" in rows else rows.iloc[:0]
    solvers = rows[rows["student.name"].isna()]
    if trained.empty or len(machines(rows)) > 1:
        return None
    columns = [title_of("sampler"), title_of("counted.calls"), section.distance, "training, minutes"]
    for name, _ in CLOCKS:
        columns += [f"as good, {name.format(batch_sizes(rows))}", "ms an image: it, student", "pays off after, images"]
    lines = []
    for _, student in trained.sort_values(["label", "counted.calls"], kind="stable").iterrows():
        seconds = total_seconds(student)
        line = [
            cell(student["label"]),
            cell(student["counted.calls"], num),
            Cell(interval(student["fd"], student["fd_low"], student["fd_high"]), student["fd"]),
            Cell(measured(seconds / 60), seconds / 60),
        ]
        good = equals(student, solvers)
        for _, of in CLOCKS:
            own = float(of(student.to_frame().T.infer_objects()).iloc[0])
            times = of(good)
            if times.isna().all():
                line += [Cell("no solver"), Cell(f"–, {measured(1000 * own)}"), Cell("–")]
                continue
            best, least = good.iloc[int(np.nanargmin(times))], float(times.min())
            images = break_even(seconds, least, own)
            line += [
                Cell(f"{best['label']} ({plural(best['counted.calls'], 'call')})", best["label"]),
                Cell(f"{measured(1000 * least)}, {measured(1000 * own)}", (1000 * least, 1000 * own)),
                Cell("never" if images == float("inf") else f"{images:,.0f}" if pd.notna(images) else "not known", images),
            ]
        lines.append(line)
    return Table(columns, lines, (1, 2, 3, 5, 6, 8, 9))


BREAK_EVEN_TEXT = woven(
    "{}: the fastest solver without training whose Frechet distance is smaller than the student's or statistically tied with "
    "it. A student has paid for its training after n* = training seconds / (seconds an image of that solver - of the student) "
    "images; {} where it is not faster. The training's seconds come from its card, data and the ladder above it included where "
    "the card tells, and were taken on the machine and the threads named there, so n* holds for that machine only; the seconds "
    "an image are this run's.",
    *(emphasis("As good"), emphasis("never")),
)
