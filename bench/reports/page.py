"""What only a page that can be played with has of a report: the chooser, charts, and a table of all records."""

from collections.abc import Sequence

import pandas as pd

from bench.presentation.chart import Records
from bench.presentation.document import Cell, Table, cell
from bench.presentation.text import interval, measured, num, percent
from bench.records.columns import title_of
from bench.reports.sections import Section
from bench.reports.tables import all_columns

_TEXTS = ("sampler", "family", "student.name", "grid", "precision", "mode")
_COUNTS = ("steps", "counted.calls", "counted.forwards", "counted.teacher_equivalents")
_ERROR, _RATE, _OVERHEAD = "quality.trajectory_error.value", "time.images_per_s.median", "time.overhead_fraction"
MOST = 1000  # records that a page holds
_LATENCY, _MEMORY = "time.latency_ms", "memory.peak_bytes"


def records(df: pd.DataFrame, groups: Sequence[Section]) -> Records:
    """The records, those without a result too, to sort, filter and take away, MOST of them; with the scores of each group."""
    best = pd.concat([s.rows.set_index("record")["place"] for s in groups]) if groups else pd.Series(dtype=float)
    kept = best.groupby(level=0).min().reindex(df.index).rank(method="first", na_option="bottom") <= MOST
    metrics = list(dict.fromkeys(s.metric for s in groups if s.metric))
    titles = [*map(title_of, (*_TEXTS, *_COUNTS)), *metrics]
    titles += [*map(title_of, (_ERROR, f"{_LATENCY}.median", _RATE, _OVERHEAD)), "memory, GB", "status", "remark"]
    rows = df[kept].sort_values(["sampler", "steps", "cell", "run_id"], kind="stable")
    right = range(len(_TEXTS), len(titles) - 2)
    shown = Table(titles, [_line(row, metrics) for _, row in rows.iterrows()], right)
    left = f"{MOST} of {len(df)} records, of each group the best; results.csv beside this page has all."
    return Records(shown, all_columns(df[kept]), "results", left if len(df) > MOST else "")


def _line(row: pd.Series, metrics: Sequence[str]) -> list[Cell]:
    scores = [tuple(row.get(f"quality.{m}.{f}", float("nan")) for f in ("value", "ci_low", "ci_high")) for m in metrics]
    invalid = row.get("time.conditions.valid") in (False,)
    latency = tuple(row[f"{_LATENCY}.{f}"] for f in ("median", "ci_low", "ci_high"))
    note = "(not valid)" if invalid else ""
    reason = row.get("time.conditions.reasons") if invalid else row["error"]
    return [
        *(cell(row[c]) for c in _TEXTS),
        *(cell(row[c], num) for c in _COUNTS),
        *(Cell(interval(*score), score[0]) for score in scores),
        cell(row[_ERROR], measured),
        Cell(interval(*latency), latency[0], note=note),
        Cell(measured(row[_RATE]), row[_RATE], note=note),
        cell(row[_OVERHEAD], percent),
        cell(row[_MEMORY] / 1e9, measured),
        cell(row["status"]),
        cell(reason),
    ]
