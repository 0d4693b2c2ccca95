"""A recommendation in words: what to use, how sure that is, what comes next, and what would have to be measured to decide."""

import math
from itertools import pairwise

import pandas as pd

from bench.presentation.document import Block, Bullets, Cell, Document, Heading, Inline, Paragraph, Table, cell, strong
from bench.presentation.text import interval, measured, num, plural
from bench.records.columns import title_of
from bench.records.differences import Z, difference
from bench.reports.advice import LATENCY, Advice, advise, excess, images_to_tell, seconds_for
from bench.reports.break_even import total_seconds, trained_elsewhere
from bench.reports.budget import CLOSE, Budget
from bench.reports.provenance import edited
from bench.reports.sections import Section, disturbed, sections
from bench.reports.setting_tables import front, names_of

MOST = 5  # names in a sentence


def called(row: pd.Series) -> str:
    """A row by name and steps: "heun, 3 steps"."""
    return f"{row['label']}, {plural(row['steps'], 'step')}"


def cost(row: pd.Series) -> str:
    """What one image of a row costs: its work, and milliseconds if valid."""
    return ", ".join(text for text in (work(row), milliseconds(row)) if text)


def work(row: pd.Series) -> str:
    """Calls, forwards where they are more, and teacher-equivalents of a row."""
    parts = [plural(row["counted.calls"], "call")]
    if row["counted.forwards"] > row["counted.calls"]:
        parts.append(plural(row["counted.forwards"], "forward"))
    if pd.notna(row["counted.teacher_equivalents"]):
        parts.append(plural(row["counted.teacher_equivalents"], "teacher-equivalent"))
    return ", ".join(parts)


def milliseconds(row: pd.Series) -> str:
    """The latency of one image with its interval; empty where there is none, or it is marked invalid."""
    value = row[f"{LATENCY}.median"]
    if pd.isna(value) or row.get("time.conditions.valid") in (False,):
        return ""
    return f"{interval(value, row[f'{LATENCY}.ci_low'], row[f'{LATENCY}.ci_high'])} ms for one image"


def quality(section: Section, row: pd.Series) -> str:
    """The quality of a row with its interval."""
    return f"{section.quality} {interval(row['fd'], row['fd_low'], row['fd_high'])}"


def sentence(section: Section, advice: Advice) -> Inline:
    """What to use, or why that cannot be said."""
    budget = f"{advice.budget.told()[0].upper()}{advice.budget.told()[1:]}: "
    if advice.chosen is not None:
        row = advice.chosen
        text = f" ({cost(row)}): {quality(section, row)}.{_training(advice, row)}"
        return [budget, strong(f"use {called(row)}"), text]
    if advice.level:
        left = _named(advice.level)
        return [budget, strong("no choice within the noise"), f": {left} cost the same, and their {section.quality} is alike."]
    return [budget, strong("no recommendation"), f". {advice.refused}"]


def _named(rows: list[pd.Series]) -> str:
    names = [called(r) for r in rows[:MOST]]
    return " and ".join(names) if len(rows) == 2 else "; ".join(names) + (f"; {len(rows) - MOST} more" * (len(rows) > MOST))


def _training(advice: Advice, row: pd.Series) -> str:
    """What the training of a row takes, and with it all the images asked for."""
    trained = pd.notna(row["student.name"])
    if advice.budget.images is not None:
        training, making = seconds_for(row, advice.budget.images)
        text = f" {advice.budget.images:,.0f} images take {duration(making)}"
        return f"{text} and a training of {duration(training)}{_alone(row)}." if trained else f"{text}."
    if not trained:
        return ""
    seconds = total_seconds(row)
    known = f"a training of {duration(seconds)}{_alone(row)}" if pd.notna(seconds) else "a training whose length no card tells"
    return f" It takes {known}."


def _alone(row: pd.Series) -> str:
    """What else is to be known of the seconds of a training: another device than this run's, its data left out."""
    elsewhere = [f"on another device, {row['training.device']}"] * trained_elsewhere(row)
    told = [*elsewhere, *["without its data, which its card does not tell"] * pd.isna(row.get("training.cost.seconds"))]
    return f" ({'; '.join(told)})" if told else ""


def duration(seconds: float) -> str:
    """A time in seconds, minutes, hours or days, in three digits."""
    units = ((1.0, "s"), (60.0, "minutes"), (3600.0, "hours"), (86400.0, "days"))
    for (size, name), (larger, _) in pairwise((*units, (math.inf, ""))):
        if seconds < 2 * larger:
            return f"{measured(seconds / size)} {name}"
    return "no known time"


def remarks(section: Section, advice: Advice) -> list[Inline]:
    """How sure it is, the runner-up, the way without training, and what would have to be measured to decide."""
    found: list[Inline] = []
    top, row = advice.top, advice.chosen
    if row is not None and top is not None and advice.budget.quality is None and advice.budget.images is None:
        found.append(_sure(section, advice))
    if advice.runner_up is not None and row is not None:
        found.append(["Runner-up: ", strong(called(advice.runner_up)), f" ({_short(section, advice, advice.runner_up)})."])
    if advice.untrained is not None:
        other = advice.untrained
        found.append(["Without training: ", strong(called(other)), f" ({cost(other)}): {quality(section, other)}."])
    if advice.perhaps:
        found.append(_perhaps(section, advice))
    if len(advice.level) > 1:
        found.append(f"To decide: {_more_images(advice.level[0], advice.level[1:])}")
    named = [r for r in (row, advice.runner_up, *advice.level) if r is not None]
    if any(pd.notna(r["student.name"]) for r in named):
        found.append("The intervals are of these trained networks; another training by the same recipe may do better or worse.")
    if bad := int(disturbed(section.rows).sum()):
        found.append(f"The times of {plural(bad, 'row')} are marked invalid and decide nothing; measure them again.")
    return found


