"""The main figure of a run with students: quality against depth, work and time at once, one-step methods beside solvers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, legend_below, log_axes, style_of
from bench.presentation.text import measured, plural
from bench.records.columns import axis_of
from bench.records.differences import difference
from bench.reports.quality_figures import CONVERGED, DASHED, points
from bench.reports.ranking import pareto, winner
from bench.reports.sections import Section, batch_sizes, machines

SOLVERS, FRONT = "0.72", "0.35"


def overview_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Frechet distance against calls, teacher-equivalents and milliseconds (one image, and in batches), students in colour."""
    title, file = "Students and solvers, side by side", f"story{suffix}.png"
    rows = section.scored.copy()
    trained = rows["student.name"].notna()
    if trained.all() or not trained.any():
        return Figure(title, None, "it takes scored solvers and scored students.")
    if section.ranking.sign < 0:
        return Figure(title, None, f"it is drawn of distances only, and more {section.quality} is better.")
    if len(machines(rows)) > 1:
        return Figure(title, None, "the rows were timed on different machines.")
    rows["image_ms"] = 1000 / rows["time.images_per_s.median"]
    measured_ones = ("counted.calls", "counted.teacher_equivalents", "time.latency_ms.median")
    panels = (*((c, axis_of(c)) for c in measured_ones), ("image_ms", f"ms per image at batch {batch_sizes(rows)}"))
    reference = rows[~trained & (rows["counted.calls"] >= CONVERGED)]["fd"].min()
    with drawing(out / file, height=6.6) as fig:
        axes = fig.subplots(2, 2, sharey=True)
        for ax, (column, name) in zip(axes.flat, panels, strict=True):
            _panel(ax, rows, column)
            ax.set_xlabel(f"{name}, log scale")
            if pd.notna(reference):
                ax.axhline(reference, color="0.4", lw=1, ls=DASHED, zorder=1)
        for ax in axes[:, 0]:
            ax.set_ylabel(section.distance)
        fig.suptitle(section.key())
        handles = [style_of(label).handle(label) for label in sorted(set(rows["label"][trained]))]
        handles.append(Line2D([], [], color=SOLVERS, marker="o", ms=3.5, ls="", label="solvers without training"))
        handles.append(Line2D([], [], color=FRONT, lw=1.4, drawstyle="steps-post", label="their frontier"))
        if pd.notna(reference):
            handles.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label=f"best solver at ≥ {CONVERGED} calls"))
        legend_below(fig, handles)
    data = rows[["label", "student.name", "fd", "fd_low", "fd_high", *(column for column, _ in panels)]]
    return Figure(title, file, _caption(rows, trained, panels), data)


def _panel(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    """Solvers in grey with their frontier, students in colour with their intervals."""
    data = points(rows, "label", column, "fd", ("fd_low", "fd_high"))
    if data.empty:
        return
    trained = rows.loc[data.index, "student.name"].notna()
    solvers, students = data[~trained].sort_index(), data[trained]
    ax.plot(solvers["x"], solvers["y"], "o", ms=3.2, mew=0, color=SOLVERS, zorder=2)
    front = solvers[pareto(solvers, "x", "y")].sort_values("x")
    right = data["x"].max()
    if len(front):
        x, y = [*front["x"], right], [*front["y"], front["y"].iloc[-1]]
        ax.plot(x, y, drawstyle="steps-post", color=FRONT, lw=1.4, zorder=2.5)
    for label, own in students.groupby("label", sort=True):
        style = style_of(str(label))
        ax.plot(own["x"], own["y"], c=style.color, ls=style.line, lw=0.9, zorder=3)
        ax.errorbar(
            own["x"], own["y"], yerr=[own["y"] - own["y_low"], own["y_high"] - own["y"]], fmt=style.marker, ms=6, mew=0.7,
            elinewidth=0.9, color=style.color, fillstyle=style.fill, markerfacecoloralt="white", zorder=4,
        )  # fmt: skip
    low = min(data["y"].min(), students["y_low"].min())
    log_axes(ax, (data["x"].min(), right), (low, max(low, _top(rows.loc[data.index]))))


def _top(rows: pd.DataFrame) -> float:
    """The largest Frechet distance to show: that of the cheapest solvers, or of a student."""
    solvers = rows[rows["student.name"].isna()]
    cheapest = solvers[solvers["counted.calls"] == solvers["counted.calls"].min()]
    return max(cheapest["fd"].max(), rows["fd"][rows["student.name"].notna()].max())


def _caption(rows: pd.DataFrame, trained: pd.Series, panels: Sequence[tuple[str, str]]) -> str:
    """Which students lie below the solvers' frontier, panel by panel."""
    text = [
        "The same images four times: by sequential depth, by total work, by the latency of one image and by time in batches. "
        "A student below the grey steps is better than every measured solver of its cost or less; bars are 95 % intervals."
    ]
    if above := int((rows["fd"] > _top(rows)).sum()):
        text.append(f"Above the figure: {plural(above, 'solver point')}, worse than a single call.")
    for column, name in panels:
        beat = []
        for _, student in rows[trained & rows[column].notna()].sort_values(["label", "counted.calls"]).iterrows():
            best = winner(rows[~trained & (rows[column] <= student[column])])
            if best is None or (student["fd"] < best.row["fd"] and not difference(student, best.row).tie):
                beat.append(f"{student['label']} ({plural(student['counted.calls'], 'call')}, {measured(student['fd'])})")
        text.append(f"By {name.partition(' (')[0]}, beyond chance (95 %): {', '.join(beat) if beat else 'none'}.")
    return " ".join(text)
