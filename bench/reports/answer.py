"""The question of the suite, answered for one section of a report."""

import pandas as pd

from bench.presentation.document import Inline, strong
from bench.presentation.text import interval, measured, num, plural
from bench.reports.advice import advise
from bench.reports.budget import CLOSE, Budget
from bench.reports.ranking import Winner, coinciding, winner
from bench.reports.sections import Section, machines
from bench.reports.tables import disturbed

BUDGETS = (5, 10, 20)  # network calls
FEW = (1, 2, 4)  # and these, where there are students


def _listed(rows: pd.DataFrame, most: int = 8) -> str:
    """Rows by name and number of calls, in the order of their quality; the rest only counted."""
    rows = rows.sort_values(["cost", "counted.calls", "label"], kind="stable")
    names = [f"{r['label']} ({num(r['counted.calls'])})" for _, r in rows.head(most).iterrows()]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _cost(row: pd.Series) -> str:
    work = row["counted.teacher_equivalents"]
    return plural(row["counted.calls"], "call") + (f", {plural(work, 'teacher-equivalent')}" if pd.notna(work) else "")


def _ties(best: Winner, rows: pd.DataFrame) -> str:
    """What a reader should know of the runners-up of the best of some rows."""
    if best.compared == 0:
        return "Nothing else was measured there."
    if not best.ties:
        return "Nothing else is statistically tied with it."
    return f"Statistically tied with it (calls in brackets): {_listed(rows.loc[best.ties])}."


def budgets(section: Section) -> tuple[int, ...]:
    """The budgets of calls to answer for."""
    return (*FEW, *BUDGETS) if section.with_students else BUDGETS


def answer(section: Section) -> list[Inline]:
    """The question of the suite, answered for one section, one sentence or two an item."""
    scored = section.scored[section.scored["counted.calls"].notna()]
    top = winner(scored)
    if top is None:
        return [f"No {section.quality} was measured, so no sampler can be called best."]
    found: list[Inline] = []
    for budget in budgets(section):
        best = advise(section, Budget(calls=budget)).top
        if best is None:
            found.append([strong(f"At most {plural(budget, 'call')}"), ": nothing was measured."])
            continue
        r = best.row
        distance = interval(r["fd"], r["fd_low"], r["fd_high"])
        found.append(
            [
                strong(f"At most {plural(budget, 'call')}: {r['label']}"),
                f" ({_cost(r)}) is best, with a {section.quality} of {distance}. {_ties(best, scored)}",
            ]
        )
    close = scored[scored["cost"] <= max(CLOSE * top.row["cost"], top.row["cost"] / CLOSE)]
    fewest = close[close["counted.calls"] == close["counted.calls"].min()]
    first = winner(fewest)
    assert first is not None  # the best row itself is among the close ones
    best_of_all = f"{measured(top.row['fd'])} of the best measured, {top.row['label']} ({_cost(top.row)})"
    against = f"with {measured(first.row['fd'])} against {best_of_all}. "
    found.append(
        [
            strong(f"Cheapest within {CLOSE} times the best quality: {first.row['label']}"),
            f" ({_cost(first.row)}), ",
            "the best measured. " if first.row.name == top.row.name else against,
            _ties(first, fewest) if len(fewest) > 1 else "No other sampler comes as close with as few calls.",
        ]
    )
    timed = section.rows[section.rows["time.latency_ms.median"].notna()]
    good = timed[timed["cost"] <= close["cost"].max()]
    valid = good[~disturbed(good)]
    if len(good) and not len(valid):
        found.append("The times of all rows that are as good were disturbed, so none is called the fastest.")
    elif len(good) and len(machines(timed)) > 1:
        found.append("The rows were timed on different machines, so none is called the fastest; there is a figure for each.")
    elif len(good):
        r = valid.loc[valid["time.latency_ms.median"].idxmin()]
        ms = f"{measured(r['time.latency_ms.median'])} ms for one image"
        found.append([strong(f"Fastest within {CLOSE} times the best quality: {r['timed']}"), f" ({_cost(r)}), {ms}."])
    if same := coinciding(scored):
        found.append(
            f"With one call these coincide, as they must: {', '.join(same)}. A single step from the largest noise level to "
            "zero is x = D(sigma_max z) for every solver, so one call tells nothing about the solvers."
        )
    return found
