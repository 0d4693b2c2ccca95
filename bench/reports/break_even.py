"""After how many images a student has paid for its training, against the fastest solver that is as good."""

import numpy as np
import pandas as pd

from bench.presentation.document import Cell, Table, cell, emphasis, woven
from bench.presentation.text import interval, measured, num, plural
from bench.records.columns import title_of
from bench.records.differences import differences
from bench.reports.sections import Section, batch_sizes, disturbed, one_machine
from bench.reports.student_claims import TIMES, students, with_image_ms

CLOCKS = dict(zip(TIMES, ("batch 1", "batch {}"), strict=True))
"""Milliseconds an image, one after the other and in batches."""


def total_seconds(row: pd.Series) -> float:
    """Seconds that making a student took: with its data and its ladder where the card tells, else of its training alone."""
    whole = row.get("training.cost.seconds")
    return float(whole if pd.notna(whole) else row.get("training.seconds", float("nan")))


def total_flops(row: pd.Series) -> float:
    """FLOPs that making a student took, as its card tells; where that needed the teacher's forwards alone, by their number."""

    def told(key: str) -> float:
        return float(pd.to_numeric(row.get(key, np.nan)))

    if pd.notna(whole := told("training.cost.tflop")):
        return whole * 1e12
    forwards = told("counted.teacher_equivalents")
    if told("training.cost.student_forwards") != 0 or not forwards > 0:
        return float("nan")
    return told("training.cost.teacher_forwards") * told("counted.flops_per_image") / forwards


def trained_elsewhere(row: pd.Series) -> bool:
    """Whether a training's seconds are of another device than the run's, as far as both are told."""
    on, here = row.get("training.device"), [row.get(f"environment.{d}") for d in ("cpu", "gpu")]
    known = {str(d).casefold() for d in here if pd.notna(d)}
    return pd.notna(on) and bool(known) and str(on).partition(",")[0].casefold() not in {*known, str(row["device"]).casefold()}


def break_even(training: float, solver: float, student: float) -> float:
    """n* = training / (an image of the solver - of the student), in seconds or FLOPs; infinite where it is no cheaper."""
    return float("inf") if solver <= student else training / (solver - student)


def equals(student: pd.Series, solvers: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The solvers that are as good as the student, by a test: better, or tied with it; and whether all could be tested."""
    found = differences(student, solvers)
    return solvers[found["known"] & (found["tie"] | (solvers["cost"] <= student["cost"]))], bool(found["known"].all())


def break_even_table(section: Section, seen: Section) -> Table | None:
    """A row for each student and number of calls; None without students, or where rows were timed on several machines.

    Args:
        section: whose solvers the students are held against.
        seen: whose students, of the rows of that section.
    """
    rows = with_image_ms(section.scored[section.scored["time.latency_ms.median"].notna() & ~disturbed(section.scored)])
    trained = students(rows, seen) if "training.seconds" in rows else rows.iloc[:0]
    solvers = rows[rows["student.name"].isna()]
    if trained.empty or not one_machine(rows):
        return None
    columns = [title_of("sampler"), title_of("counted.calls"), section.distance, "training, minutes"]
    for name in CLOCKS.values():
        columns += [f"as good, {name.format(batch_sizes(rows))}", "ms an image: it, student", "pays off after, images"]
    columns += ["as good, work", "pays off after, images"]
    lines = []
    for _, student in trained.sort_values(["label", "counted.calls"], kind="stable").iterrows():
        seconds, (good, tested) = total_seconds(student), equals(student, solvers)
        elsewhere = trained_elsewhere(student)
        line = [
            cell(student["label"]),
            cell(student["counted.calls"], num),
            Cell(interval(student["fd"], student["fd_low"], student["fd_high"]), student["fd"]),
            Cell(measured(seconds / 60) + elsewhere * f" ({student['training.device']})", seconds / 60),
        ]
        for clock in CLOCKS:
            own, times = student[f"{clock}.median"], good[f"{clock}.median"]
            if times.isna().all():
                line += [Cell("no solver" if tested else "not tested"), Cell(f"–, {measured(own)}"), Cell("–")]
                continue
            best = good.iloc[int(np.nanargmin(times))]
            least = best[f"{clock}.median"]
            line += [
                Cell(f"{best['label']} ({plural(best['counted.calls'], 'call')})", best["label"]),
                Cell(f"{measured(least)}, {measured(own)}", (least, own)),
                Cell("trained elsewhere")
                if elsewhere
                else _images(break_even(seconds, least / 1000, own / 1000), _told(best, student, clock)),
            ]
        line += _by_work(student, good, tested)
        lines.append(line)
    return Table(columns, lines, (1, 2, 3, 5, 6, 8, 9, 11))


def _by_work(student: pd.Series, good: pd.DataFrame, tested: bool) -> list[Cell]:
    """The solver as good of least work, and n* in FLOPs."""
    work = good["counted.flops_per_image"].astype(float)
    if work.isna().all():
        return [Cell("no solver" if tested else "not tested"), Cell("–")]
    best = good.iloc[int(np.nanargmin(work))]
    own = float(pd.to_numeric(student["counted.flops_per_image"]))
    n = float("nan") if np.isnan(own) else break_even(total_flops(student), work.min(), own)
    return [Cell(f"{best['label']} ({plural(best['counted.calls'], 'call')})", best["label"]), _images(n, True)]


def _told(a: pd.Series, b: pd.Series, clock: str) -> bool:
    """Whether the intervals of two rows' times do not meet; they do where one has none."""
    return bool(a[f"{clock}.ci_high"] < b[f"{clock}.ci_low"] or b[f"{clock}.ci_high"] < a[f"{clock}.ci_low"])


def _images(images: float, told: bool) -> Cell:
    if not told or pd.isna(images):
        return Cell("not known", float("nan"))
    return Cell("never" if images == float("inf") else f"{images:,.0f}", images)


BREAK_EVEN_TEXT = woven(
    "{}: the fastest solver without training whose Frechet distance is smaller than the student's or statistically tied with "
    "it (95 %), of those with valid times. A student has paid for its training after n* = training seconds / (seconds an image "
    "of that solver - of the student) images; {} where it is not faster, and not known where the intervals of the two times "
    "meet or are missing. The training's seconds come from its card, data and the ladder above it included where "
    "the card tells; trained elsewhere, they are of another device, which is named, and cannot be set off against this run's "
    "seconds an image. In work the same is told in FLOPs, of training and of an image, which no device changes. What the "
    "search for its settings took is counted in neither: a card's `search` tells of it.",
    *(emphasis("As good"), emphasis("never")),
)