def _short(section: Section, advice: Advice, row: pd.Series) -> str:
    parts = [plural(row["counted.calls"], "call"), quality(section, row), milliseconds(row)]
    if advice.budget.images is not None:
        parts.append(f"{duration(sum(seconds_for(row, advice.budget.images)))} in all")
    return ", ".join(p for p in parts if p)


def _sure(section: Section, advice: Advice) -> str:
    """Whether anything is as good as the chosen row, which is the cheapest of them."""
    top, row = advice.top, advice.chosen
    assert top is not None
    assert row is not None
    if top.alone:
        return "Nothing else was measured within the budget."
    untested = [r for _, r in section.rows.loc[top.untested].iterrows()]
    also = f" Could not be tested, for want of intervals: {_named(untested)}." if untested else ""
    tied = [i for i in (top.row.name, *top.ties) if i != row.name and i not in top.untested]
    others = [r for _, r in section.rows.loc[tied].iterrows()]
    if not others:
        return f"Nothing else within the budget is as good: the difference is larger than chance (95 %).{also}"
    text = f"Not told apart from it by quality (95 %), but not cheaper: {_named(others)}. "
    return f"{text}To tell the first from it: {_more_images(row, others[:1])}{also}"


def _perhaps(section: Section, advice: Advice) -> Inline:
    """Cheaper rows that the interval neither admits nor rules out."""
    assert advice.best is not None
    first, bound = advice.perhaps[0], advice.budget.quality or CLOSE
    text = f" ({_short(section, advice, first)})"
    d = excess(advice.best, first, section.ranking.sign)
    if math.isnan(d.value) or math.isnan(d.se):
        return ["Perhaps good enough and cheaper: ", strong(called(first)), f"{text}; its {section.quality} has no interval."]
    low, high = (math.exp(d.value + s * Z * d.se) for s in (-1, 1))
    text += f": {measured(math.exp(d.value))} times the best, between {measured(low)} and {measured(high)} (95 %)"
    room = abs(math.log(bound) - d.value)
    text += f"; about {_rounded(first['images'] * (Z * d.se / room) ** 2)} images a cell would tell." if room > 0 else "."
    more = f" {len(advice.perhaps) - 1} more may be, too." if len(advice.perhaps) > 1 else ""
    return ["Perhaps good enough and cheaper: ", strong(called(first)), text + more]


def _more_images(row: pd.Series, others: list[pd.Series]) -> str:
    if not all(difference(row, other).known for other in others):
        return "more images (--images): from these no difference could be tested."
    needed = max(images_to_tell(row, other) for other in others)
    if math.isinf(needed):
        return "they give the same images or scores, which no measurement tells apart; take either."
    return (
        f"about {_rounded(needed)} images a cell instead of {num(row['images'])} (--images), if the difference stays as it is."
    )


def _rounded(value: float) -> str:
    """A large number in two digits."""
    if not value < 1e8:
        return "more than 100 million"
    digits = 1 - math.floor(math.log10(max(value, 1)))
    return f"{round(value, digits):,.0f}"


def recommendation(df: pd.DataFrame, budget: Budget) -> tuple[Document, bool]:
    """The advice for each group of rows that may be ranked together, and whether each group has one."""
    blocks: list[Block] = [Paragraph([strong(changed)])] if (changed := edited(df)) else []
    decided = True
    groups = sections(df)
    for whole in groups:
        section = front(whole, names_of(df))
        advice = advise(section, budget)
        decided &= advice.chosen is not None
        blocks += [Heading(2, section.key()), Paragraph(sentence(section, advice))]
        if told := remarks(section, advice):
            blocks.append(Bullets(told))
        if (table := _table(section, advice)) is not None:
            blocks.append(table)
    if not groups:
        blocks.append(Paragraph("No cell gave a result, so there is nothing to recommend."))
    return blocks, decided and bool(groups)


def _table(section: Section, advice: Advice) -> Table | None:
    """The chosen row, the runner-up, and those beside them."""
    groups = (
        ("use", [advice.chosen]), ("alike", advice.level), ("runner-up", [advice.runner_up]),
        ("without training", [advice.untrained]), ("perhaps", advice.perhaps[:MOST]),
    )  # fmt: skip
    lines = [
        [
            cell(what),
            Cell(called(row), row["label"], "best" if what == "use" else ""),
            cell(row["counted.calls"], num),
            cell(row["counted.teacher_equivalents"], num),
            Cell(interval(row["fd"], row["fd_low"], row["fd_high"]), row["fd"]),
            Cell(milliseconds(row).removesuffix(" ms for one image"), row[f"{LATENCY}.median"]),
        ]
        for what, rows in groups
        for row in rows
        if row is not None
    ]
    columns = ["", title_of("sampler"), *map(title_of, ("counted.calls", "counted.teacher_equivalents")), section.distance]
    return Table([*columns, title_of(f"{LATENCY}.median")], lines, range(2, 6)) if lines else None
