"""Figures of a report: quality against work and time, and the trajectory error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, legend_below, log_axes, style_of
from bench.presentation.text import measured, num, one_line, plural
from bench.records.columns import axis_of, title_of
from bench.reports.ranking import pareto
from bench.reports.sections import LABEL, Section, batch_sizes, machines

CONVERGED = 50  # calls from which on a solver's quality counts as the converged one
FADED = 0.4  # opacity of dominated points
FRONTIER: dict[str, Any] = {"color": "0.7", "lw": 2.5}
Ends = tuple[str, str] | None  # columns of the interval around a value, if it has one
DASHED = (0, (6, 3))


def points(rows: pd.DataFrame, label: str, x: str, y: str, y_ends: Ends, x_ends: Ends = None) -> pd.DataFrame:
    """Columns label, x, x_low, x_high, y, y_low, y_high of the rows that have both; clamped to be positive for a log axis."""
    data = pd.DataFrame({"label": rows[label]})
    for own, column, ends in (("x", x, x_ends), ("y", y, y_ends)):
        low, high = ends or (column, column)
        value, below, above = (rows[c].replace([np.inf, -np.inf], np.nan) for c in (column, low, high))
        data[own] = value
        data[f"{own}_low"] = below.fillna(value).clip(upper=value)
        data[f"{own}_high"] = above.fillna(value).clip(lower=value)
    data = data[data["x"].notna() & data["y"].notna()]
    for own in ("x", "y"):
        names = [own, f"{own}_low", f"{own}_high"]
        smallest = data[own][data[own] > 0].min()
        data[names] = data[names].clip(lower=smallest / 2 if pd.notna(smallest) else 1e-9)
    return data.sort_values(["label", "x"], kind="stable")


def _draw(ax: Axes, data: pd.DataFrame, frontier: bool = True, sign: int = 1) -> None:
    """One line a series, one marker a point with its interval; the frontier as steps, all points behind it faded."""
    front = pareto(data, "x", "y", sign) if frontier else pd.Series(True, index=data.index)
    for label, rows in data.groupby("label", sort=True):
        style = style_of(str(label))
        ax.plot(rows["x"], rows["y"], c=style.color, ls=style.line, lw=0.9, alpha=FADED if frontier else 0.8, zorder=2)
        for kept, alpha, size in ((~front[rows.index], FADED, 3.5), (front[rows.index], 1.0, 5.0)):
            shown = rows[kept]
            across, along = ([shown[v] - shown[f"{v}_low"], shown[f"{v}_high"] - shown[v]] for v in ("x", "y"))
            ax.errorbar(
                shown["x"], shown["y"], xerr=across, yerr=along, fmt=style.marker, ms=size, mew=0.7, elinewidth=0.8,
                color=style.color, fillstyle=style.fill, markerfacecoloralt="white", alpha=alpha, zorder=4 if alpha == 1 else 3,
            )  # fmt: skip
    if frontier:
        steps = data[front].sort_values("x")
        ax.plot(steps["x"], steps["y"], drawstyle="steps-post", zorder=1.5, **FRONTIER)
    log_axes(ax, (data["x_low"].min(), data["x_high"].max()), (data["y_low"].min(), data["y_high"].max()))


def _frontier_text(data: pd.DataFrame, unit: str, sign: int) -> str:
    """Who is on the frontier and where: "by calls, left to right: ipndm (2, 3), unipc (5)"; only who, if it changes often."""
    spans: list[tuple[str, list[str]]] = []
    for x, rows in data[pareto(data, "x", "y", sign)].groupby("x", sort=True):
        names = sorted({str(label).partition(" [")[0] for label in rows["label"]})
        name = rows["label"].iloc[0] if len(rows) == 1 else names[0] if len(names) == 1 else f"{len(names)} samplers alike"
        if not spans or spans[-1][0] != name:
            spans.append((name, []))
        spans[-1][1].append(num(float(str(x))))
    if len(spans) > 6:
        counts = data[pareto(data, "x", "y", sign)].groupby("label").size().sort_values(ascending=False, kind="stable")
        return f"On the frontier, with their number of points: {', '.join(f'{name} ({n})' for name, n in counts.items())}."
    shown = [f"{name} ({', '.join(at) if len(at) < 4 else f'{at[0]} to {at[-1]}'})" for name, at in spans]
    return f"On the frontier, by {unit} from left to right: {', '.join(shown)}."


def _handles(labels: pd.Series) -> list[Line2D]:
    """An entry of the legend for each series, by name."""
    return [style_of(label).handle(label) for label in sorted(set(labels))]


Panel = tuple[pd.DataFrame, str, str]  # points, label of the x axis, unit in the caption


def _reference(section: Section) -> pd.Series | None:
    """The best row of at least CONVERGED calls."""
    rows = section.scored[section.scored["counted.calls"] >= CONVERGED]
    return rows.sort_values(["cost", "counted.calls", "label"], kind="stable").iloc[0] if len(rows) else None


def _quality_figure(section: Section, panels: Sequence[Panel], title: str, path: Path) -> Figure:
    """What ranks the section against each panel's x, side by side."""
    if section.metric is None:
        return Figure(title, None, f"no {section.quality} was measured.")
    good = [p for p in panels if p[0]["x"].nunique() > 1]
    if not good:
        return Figure(title, None, f"fewer than two different values of {panels[0][2]} were measured.")
    reference = _reference(section)
    both = pd.concat([data.assign(axis=axis) for data, axis, _ in good])
    with drawing(path, height=4.5 if len(good) == 1 else 3.9) as fig:
        axes = fig.subplots(1, len(good), squeeze=False, sharey=True)[0]
        for ax, (data, axis, _) in zip(axes, good, strict=True):
            _draw(ax, data, sign=section.ranking.sign)
            ax.set_xlabel(axis)
            if reference is not None and reference["fd"] > 0:
                ax.axhline(reference["fd"], color="0.4", lw=1, ls=DASHED, zorder=1)
        if len(good) > 1:  # the panels share their y axis
            for ax, (data, *_) in zip(axes, good, strict=True):
                log_axes(ax, (data["x_low"].min(), data["x_high"].max()), (both["y_low"].min(), both["y_high"].max()))
        axes[0].set_ylabel(f"{section.quality}, extractor {section.extractor} ({section.metric})")
        fig.suptitle(section.key())
        extra = [Line2D([], [], label="Pareto frontier", **FRONTIER)]
        if reference is not None:
            extra.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label=f"best at ≥ {CONVERGED} calls"))
        legend_below(fig, _handles(both["label"]) + extra)
    text = [_frontier_text(data, unit, section.ranking.sign) for data, _, unit in good]
    if len(text) > 1:
        text = [f"{side}: {t}" for side, t in zip(("Left", "Right"), text, strict=True)]
    if len(good) < len(panels):
        text.append("The other panel is left out: its axis has fewer than two different values.")
    if reference is not None:
        text.append(
            f"The dashed line is the best quality measured with at least {CONVERGED} calls: {measured(reference['fd'])} "
            f"({reference['label']}, {plural(reference['counted.calls'], 'call')})."
        )
    text.append(
        "Bars are 95 % intervals. Faded points are dominated: another is as good and as cheap, and better in one of the two."
    )
    return Figure(title, path.name, " ".join(text), both)


