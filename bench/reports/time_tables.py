"""What else was timed, where it was asked for: throughput over batch sizes, cold start, energy; and what times suffer from."""

import pandas as pd

from bench.presentation.text import markdown, measured, num, plain
from bench.reports.sections import Section
from bench.reports.tables import disturbed

COLUMNS = {
    "time.cold_start_s.load": "load, s",
    "time.cold_start_s.compile": "compile or capture, s",
    "time.cold_start_s.first_image": "first image, s",
    "time.cold_start_s.total": "cold start, s",
    "energy.joules_per_image": "joules an image",
}


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["timed", "steps", "cell"], kind="stable")


def sweep_table(section: Section) -> str:
    """Images a second by batch size, a row a cell, the best of a row in bold; empty where nothing was swept.

    What something disturbed is marked, and is nobody's best.
    """
    if "time.sweep" not in section.rows:
        return ""
    rows = _sorted(section.rows[[isinstance(points, list) for points in section.rows["time.sweep"]]])
    found = [{p["batch_size"]: p for p in points} for points in rows["time.sweep"]]
    sizes = sorted({size for points in found for size in points})
    if rows.empty:
        return ""
    lines = []
    for (_, row), points in zip(rows.iterrows(), found, strict=True):
        rates = {s: p["images_per_s"]["median"] for s, p in points.items()}
        invalid = {s for s, p in points.items() if (p.get("conditions") or {}).get("valid") is False}
        best = max((r for s, r in rates.items() if s not in invalid), default=None)
        cells = []
        for s in sizes:
            text = measured(rates.get(s, float("nan")))
            cells.append(f"{text} (not valid)" if s in invalid else f"**{text}**" if s in rates and rates[s] == best else text)
        lines.append([plain(row["timed"]), num(row["steps"]), *cells, plain(row["time.sweep_stopped"])])
    header = ["sampler", "steps", *(f"batch {s}" for s in sizes), "ended because"]
    return markdown(header, lines, range(1, len(sizes) + 2))


def cost_table(section: Section) -> str:
    """Cold start and energy, a row a cell that has either; columns without a value are left out, and so is an empty table."""
    there = [c for c in COLUMNS if c in section.rows and section.rows[c].notna().any()]
    if not there:
        return ""
    rows = _sorted(section.rows[section.rows[there].notna().any(axis=1)])
    lines = [[plain(r["timed"]), num(r["steps"]), *(measured(r[c]) for c in there)] for _, r in rows.iterrows()]
    return markdown(["sampler", "steps", *(COLUMNS[c] for c in there)], lines, range(1, len(there) + 2))


def time_caveats(section: Section) -> list[str]:
    """What a reader should know of the rows' times, one sentence each; none where all is well."""
    rows, found = section.rows, []
    if bad := int(disturbed(rows).sum()):
        found.append(
            f"The times of {bad} of {len(rows)} rows are not valid, because something disturbed the machine; the table says "
            "what. Figures show them; no sampler is called the fastest by them, and no training is set off against them."
        )
    if "time.precision_asked" in rows:
        asked = rows[rows["time.precision_asked"].notna()]
        short = asked[~(asked["time.precision_reached"] <= asked["time.precision_asked"])]
        if len(short):
            found.append(
                f"The times of {len(short)} of {len(rows)} rows are less precise than asked for: their budget was spent first."
            )
    return found
