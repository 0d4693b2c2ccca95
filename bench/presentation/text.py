"""Numbers and values as text: how many digits, which words, on one line."""

import pandas as pd

LONGEST = 500  # characters of a value that is shown: an error may have millions


def num(value: float | None) -> str:
    """A counted number: no more digits than it needs, three significant at most (a large one keeps all), empty if missing."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measured(value: float | None) -> str:
    """A measured number: three significant digits, zeros too (a large one keeps all), empty if missing."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def plural(number: float, what: str) -> str:
    """A count with its noun: "1 call", "5 calls"."""
    return f"{num(number)} {what}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A fraction as percent, empty if it is missing."""
    return "" if pd.isna(value) else f"{100 * value:.1f} %"


def interval(value: float, low: float, high: float) -> str:
    """A value with its interval in brackets, as far as they are there."""
    return measured(value) + (f" [{measured(low)}, {measured(high)}]" if pd.notna(low) and pd.notna(high) else "")


def one_line(value: object, longest: int = LONGEST) -> str:
    """A value as text on one line, cut at `longest` characters; empty if it is missing."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    text = " ".join((f"{value:g}" if isinstance(value, float) else str(value)).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
