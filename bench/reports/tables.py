"""Tables of a report for a reader, and all records as CSV for a program."""

from collections.abc import Hashable
from itertools import pairwise
from pathlib import Path

import pandas as pd

from bench.presentation.document import Cell, Mark, Paragraph, Table, cell
from bench.presentation.text import interval, measured, num, percent, plural
from bench.records.columns import COLUMNS, title_of
from bench.records.frame import MACHINE
from bench.records.ranking import FRECHET
from bench.reports.ranking import COMPARED, Winner, winner
from bench.reports.readable import SERIES, capped
from bench.reports.sections import Section, disturbed
from bench.reports.ties import intransitive

BANDS = (
    ("Up to 5 calls", 0.0, 5.0),
    ("6 to 10 calls", 5.0, 10.0),
    ("11 to 20 calls", 10.0, 20.0),
    ("More than 20 calls", 20.0, 1e9),
)
BUDGETS = (1, 2, 4, 5, 10, 20, 50)
"""Columns of the summary, in network calls."""
_VARYING = ("student.name", "batch_size", "precision", "mode", "seed", *MACHINE)
"""Columns that are shown only where they tell rows apart."""
_COUNTS = ("steps", "counted.calls", "counted.forwards", "counted.teacher_equivalents")
_ERROR, _AGREEMENT = "quality.trajectory_error.value", "quality.label_agreement.value"
_LATENCY, _RATE, _OVERHEAD = "time.latency_ms.median", "time.images_per_s.median", "time.overhead_fraction"
_REASONS = "time.conditions.reasons"
_SUMMED = [*COMPARED, "label", "counted.calls", "cost"]
"""Columns that the summary takes."""


def banded(section: Section) -> dict[str, pd.DataFrame]:
    """Rows of a section by their number of calls; a title whose band is empty is left out."""
    bands = {title: section.rows[_within(section.rows, low, high)] for title, low, high in BANDS}
    bands["Calls not counted"] = section.rows[section.rows["counted.calls"].isna()]
    return {title: rows for title, rows in bands.items() if len(rows)}


def main_tables(section: Section) -> list[Table]:
    """The rows of a section, a table for each band of calls with its best row and the statistical ties with it."""
    extra = [c for c in _VARYING if c in section.rows and section.rows[c].nunique(dropna=False) > 1]
    setting = [c for c in ("last_step", "end") if c in section.rows and section.rows[c].notna().any()]
    texts, counts = ("sampler", *extra, "grid", *setting[:-1]), (*setting[-1:], *_COUNTS)
    columns = [*map(title_of, (*texts, *counts)), section.distance]
    columns += map(title_of, (_ERROR, _AGREEMENT, _LATENCY, _RATE, _OVERHEAD))
    right, marked = range(len(texts), len(columns)), bool(disturbed(section.rows).any())
    columns += [title_of(_REASONS)] if marked else []
    tables = []
    for caption, rows in banded(section).items():
        rows = rows.sort_values(["cost", "counted.calls", "label", "cell"], kind="stable")
        best, invalid = winner(rows), set(rows.index[disturbed(rows)])
        rows, left = capped(rows)
        lines = [
            [
                *(cell(row[c]) for c in texts),
                *(cell(row[c], num) for c in counts),
                Cell(interval(row["fd"], row["fd_low"], row["fd_high"]), row["fd"], mark(best, index)),
                cell(row[_ERROR], measured),
                cell(row[_AGREEMENT], percent),
                _latency(row),
                cell(row[_RATE], measured),
                cell(row[_OVERHEAD], percent),
                *([cell(row[_REASONS] if index in invalid else None)] if marked else []),
            ]
            for index, row in rows.iterrows()
        ]
        tables.append(Table(columns, lines, right, caption + left))
    return tables


def mark(best: Winner | None, index: Hashable) -> Mark:
    """What the row with this index is beside the best of its selection; nothing where none was tested against another."""
    if best is None or not best.tested:
        return ""
    return "best" if index == best.row.name else "tie" if index in best.tied else ""


def _latency(row: pd.Series) -> Cell:
    """Median with the 10th to the 90th percentile."""
    median, low, high = (row[f"time.latency_ms.{s}"] for s in ("median", "p10", "p90"))
    spread = f" [{measured(low)}–{measured(high)}]" if pd.notna(median) and pd.notna(low) else ""
    return Cell(measured(median) + spread, median)


