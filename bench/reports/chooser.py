"""The answer of a page as a thing to move: what to use at each budget of calls and milliseconds."""

import math
from collections.abc import Sequence

from bench.presentation.chart import Choice, Chooser, Panel, Slider
from bench.presentation.document import Inline
from bench.presentation.text import measured, num, plural
from bench.reports.advice import LATENCY, advise, slowest
from bench.reports.advice_text import milliseconds, remarks, sentence
from bench.reports.budget import Budget
from bench.reports.charts import chart_of, panel
from bench.reports.sections import Section, machines
from bench.reports.tables import disturbed

FIRST = {"calls": 5, "latency_ms": 20}
"""Budgets that are in sight first: the largest measured that is not above."""
MOST = 50  # positions of a slider


def chooser(section: Section) -> Chooser | None:
    """Sliders over the budgets that were measured; None where nothing was scored."""
    found = [slider for slider in (_calls(section), _latency(section)) if slider is not None]
    return Chooser(found, chart_of(section, [s.panel for s in found]), real_cost(section)) if found else None


def _calls(section: Section) -> Slider | None:
    rows = section.scored[section.scored["counted.calls"] > 0]
    values = sorted({int(v) for v in rows["counted.calls"]})
    return _slider(section, "network calls", "calls", values, panel(section, rows, "label", "counted.calls"))


def _latency(section: Section) -> Slider | None:
    """None where no valid times of one machine are there."""
    rows = section.rows[section.rows["fd"].notna() & (section.rows[f"{LATENCY}.median"] > 0) & ~disturbed(section.rows)]
    values = sorted({_up(v) for v in slowest(rows)}) if len(machines(section.rows)) == 1 else []
    ends = (f"{LATENCY}.ci_low", f"{LATENCY}.ci_high")
    return _slider(section, "milliseconds", "latency_ms", values, panel(section, rows, "timed", f"{LATENCY}.median", ends))


def _up(value: float) -> float:
    """The next larger number of two digits."""
    size = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / size, 6)) * size:.2g}")


def _slider(section: Section, name: str, kind: str, values: Sequence[float], drawn: Panel) -> Slider | None:
    if not values:
        return None
    kept = values if len(values) <= MOST else values[:: math.ceil(len(values) / MOST)]
    choices = []
    for value in kept:
        advice = advise(section, Budget(**{kind: value}))
        rows = [advice.chosen] if advice.chosen is not None else advice.level
        told = plural(value, "call") if kind == "calls" else f"{value:g} ms"
        marked = [int(str(row.name)) for row in rows]
        choices.append(Choice(float(value), told, sentence(section, advice), remarks(section, advice), marked))
    start = max((i for i, v in enumerate(kept) if v <= FIRST[kind]), default=0)
    return Slider(name, choices, start, drawn)


def real_cost(section: Section) -> list[Inline]:
    """What one call of a student costs that does the work of several."""
    found: list[Inline] = []
    rows = section.scored
    single = rows[(rows["counted.calls"] == 1) & (rows["counted.forwards"] == 1) & ~disturbed(rows)][
        f"{LATENCY}.median"
    ].median()
    for _, row in rows[(rows["counted.forwards"] > rows["counted.calls"]) & rows["student.name"].notna()].iterrows():
        work, calls = row["counted.teacher_equivalents"], plural(row["counted.calls"], "call")
        text = f"{calls} of {row['label']} is {num(row['counted.forwards'])} forwards, the work of {num(work)} of the teacher's"
        ms = milliseconds(row).removesuffix(" for one image")
        if ms:
            text += f", and takes {ms}"
            text += f" against {measured(single)} ms of a call of one forward" if single > 0 else ""
        found.append(f"{text[0].upper()}{text[1:]}.")
    return found
