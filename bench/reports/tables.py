"""Tables of a report: Markdown for a reader, CSV for a program."""

from itertools import pairwise
from pathlib import Path

import pandas as pd

from bench.presentation.text import interval, markdown, measured, num, percent, plain, plural
from bench.records.frame import COLUMNS
from bench.reports.ranking import winner
from bench.reports.sections import Section

BANDS = (
    ("Up to 5 calls", 0.0, 5.0),
    ("6 to 10 calls", 5.0, 10.0),
    ("11 to 20 calls", 10.0, 20.0),
    ("More than 20 calls", 20.0, 1e9),
)
BUDGETS = (1, 2, 4, 5, 10, 20, 50)
"""Columns of the summary, in network calls."""
# Columns that are shown only where they tell rows apart.
_VARYING = {
    "student.name": "student", "batch_size": "batch", "precision": "precision", "mode": "mode", "seed": "seed",
    "device": "device", "environment.gpu.name": "GPU", "environment.cpu": "CPU", "environment.threads": "threads",
}  # fmt: skip


def banded(section: Section) -> dict[str, pd.DataFrame]:
    """Rows of a section by their number of calls; a title whose band is empty is left out."""
    calls = section.rows["counted.calls"]
    bands = {title: section.rows[(calls > low) & (calls <= high)] for title, low, high in BANDS}
    bands["Calls not counted"] = section.rows[calls.isna()]
    return {title: rows for title, rows in bands.items() if len(rows)}