def summary_table(section: Section) -> Table:
    """The quality by sampler and budget of calls, rows in the order of their sum of ranks.

    A column is a band of budgets, by the most calls measured in it; each cell is the sampler's run with the most calls there,
    in brackets where they are fewer. Best and ties are those of a column.
    """
    columns: dict[int, dict[str, Cell]] = {}
    ranks: dict[str, list[float]] = {}
    for high, rows in latest(section.scored[_SUMMED]).items():
        best, columns[high] = winner(rows), {}
        marks = [mark(best, index) for index in rows.index]
        for label, calls, fd, own in zip(rows["label"], rows["counted.calls"], rows["fd"], marks, strict=True):
            fewer = f"({num(calls)})" if calls < high else ""
            columns[high][label] = Cell(measured(fd), fd, own, fewer)
        for label, rank in zip(rows["label"], rows["cost"].rank(pct=True), strict=True):
            ranks.setdefault(label, []).append(rank)
    order = sorted(ranks, key=lambda label: (sum(ranks[label]) / len(ranks[label]), label))[:SERIES]
    lines = [[cell(label), *(found.get(label, Cell("")) for found in columns.values())] for label in order]
    return Table([title_of("sampler"), *(plural(high, "call") for high in columns)], lines, range(1, len(columns) + 1))


def summary_notes(section: Section) -> list[Paragraph]:
    """How many samplers have no row in the summary; which of its ties do not follow the order of its values, and why."""
    bands = latest(section.scored[_SUMMED]).values()
    found = [intransitive(rows, best) for rows in bands if (best := winner(rows))]
    left = len(set().union(*(rows["label"] for rows in bands))) - SERIES
    found += [f"{left} more have a larger sum of ranks; results.csv has them."] if left > 0 else []
    return [Paragraph(text) for text in found if text]


def latest(rows: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Most calls measured in a band of budgets -> of each label the row with the most calls in it; no band without rows."""
    bands = [own for low, high in pairwise((0, *BUDGETS)) if len(own := rows[_within(rows, low, high)])]
    return {int(own["counted.calls"].max()): own.sort_values("counted.calls").groupby("label").tail(1) for own in bands}


def _within(rows: pd.DataFrame, low: float, high: float) -> pd.Series:
    return (rows["counted.calls"] > low) & (rows["counted.calls"] <= high)


def blanks(section: Section) -> list[str]:
    """Why cells of the main table are blank, one sentence a column."""
    rows, found, unknown = section.rows, [], "not measured in this run"

    def who(some: pd.DataFrame) -> str:
        names = sorted(set(some["sampler"]))
        return f"{len(some)} of {len(rows)} rows: {', '.join(names) if len(names) <= 6 else f'{len(names)} samplers'}"

    def tell(name: str, missing: pd.DataFrame, why: str) -> None:
        if len(missing):
            found.append(f"{name[0].upper()}{name[1:]} ({who(missing)}): {why}.")

    error, agreement = rows[rows[_ERROR].isna()], rows[rows[_AGREEMENT].isna()]
    noisy = error[error["deterministic"].eq(False)]
    tell(title_of(_ERROR), noisy, "the sampler draws noise on the way, so no ODE solution belongs to its images")
    tell(title_of(_ERROR), error.drop(noisy.index), unknown)
    unlabelled = (agreement["labels"] == "none").all()
    tell(title_of(_AGREEMENT), agreement, "images were made without labels" if unlabelled else unknown)
    tell(section.quality, rows[rows["fd"].isna()], unknown)
    tell(title_of("grid"), rows[rows["grid"].isna()], "the sampler has no time grid")
    for column in (*_COUNTS, _LATENCY, _RATE, _OVERHEAD):
        tell(title_of(column), rows[rows[column].isna()], unknown)
    few = "it takes at least ten images a feature of the extractor" if section.ranking == FRECHET else "the metric gave none"
    tell(f"interval of the {section.quality}", rows[rows["fd"].notna() & rows["fd_low"].isna()], few)
    return found


def failed_table(df: pd.DataFrame) -> Table:
    """Cells that failed or were skipped, with their reason."""
    rows = df[df["status"] != "ok"].sort_values(["sampler", "steps", "cell", "run_id"], kind="stable")
    columns = ["sampler", "steps", "cell", "run_id", "status", "error"]
    rows = rows.fillna({"error": "no reason was recorded"})
    return Table([*map(title_of, columns)], [[cell(v) for v in row] for row in rows[columns].itertuples(index=False)], [1])


def write_csv(df: pd.DataFrame, path: Path) -> None:
    """All records as CSV, as `all_columns` has them."""
    all_columns(df).to_csv(path, index=False, lineterminator="\n")


def all_columns(df: pd.DataFrame) -> pd.DataFrame:
    """All records, one row each: the columns of COLUMNS, then the metrics, the environment and the rest by name."""
    left = {"run", "schema", "training.curve", "path.sigmas", "time.sweep"}  # the last three are lists
    later = sorted(set(df.columns) - set(COLUMNS) - left, key=lambda c: (not c.startswith("quality."), c))
    rows = df.sort_values(["sampler", "steps", "cell", "run_id", "seed", "device"], kind="stable")
    rows = rows.assign(run=[Path(r).name for r in rows["run"]])
    return rows[["run", *COLUMNS, *later]]