def quality_figures(section: Section, out: Path, suffix: str) -> list[Figure]:
    """Quality against calls, teacher-equivalents and time; time once for each machine."""
    ends, found = ("fd_low", "fd_high"), []
    for column in ("counted.calls", "counted.teacher_equivalents"):
        name = title_of(column)
        panel = (points(section.scored, "label", column, "fd", ends), f"{axis_of(column)}, log scale", name)
        path = out / f"quality_{name.replace('-', '_')}{suffix}.png"
        found.append(_quality_figure(section, [panel], f"Quality against {name}", path))
    where = machines(section.rows)
    for number, (machine, rows) in enumerate(where, 1):
        rows = rows.drop_duplicates(["timed", "steps"]).copy()
        for end in ("median", "ci_low", "ci_high"):
            rows[f"image_ms.{end}"] = 1000 / rows[f"time.images_per_s.{end}"]
        latency, each = "time.latency_ms", "image_ms"  # the slowest rate is the longest time: its ends change places
        one = points(rows, "timed", f"{latency}.median", "fd", ends, (f"{latency}.ci_low", f"{latency}.ci_high"))
        many = points(rows, "timed", f"{each}.median", "fd", ends, (f"{each}.ci_high", f"{each}.ci_low"))
        panels = [(one, axis_of(f"{latency}.median"), "ms"), (many, f"ms per image at batch {batch_sizes(rows)}", "ms")]
        name = "Quality against time" + (f" on {one_line(' '.join(map(str, machine)), LABEL)}" if len(where) > 1 else "")
        path = out / f"quality_ms{suffix}{f'_machine{number}' if len(where) > 1 else ''}.png"
        found.append(_quality_figure(section, panels, name, path))
    return found


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


def trajectory_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Distance from the converged ODE solution against calls, deterministic samplers only."""
    title, file, name = "Trajectory error against calls", f"trajectory_error{suffix}.png", "quality.trajectory_error"
    rows = section.rows[section.rows["deterministic"].eq(True)].drop_duplicates(["label", "steps"])
    data = points(rows, "label", "counted.calls", f"{name}.value", (f"{name}.ci_low", f"{name}.ci_high"))
    if data["x"].nunique() < 2:
        return Figure(title, None, "fewer than two different numbers of calls have a trajectory error.")
    floor = rows[f"{name}.reference_error"].max()
    with drawing(out / file, height=4.5) as fig:
        ax = fig.subplots()
        _draw(ax, data, frontier=False)
        ax.set_ylim(bottom=0.5 * ax.get_ylim()[0])  # room for the names of the guides
        _guides(ax, data["x"].min(), data["y"].max())
        extra = []
        if floor > ax.get_ylim()[0]:
            ax.axhline(floor, color="0.4", lw=1, ls=DASHED, zorder=1)
            extra.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label="reference's own error"))
        ax.set(xlabel=f"{axis_of('counted.calls')}, log scale", ylabel=axis_of(f"{name}.value"))
        ax.set_title(section.key())
        legend_below(fig, _handles(data["label"]) + extra)
    text = [
        "Relative RMSE to the converged ODE solution from the same noise: the solver's own error, whatever the teacher's. "
        "A method of order p falls along the guide of slope −p once its steps are small enough."
    ]
    for calls in (5, 10, 20):
        within = data[data["x"] <= calls].sort_values(["y", "x", "label"], kind="stable")
        if len(within):
            r = within.iloc[0]
            text.append(f"Smallest with at most {calls} calls: {measured(r['y'])}, {r['label']} ({num(r['x'])}).")
    if pd.notna(floor):
        text.append(f"The reference's own error is at most {measured(floor)}; nothing below that can be told apart.")
    return Figure(title, file, " ".join(text), data)
