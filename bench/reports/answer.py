"""The question of the suite, answered for one section of a report."""

from collections.abc import Sequence

import pandas as pd

from bench.presentation.document import Inline, strong
from bench.presentation.text import interval, measured, plural
from bench.records.ranking import FRECHET
from bench.reports.advice import advise
from bench.reports.budget import CLOSE, Budget
from bench.reports.ranking import Winner, coinciding, winner
from bench.reports.sections import Section, disturbed, one_machine
from bench.reports.ties import intransitive, listed
from bench.reports.trajectory_answer import closest

BUDGETS = (5, 10, 20)  # network calls
FEW = (1, 2, 4)  # and these, where there are students
MOST = 40  # names in a sentence
_MS = "time.latency_ms"


def _cost(row: pd.Series) -> str:
    work = row["counted.teacher_equivalents"]
    return plural(row["counted.calls"], "call") + (f", {plural(work, 'teacher-equivalent')}" if pd.notna(work) else "")


def budgets(section: Section) -> list[float]:
    """The budgets of calls to answer for: the most calls that were measured up to each of the usual ones."""
    usual = sorted((*FEW, *BUDGETS)) if section.with_students else BUDGETS
    calls = section.scored["counted.calls"][section.scored["counted.calls"] > 0]
    return list(dict.fromkeys(float(calls[calls <= most].max()) for most in usual if (calls <= most).any()))


def _best(section: Section, rows: pd.DataFrame, best: Winner) -> str:
    """The best row of a selection, as far as others were measured and could be tested against it."""
    value = interval(best.row["fd"], best.row["fd_low"], best.row["fd_high"])
    if best.alone:
        return f"has a {section.quality} of {value}. Nothing else was measured there."
    if not best.tested:
        end = "largest" if section.ranking.sign < 0 else "smallest"
        return f"has the {end} {section.quality}, {value}. {_others(rows, best)}"
    return f"is best, with a {section.quality} of {value}. {_others(rows, best)}"


def _others(rows: pd.DataFrame, best: Winner) -> str:
    """How the others of a selection stand to its best."""
    if not best.tested:
        return "Nothing else could be tested against it."
    tied = [index for index in best.ties if index not in best.untested]
    text = "Nothing else is statistically tied with it."
    if tied:
        text = f"Statistically tied with it (calls in brackets): {listed(rows.loc[tied])}."
    if best.untested:
        text += f" Not tested against it: {listed(rows.loc[best.untested])}."
    return f"{text} {intransitive(rows, best)}".rstrip()


def _cheapest(close: pd.DataFrame, top: Winner) -> Inline:
    """The fewest calls among the rows that are about as good as the best."""
    rows = close[close["counted.calls"] == close["counted.calls"].min()]
    first = winner(rows)
    assert first is not None  # the best row itself is among the close ones
    r, best = first.row, top.row
    against = "the best measured"
    if r.name != best.name:
        of_all = f"{measured(best['fd'])} of the best measured, {best['label']} ({_cost(best)})"
        against = f"with {measured(r['fd'])} against {of_all}"
    others = _others(rows, first) if not first.alone else "No other sampler comes as close with as few calls."
    return [strong(f"Cheapest within {CLOSE} times the best quality: {r['label']}"), f" ({_cost(r)}), {against}. {others}"]


def _fastest(good: pd.DataFrame) -> list[Inline]:
    """The least latency among timed rows that are about as good as the best; of those not told from it, the best quality."""
    valid = good[~disturbed(good)]
    if valid.empty:
        return ["The times of all rows that are as good were disturbed, so none is called the fastest."] if len(good) else []
    if not one_machine(good):
        return ["The rows were timed on different machines, so none is called the fastest; there is a figure for each."]
    known = valid[valid[f"{_MS}.ci_low"].notna() & valid[f"{_MS}.ci_high"].notna()]
    if known.empty:
        return ["The latencies of the rows that are as good have no intervals, so none is called the fastest."]
    least = known.sort_values(f"{_MS}.median").iloc[0]
    alike = known[known[f"{_MS}.ci_low"] <= least[f"{_MS}.ci_high"]].sort_values(["cost", "counted.calls", "timed"])
    r = alike.iloc[0]
    text = f" ({_cost(r)}), {measured(r[f'{_MS}.median'])} ms for one image."
    if len(known) == 1:
        text += " No other valid time of a row that is as good was measured."
    if len(alike) > 1:
        text += f" By the intervals of their times, not told from it: {listed(alike.iloc[1:])}."
    if left := len(good) - len(known):
        text += f" Left out: {plural(left, 'row')} as good without a valid time and its interval."
    return [[strong(f"Fastest within {CLOSE} times the best quality: {r['timed']}"), text]]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - MOST} more" if len(names) > MOST else ""


def _power(section: Section, wins: Sequence[Winner]) -> str:
    """What so many images can tell, by the differences that were tested."""
    made = pd.concat([w.differences for w in wins])
    tested = made[made["known"]]
    text = f"What {section.images:.0f} images can tell: "
    if tested.empty:
        text += "no two rows could be tested against each other, so none is called best."
    else:
        told, not_told = (tested["value"].abs()[tested["tie"] == tie] for tie in (False, True))
        parts = [f"the smallest that is more than chance is {measured(told.min())}"] if len(told) else []
        parts += [f"the largest that may be chance is {measured(not_told.max())}"] if len(not_told) else []
        text += f"of the differences tested for these answers (95 %, each by itself), {' and '.join(parts)}."
    if section.ranking == FRECHET and section.scored["fd_low"].isna().all():
        text += (
            " The distances have no intervals, which take at least ten images a feature of the extractor; so few also make "
            "distances larger than many would."
        )
    return text


def answer(section: Section) -> list[Inline]:
    """The question of the suite, answered for one section, one sentence or two an item; and what is to be known of teachers."""
    return [*_answer(section), *_notes(section)]


def _notes(section: Section) -> list[Inline]:
    """What records note of teachers."""
    if "teacher.note" not in section.rows:
        return []
    told = section.rows[["teacher.name", "teacher.note"]].dropna().drop_duplicates()
    return [f"Of teacher {name}: {note}." for name, note in told.itertuples(index=False)]


def _answer(section: Section) -> list[Inline]:
    scored = section.scored[section.scored["counted.calls"].notna()]
    top = winner(scored)
    if top is None:
        none = f"No {section.quality} was measured, so no sampler can be called best."
        return [none, *closest(section, sorted({*FEW, *BUDGETS}))]
    found: list[Inline] = []
    wins = [top]
    for budget in budgets(section):
        best = advise(section, Budget(calls=budget)).top
        assert best is not None  # a budget is the calls of a row
        wins.append(best)
        heading = strong(f"At most {plural(budget, 'call')}: {best.row['label']}")
        found.append([heading, f" ({_cost(best.row)}) {_best(section, scored, best)}"])
    if top.alone:
        return found
    close = scored[scored["cost"] <= max(CLOSE * top.row["cost"], top.row["cost"] / CLOSE)]
    timed = section.rows[section.rows[f"{_MS}.median"].notna()]
    found += [_cheapest(close, top), *_fastest(timed[timed["cost"] <= close["cost"].max()])]
    if same := coinciding(scored):
        found.append(
            f"With one call these coincide, as they must: {', '.join(same[:MOST])}{_more(same)}. A single step from the "
            "largest noise level to zero is x = D(sigma_max z) for every solver, so one call tells nothing about the solvers."
        )
    return [*found, _power(section, wins)]
