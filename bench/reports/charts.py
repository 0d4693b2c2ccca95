"""Charts of a page that can be played with, of the data that the figures of a report carry."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from bench.presentation.chart import Chart, Line, Panel
from bench.presentation.document import Figure
from bench.presentation.text import measured, percent
from bench.records.columns import axis_of
from bench.reports.advice_text import called, milliseconds, quality, work
from bench.reports.points import frontier, points
from bench.reports.quality_figures import CONVERGED, converged
from bench.reports.sections import Section

ERROR = "quality.trajectory_error"
OFF = r" ?(Failed and off|Off) the axes, where the arrows point: .*?\.(?= [A-Z]|$)"
"""What a caption tells of points that have no room in a picture."""


def charted(section: Section, figure: Figure) -> Figure:
    """A figure with its chart, where it is of quality against a cost, or of trajectory errors."""
    data = figure.data
    if figure.file is None or data is None or not {"label", "x", "y"} <= {*data}:
        return figure
    if "axis" in data:
        axes = data.groupby("axis", sort=False)
        panels = [with_frontier(section, own.drop(columns="axis"), str(axis).removesuffix(", log scale")) for axis, own in axes]
    else:
        panels = [_errors(section, data)]
    caption = re.sub(OFF, "", figure.caption) if isinstance(figure.caption, str) else figure.caption
    if len(panels) > 1 and isinstance(caption, str):  # on a narrow page one is below the other
        caption = caption.replace("Left: ", "First: ", 1).replace("Right: ", "Second: ", 1)
    return replace(figure, chart=replace(chart_of(section, panels), caption=caption))


def chart_of(section: Section, panels: Sequence[Panel]) -> Chart:
    """A chart of rows of a section."""
    labels = sorted({label for panel in panels for label in panel.points["label"]})
    shown = {int(str(i)) for panel in panels for i in panel.points.index}
    told = about(section, section.rows[section.rows.index.isin(shown)])
    family = {label: f for c in ("label", "timed") for label, f in zip(section.rows[c], section.rows["family"], strict=True)}
    return Chart(panels, told, {label: family[label] for label in labels}, {label: section.looks[label] for label in labels})


def _errors(section: Section, data: pd.DataFrame) -> Panel:
    """Trajectory errors with lines of the slopes of orders 1 to 3, and the error of the reference itself."""
    left, right, bottom = data["x"].min(), data["x"].max(), data["y"].min()
    top = data["y"][data["x"] == left].max()
    lines = []
    for order in (1, 2, 3):
        end = min(right, left * (top / bottom) ** (1 / order))
        lines.append(Line("order 1" if order == 1 else str(order), [left, end], [top, top * (end / left) ** -order], "guide"))
    floor = section.rows[f"{ERROR}.reference_error"].max()
    if floor > bottom / 2:
        lines.append(Line("reference's own error", [left, right], [floor, floor], "level"))
    return Panel(axis_of("counted.calls"), axis_of(f"{ERROR}.value"), data, lines)


def panel(
    section: Section, rows: pd.DataFrame, label: str, x: str, ends: tuple[str, str] | None = None, name: str = ""
) -> Panel:
    """Quality against a cost, with the frontier of all and of what takes no training."""
    data = points(rows, label, x, "fd", ("fd_low", "fd_high"), ends)
    return with_frontier(section, data, name or axis_of(x))


def with_frontier(section: Section, data: pd.DataFrame, name: str) -> Panel:
    """A panel of `points` of quality against `name`."""
    sign = section.ranking.sign
    data = data.assign(front=frontier(data, sign))
    trained = section.rows["student.name"].notna().reindex(data.index, fill_value=False)
    lines = [_frontier("frontier of all", "frontier", data, data["x"].max(), sign)]
    if trained.any() and not trained.all():
        lines.append(_frontier("frontier without training", "other frontier", data[~trained], data["x"].max(), sign))
    best = converged(section)
    if len(best) and best["fd"].iloc[0] > 0:
        level = [float(best["fd"].iloc[0])] * 2
        lines.append(Line(f"best at ≥ {CONVERGED} calls", [data["x"].min(), data["x"].max()], level, "level"))
    return Panel(name, section.distance, data, lines)


def _frontier(name: str, look: str, data: pd.DataFrame, right: float, sign: int) -> Line:
    steps = data[frontier(data, sign)].sort_values("x")
    x, y = [*steps["x"], right], [*steps["y"], *steps["y"].iloc[-1:]]
    return Line(name, x, y, "frontier" if look == "frontier" else "other frontier")


def about(section: Section, rows: pd.DataFrame) -> dict[int, list[str]]:
    """What a reader sees of each row that is pointed at, line by line."""
    return {int(str(index)): _about(section, row) for index, row in rows.iterrows()}


def _about(section: Section, row: pd.Series) -> list[str]:
    error, agreement = row["quality.trajectory_error.value"], row["quality.label_agreement.value"]
    invalid = row.get("time.conditions.valid") in (False,)  # None and NaN: not known
    told = {
        f"{section.quality} {{}}": quality(section, row).removeprefix(f"{section.quality} ") if pd.notna(row["fd"]) else "",
        "{}": milliseconds(row) or ("times marked invalid" if invalid else ""),
        "{} images/s": "" if invalid else measured(row["time.images_per_s.median"]),
        "trajectory error {}": measured(error),
        "label agreement {}": percent(agreement),
        "grid {}": row["grid"] if isinstance(row["grid"], str) else "",
        "trained: {}": row["student.name"] if isinstance(row["student.name"], str) else "",
    }
    lines = [called(row), work(row), *(text.format(v) for text, v in told.items() if v)]
    return [_escaped(line) for line in lines]


def _escaped(text: str) -> str:
    """Plotly reads a few tags in what it shows."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