def disturbed(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Rows whose times are marked invalid: something disturbed the machine while they were taken."""
    return rows["time.conditions.valid"].eq(False)


def main_table(section: Section) -> str:
    """Every row of a section in a table for each band of calls: best in bold, statistical ties with it underlined."""
    extra = [c for c in _VARYING if c in section.rows and section.rows[c].nunique(dropna=False) > 1]
    header = ["sampler", *(_VARYING[c] for c in extra), "grid", "steps", "calls", "forwards", "teacher-equivalents"]
    first_number = len(extra) + 2
    header += [f"Frechet distance ({section.metric or 'not measured'})", "trajectory error", "label agreement"]
    header += ["latency ms, batch 1", "images/s", "overhead"]
    numbers_end, marked = len(header), disturbed(section.rows).any()
    header += ["times not valid, because"] if marked else []
    parts = []
    for title, rows in banded(section).items():
        best, invalid = winner(rows), set(rows.index[disturbed(rows)])
        lines = []
        for index, row in rows.sort_values(["fd", "counted.calls", "label", "cell"], kind="stable").iterrows():
            fd = interval(row["fd"], row["fd_low"], row["fd_high"])
            if best is not None and index == best.row.name:
                fd = f"**{fd}**"
            elif best is not None and index in best.ties:
                fd = f"<u>{fd}</u>"
            latency = measured(row["time.latency_ms.median"])
            if latency and pd.notna(row["time.latency_ms.p10"]):
                latency += f" [{measured(row['time.latency_ms.p10'])}–{measured(row['time.latency_ms.p90'])}]"
            numbers = [num(row[c]) for c in ("steps", "counted.calls", "counted.forwards", "counted.teacher_equivalents")]
            text = [plain(row[c]) for c in ("sampler", *extra, "grid")]
            agreement, rate = percent(row["quality.label_agreement.value"]), measured(row["time.images_per_s.median"])
            error, overhead = measured(row["quality.trajectory_error.value"]), percent(row["time.overhead_fraction"])
            why = [plain(row["time.conditions.reasons"]) if index in invalid else ""] if marked else []
            lines.append([*text, *numbers, fd, error, agreement, latency, rate, overhead, *why])
        parts.append(f"**{title}**\n\n{markdown(header, lines, range(first_number, numbers_end))}")
    return "\n\n".join(parts)


def summary_table(section: Section) -> str:
    """Frechet distance by sampler and budget of calls, rows in the order of their sum of ranks.

    Each cell is the sampler's run with the most calls in the band that ends at the budget, its calls in brackets where they
    are fewer; the best of a column is bold, statistical ties with it are underlined.
    """
    columns: dict[int, dict[str, str]] = {}
    ranks: dict[str, list[float]] = {}
    for low, high in pairwise((0, *BUDGETS)):
        rows = section.scored[_within(section.scored, low, high)].sort_values("counted.calls").groupby("label").tail(1)
        best = winner(rows)
        if best is None:
            continue
        columns[high] = {}
        for index, row in rows.iterrows():
            text = measured(row["fd"])
            text = f"**{text}**" if index == best.row.name else f"<u>{text}</u>" if index in best.ties else text
            fewer = f" ({num(row['counted.calls'])})" if row["counted.calls"] < high else ""
            columns[high][row["label"]] = text + fewer
        for label, rank in zip(rows["label"], rows["fd"].rank(pct=True), strict=True):
            ranks.setdefault(label, []).append(rank)
    header = ["sampler", *(plural(high, "call") for high in columns)]
    order = sorted(ranks, key=lambda label: (sum(ranks[label]) / len(ranks[label]), label))
    return markdown(header, [[label, *(c.get(label, "") for c in columns.values())] for label in order], range(1, len(header)))


def _within(rows: pd.DataFrame, low: float, high: float) -> pd.Series:
    return (rows["counted.calls"] > low) & (rows["counted.calls"] <= high)


def blanks(section: Section) -> list[str]:
    """Why cells of the main table are blank, one sentence a column."""

    def who(rows: pd.DataFrame) -> str:
        names = sorted(set(rows["sampler"]))
        return f"{len(rows)} of {len(section.rows)} rows: {', '.join(names) if len(names) <= 6 else f'{len(names)} samplers'}"

    rows, found = section.rows, []
    error = rows[rows["quality.trajectory_error.value"].isna()]
    noisy = error[error["deterministic"].eq(False)]
    if len(noisy):
        found.append(
            f"Trajectory error ({who(noisy)}): the sampler draws noise on the way, so no ODE solution belongs to its images."
        )
    if len(noisy) < len(error):
        found.append(f"Trajectory error ({who(error.drop(noisy.index))}): not measured in this run.")
    agreement = rows[rows["quality.label_agreement.value"].isna()]
    if len(agreement):
        why = "images were made without labels" if (agreement["labels"] == "none").all() else "not measured in this run"
        found.append(f"Label agreement ({who(agreement)}): {why}.")
    for column, name in (
        ("fd", "Frechet distance"),
        ("grid", "Grid"),
        ("counted.calls", "Calls"),
        ("counted.teacher_equivalents", "Teacher-equivalents"),
        ("time.latency_ms.median", "Latency"),
        ("time.images_per_s.median", "Images/s"),
        ("time.overhead_fraction", "Overhead"),
    ):
        missing = rows[rows[column].isna()]
        if len(missing):
            why = "the sampler has no time grid" if column == "grid" else "not measured in this run"
            found.append(f"{name} ({who(missing)}): {why}.")
    unsure = rows[rows["fd"].notna() & rows["fd_low"].isna()]
    if len(unsure):
        found.append(f"Interval of the Frechet distance ({who(unsure)}): none was computed.")
    return found


def failed_table(df: pd.DataFrame) -> str:
    """Cells that failed or were skipped, with their reason."""
    rows = df[df["status"] != "ok"].sort_values(["sampler", "steps", "cell", "run_id"], kind="stable")
    columns = ["sampler", "steps", "cell", "run_id", "status"]
    lines = [[*(plain(r[c]) for c in columns), plain(r["error"]) or "no reason was recorded"] for _, r in rows.iterrows()]
    header = ["sampler", "steps", "cell", "run", "status", "reason"]
    return markdown(header, lines, [1])


def write_csv(df: pd.DataFrame, path: Path) -> None:
    """All records as CSV, one row each: the columns of COLUMNS, then the metrics, the environment and the rest by name."""
    left = {"run", "schema", "training.curve", "path.sigmas", "time.sweep"}  # the last three are lists
    later = sorted(set(df.columns) - set(COLUMNS) - left, key=lambda c: (not c.startswith("quality."), c))
    rows = df.sort_values(["sampler", "steps", "cell", "run_id", "seed", "device"], kind="stable")
    rows = rows.assign(run=[Path(r).name for r in rows["run"]])
    rows[["run", *COLUMNS, *later]].to_csv(path, index=False, lineterminator="\n")
