"""What can be played with, as the plain values that the script of a page draws."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.colors import to_hex, to_rgb

from bench.presentation.chart import Chart, Panel, Records, Slider
from bench.presentation.document import Inline
from bench.presentation.series import Style

SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "h": "hexagon", "*": "star", "d": "diamond-tall",
    "H": "hexagon2", "8": "octagon",
}  # fmt: skip
"""Matplotlib's markers by plotly's names."""
PAPER = {"light": "#ffffff", "dark": "#14181d"}
"""Backgrounds of the page's two themes."""
CONTRAST = 3.0
"""Of a series against its background, as WCAG asks of what is not text."""
DIGITS = 5
DASHES = {"none": None, "-": "solid", (0, (4, 1.5)): "dash", (0, (1, 1)): "dot"}


def luminance(colour: str) -> float:
    """Relative luminance by WCAG, 0 to 1."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast of two colours by WCAG, 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def seen_on(colour: str, paper: str) -> str:
    """A colour, moved away from its background until it has CONTRAST with it."""
    towards = 0.0 if luminance(paper) > 0.5 else 1.0
    for share in (i / 20 for i in range(21)):
        r, g, b = ((1 - share) * v + share * towards for v in to_rgb(colour))
        found = to_hex((r, g, b))
        if contrast(found, paper) >= CONTRAST:
            return found
    raise AssertionError("black on white has more")


def plain(values: Iterable[Any]) -> list[Any]:
    """Values as JSON has them: numbers in DIGITS digits, None for what is missing or no finite number."""
    return [_plain(v) for v in values]


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, float):
        rounded = float(f"{value:.{DIGITS}g}")  # of nearly the largest number there is to infinity
        return (rounded if math.isfinite(rounded) else value) if math.isfinite(value) else None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None if pd.isna(value) else str(value)


def looks(styles: Mapping[str, Style]) -> dict[str, Any]:
    """Colour in both themes, symbol and dash (None where points are not joined) of each series."""
    found = {}
    for label, style in styles.items():
        symbol = SYMBOLS[style.marker] + ("" if style.fill == "full" else "-open")
        colours = {theme: seen_on(style.color, paper) for theme, paper in PAPER.items()}
        found[label] = {**colours, "symbol": symbol, "dash": DASHES.get(style.line, "dash")}
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    points = panel.points
    columns = [c for c in ("x", "x_low", "x_high", "y", "y_low", "y_high", "front") if c in points]
    series = [
        {"label": label, "rows": plain(own.index), **{c: plain(own[c]) for c in columns}}
        for label, own in points.groupby("label", sort=True)
    ]
    lines = [{"name": line.name, "x": plain(line.x), "y": plain(line.y), "look": line.look} for line in panel.lines]
    return {"x": panel.x_title, "y": panel.y_title, "series": series, "lines": lines}


def chart_data(chart: Chart) -> dict[str, Any]:
    """A chart's panels, and of its series how they look and of which family they are."""
    return {
        "panels": [_panel(p) for p in chart.panels],
        "about": {str(row): list(lines) for row, lines in chart.about.items()},
        "families": dict(chart.families),
        "looks": looks(chart.styles),
    }


def slider_data(slider: Slider, inline: Callable[[Inline], str]) -> dict[str, Any]:
    """A slider's positions, their texts as HTML."""
    choices = [
        {
            "value": c.value,
            "told": c.told,
            "text": inline(c.text),
            "remarks": [inline(r) for r in c.remarks],
            "rows": plain(c.rows),
        }
        for c in slider.choices
    ]
    return {"name": slider.name, "choices": choices, "start": slider.start, "panel": _panel(slider.panel)}


def records_data(records: Records) -> dict[str, Any]:
    """All columns and rows to take away, numbers in full."""
    rows = records.data.astype(object).where(records.data.notna(), None).to_numpy().tolist()
    told = [[v if isinstance(v, str | bool | int) or v is None else _number(v) for v in row] for row in rows]
    return {"name": records.name, "columns": list(records.data.columns), "rows": told}


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return (int(value) if value.is_integer() and abs(value) < 2**53 else value) if math.isfinite(value) else None
    return str(value)
