"""A table for each of a plan's `tables`: samplers at settings of one kind side by side, and what those settings are."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from bench.presentation.document import Block, Cell, Heading, Mark, Paragraph, Table, cell
from bench.presentation.text import measured, num, plural
from bench.records.columns import title_of
from bench.records.trajectories import surely_farther
from bench.reports.sections import Section
from bench.reports.tables import latest, summary_notes, summary_table
from samplers.spec import Spec

SETTING = {"grid": "grid {}", "end": "last level {}", "last_step": "last step {}"}
"""Columns of a setting, and how they are told."""
_ERROR, _ERROR_LOW, _ERROR_HIGH = (f"quality.trajectory_error.{field}" for field in ("value", "ci_low", "ci_high"))


def names_of(df: pd.DataFrame) -> list[str]:
    """The tables of records, in the order of their plan."""
    found = df["tables"].dropna() if "tables" in df else ()
    return list(dict.fromkeys(name for text in found for name in text.split("; ")))


def front(section: Section, names: Sequence[str]) -> Section:
    """What answers and figures are of: the rows of the first table, and those of none; without tables, all."""
    if not names:
        return section
    tables = section.rows["tables"]
    return replace(section, rows=section.rows[tables.isna() | among(tables, names[0])])


def setting_tables(section: Section, names: Sequence[str]) -> list[Block]:
    """Quality, trajectory error and settings of each table that has rows here."""
    blocks: list[Block] = []
    for name in names:
        rows = section.rows[among(section.rows["tables"], name)]
        if rows.empty:
            continue
        rows = rows.assign(label=_labels(rows))
        own, fixed = replace(section, rows=rows), _fixed(rows)
        blocks += [Heading(3, f"Samplers {name}"), Paragraph(_held(fixed))]
        if len(own.scored):
            blocks += [replace(summary_table(own), caption=own.distance), *summary_notes(own)]
        if rows[_ERROR].notna().any():
            blocks.append(_by_budget(own.rows[own.rows[_ERROR].notna()], _error_cells, title_of(_ERROR)))
        if len(fixed) < len(SETTING) and rows["grid"].notna().any():
            blocks.append(_by_budget(rows[rows["grid"].notna()], _setting_cells, "settings: grid, last level, last step"))
    return blocks


def among(tables: pd.Series, name: str) -> "pd.Series[bool]":
    """Which rows are in a plan's table of this name, by their column `tables`."""
    return tables.map(lambda text: isinstance(text, str) and name in text.split("; ")).astype(bool)


def _labels(rows: pd.DataFrame) -> list[str]:
    """The samplers' names without their settings, but of those of which two rows have the same number of calls."""
    plain = [_plain(spec) for spec in rows["sampler"]]
    calls = pd.DataFrame(
        {"name": plain, "calls": list(rows["counted.calls"]), "sampler": list(rows["sampler"])}
    ).drop_duplicates()
    several = set(calls.loc[calls.duplicated(["name", "calls"]), "name"])
    return [spec if name in several else name for name, spec in zip(plain, rows["sampler"], strict=True)]


def _plain(spec: str) -> str:
    """A sampler without what is its setting: the tables tell that, and it may differ with the number of calls."""
    found = Spec.parse(spec)
    return str(replace(found, options=tuple((k, v) for k, v in found.options if k not in ("grid", "end", "last"))))


def _fixed(rows: pd.DataFrame) -> dict[str, str]:
    """What all rows that have a setting share of it, in words."""
    own = rows[rows["grid"].notna()]
    return {
        c: told.format(num(own[c].iloc[0]) if c == "end" else own[c].iloc[0])
        for c, told in SETTING.items()
        if len(own) and own[c].nunique(dropna=False) == 1
    }


def _held(fixed: dict[str, str]) -> str:
    if not fixed:
        return "Nothing is held fixed: each sampler has its own grid, last level and last step, told below."
    return f"The same for all that have such settings: {', '.join(fixed.values())}."


def _by_budget(rows: pd.DataFrame, cells: Callable[[pd.DataFrame], list[Cell]], caption: str) -> Table:
    """A row a sampler, a column a budget of calls."""
    columns = {high: dict(zip(own["label"], cells(own), strict=True)) for high, own in latest(rows).items()}
    lines = [
        [cell(label), *(column.get(label, Cell("")) for column in columns.values())] for label in sorted(set(rows["label"]))
    ]
    return Table([title_of("sampler"), *(plural(high, "call") for high in columns)], lines, range(1, len(columns) + 1), caption)


def _error_cells(rows: pd.DataFrame) -> list[Cell]:
    """The errors; the least of several is best, and what is not told from it, by noises or by intervals, is tied with it."""
    least = rows.sort_values(_ERROR).iloc[0]
    high = least[_ERROR_HIGH] if len(rows) > 1 else float("nan")  # without an interval nothing is claimed

    def mark(row: pd.Series) -> Mark:
        if pd.isna(high) or pd.isna(row[_ERROR_LOW]):
            return ""
        if row.name == least.name:
            return "best"
        return "" if row[_ERROR_LOW] > high or surely_farther(least, row) else "tie"

    return [Cell(measured(r[_ERROR]), r[_ERROR], mark(r)) for _, r in rows.iterrows()]


def _setting_cells(rows: pd.DataFrame) -> list[Cell]:
    return [Cell(", ".join((r["grid"], num(r["end"]), str(r["last_step"])))) for _, r in rows.iterrows()]
