"""The answer of a page as a thing to move: what to use at each budget of calls and milliseconds."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.presentation.chart import Choice, Chooser, Panel, Slider
from bench.presentation.document import Inline
from bench.presentation.text import measured, num, plural
from bench.records.frame import MACHINE
from bench.reports.advice import LATENCY, advise, slowest
from bench.reports.advice_text import milliseconds, remarks, sentence
from bench.reports.budget import Budget
from bench.reports.charts import chart_of, panel
from bench.reports.sections import Section, disturbed

FIRST = {"calls": 5, "latency_ms": 20}
"""Budgets that are in sight first: the largest measured that is not above."""
MOST = 30  # positions of a slider
MOST_COSTS = 10  # sentences of what a call really costs


def chooser(section: Section, seen: Section) -> Chooser | None:
    """Sliders over the budgets that were measured; None where nothing was scored.

    Args:
        section: whose rows are chosen from.
        seen: whose rows are drawn, besides those chosen.
    """
    found = [slider for slider in (_calls(section, seen), _latency(section, seen)) if slider is not None]
    return Chooser(found, chart_of(section, [s.panel for s in found]), real_cost(seen)) if found else None


def _calls(section: Section, seen: Section) -> Slider | None:
    rows = section.scored[section.scored["counted.calls"] > 0]
    values = sorted({int(v) for v in rows["counted.calls"]})
    choices = _choices(_narrow(section), "calls", values)
    drawn = panel(section, _drawn(rows, seen, choices), "label", "counted.calls")
    return _slider("network calls", "calls", choices, drawn)


def _latency(section: Section, seen: Section) -> Slider | None:
    """None where no valid times of one machine are there."""
    rows = section.timed[section.timed[f"{LATENCY}.median"] > 0]
    values = sorted({_up(v) for v in slowest(rows)}) if section.one_machine else []
    ends = (f"{LATENCY}.ci_low", f"{LATENCY}.ci_high")
    choices = _choices(_narrow(section), "latency_ms", values)
    drawn = panel(section, _drawn(rows, seen, choices), "timed", f"{LATENCY}.median", ends)
    return _slider("milliseconds", "latency_ms", choices, drawn)


def _narrow(section: Section) -> Section:
    """Without most columns that decide nothing: rows are taken from it often."""
    columns = [c for c in map(str, section.rows) if c in MACHINE or not c.startswith(("quality.", "environment."))]
    return replace(section, rows=section.rows[columns])


def _drawn(rows: pd.DataFrame, seen: Section, choices: Sequence[Choice]) -> pd.DataFrame:
    """Of rows those that are seen, and those chosen."""
    return rows[rows.index.isin(seen.rows.index) | rows.index.isin([i for c in choices for i in c.rows])]


def _up(value: float) -> float:
    """The next larger number of two digits, or the largest that there is."""
    size = 10.0 ** (math.floor(math.log10(value)) - 1)
    return min(float(f"{math.ceil(round(value / size, 6)) * size:.2g}"), sys.float_info.max)


def _choices(section: Section, kind: str, values: Sequence[float]) -> list[Choice]:
    """What to do at each of the values of a budget, or at MOST of them."""
    places = np.linspace(0, len(values) - 1, min(len(values), MOST)).round().astype(int)
    choices = []
    for value in (values[i] for i in places):
        advice = advise(section, Budget(**{kind: value}))
        rows = [advice.chosen] if advice.chosen is not None else advice.level
        told = plural(value, "call") if kind == "calls" else f"{value:g} ms"
        marked = [int(str(row.name)) for row in rows]
        choices.append(Choice(float(value), told, sentence(section, advice), remarks(section, advice), marked))
    return choices


def _slider(name: str, kind: str, choices: Sequence[Choice], drawn: Panel) -> Slider | None:
    if not choices:
        return None
    start = max((i for i, c in enumerate(choices) if c.value <= FIRST[kind]), default=0)
    return Slider(name, choices, start, drawn)


def real_cost(section: Section) -> list[Inline]:
    """What one call of a student costs that does the work of several."""
    found: list[Inline] = []
    rows = section.scored
    single = rows[(rows["counted.calls"] == 1) & (rows["counted.forwards"] == 1) & ~disturbed(rows)][
        f"{LATENCY}.median"
    ].median()
    more = rows[(rows["counted.forwards"] > rows["counted.calls"]) & rows["student.name"].notna()]
    for _, row in more.head(MOST_COSTS).iterrows():
        work, calls = row["counted.teacher_equivalents"], plural(row["counted.calls"], "call")
        text = f"{calls} of {row['label']} is {num(row['counted.forwards'])} forwards, the work of {num(work)} of the teacher's"
        ms = milliseconds(row).removesuffix(" for one image")
        if ms:
            text += f", and takes {ms}"
            text += f" against {measured(single)} ms of a call of one forward" if single > 0 else ""
        found.append(f"{text[0].upper()}{text[1:]}.")
    return found
