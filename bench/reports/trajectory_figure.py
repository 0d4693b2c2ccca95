"""Figure of a report: the trajectory error against calls."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, legend_below
from bench.presentation.text import measured, num, plural
from bench.records.columns import axis_of
from bench.reports.answer import BUDGETS
from bench.reports.points import DASHED, draw, failed, handles, interval_text, off_text, points
from bench.reports.sections import Section


def _guides(ax: Axes, x: float, y: float) -> None:
    """Light lines of slope -1, -2 and -3 (log-log) from (x, y) to the edge of the axes, with their slopes."""
    right, bottom = ax.get_xlim()[1], ax.get_ylim()[0]
    for order in (1, 2, 3):
        end = min(right, x * (y / bottom) ** (1 / order))
        ax.plot([x, end], [y, y * (end / x) ** -order], color="0.75", lw=1.2, ls=(0, (2, 2)), zorder=1)
        at = x * (end / x) ** 0.9
        ax.annotate(  # below and left of the falling line, so never on it
            f"slope −{order}", (at, y * (at / x) ** -order), (-5, -3), textcoords="offset points", ha="right", va="top",
            color="0.4", fontsize=7.5, zorder=1.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _smallest(data: pd.DataFrame, calls: float) -> str:
    """The smallest error with at most so many calls, and what else its interval meets."""
    data = data.sort_values(["y", "x", "label"], kind="stable")
    r, others = data.iloc[0], data.iloc[1:]
    text = f"Smallest with at most {plural(calls, 'call')}: {measured(r['y'])}, {r['label']} ({num(r['x'])})"
    meet = others[others["y_low"] <= r["y_high"]]
    if others.empty:
        return f"{text}, the only one measured."
    if meet.empty:
        return f"{text}."
    names = ", ".join(f"{o['label']} ({num(o['x'])})" for _, o in meet.head(3).iterrows())
    return f"{text}; its interval meets those of {names}{f' and {len(meet) - 3} more' if len(meet) > 3 else ''}."


def trajectory_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Distance from the converged ODE solution against calls, deterministic samplers only."""
    title, file, name = "Trajectory error against calls", f"trajectory_error{suffix}.png", "quality.trajectory_error"
    rows = section.rows[section.rows["deterministic"].eq(True)].drop_duplicates(["label", "steps"])
    data = points(rows, "label", "counted.calls", f"{name}.value", (f"{name}.ci_low", f"{name}.ci_high"))
    if data["x"].nunique() < 2:
        return Figure(title, None, "fewer than two different numbers of calls have a trajectory error.")
    floor, off = rows[f"{name}.reference_error"].max(), failed(data)
    with drawing(out / file, height=4.5) as fig:
        ax = fig.subplots()
        draw(ax, data, section.looks, off, steps=False)
        ax.set_ylim(bottom=0.5 * ax.get_ylim()[0])  # room for the names of the guides
        _guides(ax, data["x"].min(), data["y"][~off].max())
        extra = []
        if floor > ax.get_ylim()[0]:
            ax.axhline(floor, color="0.4", lw=1, ls=DASHED, zorder=1)
            extra.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label="reference's own error"))
        ax.set(xlabel=f"{axis_of('counted.calls')}, log scale", ylabel=axis_of(f"{name}.value"))
        ax.set_title(section.key())
        legend_below(fig, handles(data["label"], section.looks) + extra)
    text = [
        "Relative RMSE to the converged ODE solution from the same noise: the solver's own error, whatever the teacher's. "
        "A method of order p falls along the guide of slope −p once its steps are small enough."
    ]
    for calls in dict.fromkeys(data["x"][data["x"] <= most].max() for most in BUDGETS if (data["x"] <= most).any()):
        text.append(_smallest(data[data["x"] <= calls], calls))
    text += [t for t in (off_text(data[off]), interval_text(data)) if t]
    if pd.notna(floor):
        text.append(f"The reference's own error is at most {measured(floor)}; nothing below that can be told apart.")
    return Figure(title, file, " ".join(text), data)
