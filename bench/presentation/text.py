"""Numbers and tables as text: how many digits, which words, where a line ends."""

from collections.abc import Iterable, Sequence

import pandas as pd


def num(value: float) -> str:
    """A counted number: no more digits than it needs, three significant at most (a large one keeps all), empty if missing."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measured(value: float) -> str:
    """A measured number: three significant digits, zeros too (a large one keeps all), empty if missing."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def plural(number: float, what: str) -> str:
    """A count with its noun: "1 call", "5 calls"."""
    return f"{num(number)} {what}{'' if number == 1 else 's'}"


def percent(value: float) -> str:
    """A fraction as percent, empty if it is missing."""
    return "" if pd.isna(value) else f"{100 * value:.1f} %"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval in brackets, as far as they are there."""
    return measured(value) + (f" [{measured(low)}, {measured(high)}]" if pd.notna(low) and pd.notna(high) else "")


def plain(value: object) -> str:
    """Text for one cell of a Markdown table: one line, bars escaped, empty for a missing value."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A Markdown table; columns whose number is in `right` are aligned right."""
    right = set(right)
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])
