"""What else was timed, where it was asked for: throughput over batch sizes, cold start, energy; and what times suffer from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.presentation.document import Cell, Mark, Table, cell
from bench.presentation.text import measured, num
from bench.records.columns import title_of
from bench.records.schema import ColdStart
from bench.reports.sections import Section, disturbed

COSTS = (*(f"time.cold_start_s.{stage}" for stage in ColdStart.model_fields), "energy.joules_per_image")
"""Columns of the table of cold start and energy."""
DECODE = (
    "time.latency_ms.median",
    "time.decode.latency_ms.median",
    "time.decode.total_latency_ms",
    "time.images_per_s.median",
    "time.decode.images_per_s.median",
    "time.decode.total_images_per_s",
)
"""Columns of the table of decoding."""


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["timed", "steps", "cell"], kind="stable")


def sweep_table(section: Section) -> Table | None:
    """Images a second by batch size, a row a cell with its best and what its interval meets; None where nothing was swept.

    What something disturbed is noted, and is nobody's best.
    """
    if "time.sweep" not in section.rows:
        return None
    rows = _sorted(section.rows[[isinstance(points, list) for points in section.rows["time.sweep"]]])
    found = [{p["batch_size"]: p for p in points} for points in rows["time.sweep"]]
    sizes = sorted({size for points in found for size in points})
    if rows.empty:
        return None
    lines = []
    for (_, row), points in zip(rows.iterrows(), found, strict=True):
        rates = {s: p["images_per_s"] for s, p in points.items()}
        valid = {s for s, p in points.items() if (p.get("conditions") or {}).get("valid") is not False}
        best = max(valid, key=lambda s: rates[s]["median"]) if len(valid) > 1 else None
        cells = [Cell("")] * len(sizes)
        for s, rate in rates.items():
            mark: Mark = "best" if s == best else "tie" if s in valid and _meet(rate, rates.get(best)) else ""
            cells[sizes.index(s)] = Cell(measured(rate["median"]), rate["median"], mark, "" if s in valid else "(not valid)")
        lines.append([cell(row["timed"]), cell(row["steps"], num), *cells, cell(row.get("time.sweep_stopped"))])
    columns = [title_of("sampler"), title_of("steps"), *(f"batch {s}" for s in sizes), title_of("time.sweep_stopped")]
    return Table(columns, lines, range(1, len(sizes) + 2))


def _meet(rate: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
    """Whether a rate is not told from the best; without intervals it is not."""
    if best is None:
        return False
    high, low = rate["ci_high"], best["ci_low"]
    return high is None or low is None or high >= low


def cost_table(section: Section) -> Table | None:
    """Cold start and energy, a row a cell that has either; columns without a value are left out; None if that is all."""
    return _table(section, [c for c in COSTS if c in section.rows and section.rows[c].notna().any()])


def decode_table(section: Section) -> Table | None:
    """Sampling latents, decoding them, and both, a row a cell of a teacher of latents; None without one."""
    return _table(section, DECODE if DECODE[1] in section.rows else ())


def _table(section: Section, there: Sequence[str]) -> Table | None:
    """The rows that have a value in some of the columns."""
    if not there:
        return None
    rows = _sorted(section.rows[section.rows[list(there)].notna().any(axis=1)])

    def entry(value: float, column: str, invalid: bool) -> Cell:
        shown = cell(value, measured)
        return replace(shown, note="(not valid)") if invalid and column in DECODE and shown.text else shown

    lines = [
        [cell(r["timed"]), cell(r["steps"], num), *(entry(r[c], c, invalid) for c in there)]
        for (_, r), invalid in zip(rows.iterrows(), disturbed(rows), strict=True)
    ]
    return Table([*map(title_of, ("sampler", "steps", *there))], lines, range(1, len(there) + 2))


def time_caveats(section: Section) -> list[str]:
    """What a reader should know of the rows' times, one sentence each; none where all is well."""
    rows, found = section.rows, []
    if bad := int(disturbed(rows).sum()):
        found.append(
            f"The times of {bad} of {len(rows)} rows are not valid, because something disturbed the machine; the table says "
            "what. Figures of time leave them out, no sampler is called the fastest by them, and no training is set off "
            "against them; any of these rows may be faster than what is named."
        )
    if "time.precision_asked" in rows:
        asked = rows[rows["time.precision_asked"].notna()]
        short = asked[~(asked["time.precision_reached"] <= asked["time.precision_asked"])]
        if len(short):
            found.append(
                f"The times of {len(short)} of {len(rows)} rows are less precise than asked for: their budget was spent first."
            )
    return found
