"""What a person can read of very many rows: the series that figures draw and tables list, and what is said of the others."""

from dataclasses import replace

import pandas as pd

from bench.presentation.series import COLOURS, Looks
from bench.reports.ranking import pareto
from bench.reports.sections import Section

SERIES = len(COLOURS)
"""Series (samplers at their settings) that are drawn and listed at most: as many as there are colours."""
LINES = 100
"""Rows of one table at most, where all rows are listed."""
FRONTIERS = (
    ("counted.calls", None),
    ("counted.teacher_equivalents", None),
    ("time.latency_ms.median", ("time.latency_ms.ci_low", "time.latency_ms.ci_high")),
)
"""Costs whose frontiers are drawn, and the ends of their intervals."""


def readable(section: Section) -> Section:
    """At most SERIES series of a section: those on a frontier, then the best of each sampler, then the best of the rest.

    Its looks are those of all series, and of these no two have the same colour.
    """
    labels = section.rows["label"]
    if labels.nunique() <= SERIES:
        return section
    rows = section.rows[labels.isin(_order(section)[:SERIES])]
    every, some = ([*r["label"], *r["timed"]] for r in (section.rows, rows))
    return replace(section, rows=rows, looks=Looks(every, first=some))


def _order(section: Section) -> list[str]:
    """All series; those of a kind by their mean rank among the rows of as many calls."""
    rows = section.scored if len(section.scored) else section.rows
    score = rows["cost"] if len(section.scored) else rows["quality.trajectory_error.value"]
    rank = score.groupby(rows["counted.calls"]).rank(pct=True).groupby(rows["label"]).mean()
    series = rank.reindex(section.rows["label"].unique()).rename_axis("label").reset_index(name="rank")
    series = series.sort_values(["rank", "label"], kind="stable")
    front: set[str] = set()
    for cost, ends in FRONTIERS:
        front.update(rows["label"][pareto(rows.assign(score=score), cost, "score", x_ends=ends)])
    sampler = series["label"].str.partition(" [")[0].str.partition(":")[0]
    series = series.assign(behind=~series["label"].isin(front), again=sampler.duplicated())
    return list(series.sort_values(["behind", "again"], kind="stable")["label"])


def left_out(section: Section, seen: Section) -> str:
    """What a reader is told of the series that are not drawn and listed; empty where all are."""
    every, some = (s.rows["label"].nunique() for s in (section, seen))
    if every == some:
        return ""
    return (
        f"Figures, and the tables below but those of all rows, are of {some} of the {every} series (a sampler at its "
        "settings): those on a frontier, then the best setting of each sampler, then the best of the rest by their mean rank "
        f"among rows of as many calls. The answers above were sought among all {len(section.rows)} rows, which results.csv has."
    )


def capped(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The first LINES rows, and what a caption says where there are more."""
    return rows.head(LINES), f" (the first {LINES} of {len(rows)} rows)" if len(rows) > LINES else ""
