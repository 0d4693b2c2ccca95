"""The main figure of a run with students: quality against depth, work and time at once, one-step methods beside solvers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, handle, legend_below, log_axes
from bench.presentation.series import Looks
from bench.presentation.text import plural
from bench.records.columns import axis_of
from bench.reports.points import DASHED, arrows, failed, frontier, interval_text, off_text, points
from bench.reports.quality_figures import CONVERGED
from bench.reports.sections import Section, batch_sizes, disturbed, one_machine
from bench.reports.student_claims import COUNTS, TIMES, with_image_ms

SOLVERS, FRONT = "0.72", "0.35"


def overview_figure(section: Section, out: Path, suffix: str) -> Figure:
    """Frechet distance against calls, teacher-equivalents and milliseconds (one image, and in batches), students in colour."""
    title, file = "Students and solvers, side by side", f"story{suffix}.png"
    rows = section.scored
    trained = rows["student.name"].notna()
    if trained.all() or not trained.any():
        return Figure(title, None, "it takes scored solvers and scored students.")
    if section.ranking.sign < 0:
        return Figure(title, None, f"it is drawn of distances only, and more {section.quality} is better.")
    if not one_machine(rows):
        return Figure(title, None, "the rows were timed on different machines.")
    rows, invalid = with_image_ms(rows), disturbed(rows)
    names = (*map(axis_of, (*COUNTS, "time.latency_ms.median")), f"ms per image at batch {batch_sizes(rows)}")
    panels = [points(rows, "label", c, "fd", ("fd_low", "fd_high")) for c in COUNTS]
    for time in TIMES:
        ends = (f"{time}.ci_low", f"{time}.ci_high")
        panels.append(points(rows[~invalid], "label", f"{time}.median", "fd", ("fd_low", "fd_high"), ends))
    off = _off(panels[0], trained)
    reference = rows[~trained & (rows["counted.calls"] >= CONVERGED)]["fd"].min()
    with drawing(out / file, height=6.6) as fig:
        axes = fig.subplots(2, 2, sharey=True)
        shown = panels[0][~off]
        low = min(shown["y"].min(), shown["y_low"][trained].min())
        for ax, data, name, counted in zip(axes.flat, panels, names, (True, True, False, False), strict=True):
            if len(data):
                _panel(ax, data, trained[data.index], off.reindex(data.index, fill_value=False), section.looks)
                across = (data["x"].min(), data["x"].max())
                log_axes(ax, across, (low, max(low, shown["y"].max())), at=list(data["x"]) if counted else None)
            ax.set_xlabel(f"{name}, log scale")
            if pd.notna(reference):
                ax.axhline(reference, color="0.4", lw=1, ls=DASHED, zorder=1)
        for ax in axes[:, 0]:
            ax.set_ylabel(section.distance)
        fig.suptitle(section.key())
        entries = [handle(section.looks[label], label) for label in sorted(set(rows["label"][trained]))]
        entries.append(Line2D([], [], color=SOLVERS, marker="o", ms=3.5, ls="", label="solvers without training"))
        entries.append(Line2D([], [], color=FRONT, lw=1.4, drawstyle="steps-post", label="their frontier"))
        if pd.notna(reference):
            entries.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label=f"best solver at ≥ {CONVERGED} calls"))
        legend_below(fig, entries)
    columns = [*COUNTS, *(f"{time}.median" for time in TIMES)]
    data = rows[["label", "student.name", "fd", "fd_low", "fd_high", *columns]]
    times = [c for c in columns if c not in COUNTS]
    data = data.assign(**{c: data[c].mask(invalid) for c in times})
    return Figure(title, file, _caption(panels, trained, off, invalid), data)


def _off(data: pd.DataFrame, trained: pd.Series) -> "pd.Series[bool]":
    """Points without room: those that failed, and solvers that are worse than the solvers of the fewest calls."""
    off, solvers = failed(data), ~trained[data.index]
    first = data[solvers & ~off]
    if len(first):
        top = max(first["y"][first["x"] == first["x"].min()].max(), data["y"][~solvers & ~off].max())
        off |= solvers & (data["y"] > top)
    return off


def _panel(ax: Axes, data: pd.DataFrame, trained: pd.Series, off: pd.Series, looks: Looks) -> None:
    """Solvers in grey with their frontier, students in colour with their intervals, what has no room as arrows."""
    solvers, students = data[~trained].sort_index(), data[trained]
    ax.plot(solvers["x"], solvers["y"], "o", ms=3.2, mew=0, color=SOLVERS, zorder=2)
    front = solvers[frontier(solvers)].sort_values("x")
    if len(front):
        x, y = [*front["x"], data["x"].max()], [*front["y"], front["y"].iloc[-1]]
        ax.plot(x, y, drawstyle="steps-post", color=FRONT, lw=1.4, zorder=2.5)
    for label, own in students.groupby("label", sort=True):
        style = looks[str(label)]
        ax.plot(own["x"], own["y"], c=style.color, ls=style.line, lw=0.9, zorder=3)
        ax.errorbar(
            own["x"], own["y"], yerr=[own["y"] - own["y_low"], own["y_high"] - own["y"]], fmt=style.marker, ms=6, mew=0.7,
            elinewidth=0.9, color=style.color, fillstyle=style.fill, markerfacecoloralt="white", zorder=4,
        )  # fmt: skip
    colours = [looks[label].color if own else SOLVERS for label, own in zip(data["label"][off], trained[off], strict=True)]
    arrows(ax, data[off], colours)


def _caption(panels: Sequence[pd.DataFrame], trained: pd.Series, off: pd.Series, invalid: pd.Series) -> str:
    counted = panels[0]
    text = [
        "The same images four times: by sequential depth, by total work, by the latency of one image and by time in batches. "
        "A student below the grey steps has a smaller distance than every measured solver of its cost or less, where the steps "
        "have begun; which of these differences are beyond chance, and against which solver, the table of students beside "
        "solvers tells."
    ]
    if bars := interval_text(counted[trained[counted.index]], "y"):
        text.append(bars)
    text += [t for t in (off_text(counted[off]),) if t]
    if left := int(invalid.sum()):
        text.append(f"The panels of time leave out {plural(left, 'row')} whose times are not valid.")
    return " ".join(text)
