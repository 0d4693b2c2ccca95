"""Figures of a report: quality against work and time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from bench.presentation.document import Figure
from bench.presentation.looks import drawing, legend_below, log_axes
from bench.presentation.text import measured, num, one_line, plural
from bench.records.columns import axis_of, title_of
from bench.reports.points import DASHED, FRONTIER, draw, failed, frontier, handles, interval_text, off_text, points
from bench.reports.sections import LABEL, Section, batch_sizes, disturbed, machines
from bench.reports.student_claims import TIMES, with_image_ms

CONVERGED = 50  # calls from which on a solver's quality counts as the converged one


class Panel(NamedTuple):
    """Axes of a figure: points, label and unit of x, and whether x was counted or is a time."""

    data: pd.DataFrame
    axis: str
    unit: str
    counted: bool


def _frontier_text(panel: Panel, sign: int) -> str:
    """Who is on the frontier and where: "by calls, left to right: ipndm (2, 3), unipc (5)"; only who, if it changes often."""
    data = panel.data[frontier(panel.data, sign)]
    if panel.data["label"].nunique() < 2:
        return f"Only {panel.data['label'].iloc[0]} was measured, so the frontier is its own."
    spans: list[tuple[str, list[str]]] = []
    for x, rows in data.groupby("x", sort=True):
        names = sorted({str(label).partition(" [")[0] for label in rows["label"]})
        name = rows["label"].iloc[0] if len(rows) == 1 else names[0] if len(names) == 1 else f"{len(names)} samplers alike"
        if not spans or spans[-1][0] != name:
            spans.append((name, []))
        spans[-1][1].append(num(float(str(x))))
    if len(spans) > 6:
        counts = data.groupby("label").size().sort_values(ascending=False, kind="stable")
        return f"On the frontier, with their number of points: {', '.join(f'{name} ({n})' for name, n in counts.items())}."
    shown = [f"{name} ({', '.join(at) if len(at) < 4 else f'{at[0]} to {at[-1]}'})" for name, at in spans]
    return f"On the frontier, by {panel.unit} from left to right: {', '.join(shown)}."


def converged(section: Section) -> pd.DataFrame:
    """The rows of at least CONVERGED calls, the best first."""
    rows = section.scored[section.scored["counted.calls"] >= CONVERGED]
    return rows.sort_values(["cost", "counted.calls", "label"], kind="stable")


def _quality_figure(section: Section, panels: Sequence[Panel], title: str, path: Path) -> Figure:
    """What ranks the section against each panel's x, side by side."""
    if section.metric is None:
        return Figure(title, None, f"no {section.quality} was measured.")
    good = [p for p in panels if p.data["x"].nunique() > 1]
    if not good:
        return Figure(title, None, f"fewer than two different values of {panels[0].unit} were measured.")
    sign, best = section.ranking.sign, converged(section)
    reference = best.iloc[0] if len(best) else None
    both = pd.concat([p.data.assign(axis=p.axis) for p in good])
    off = {index for p in good for index in p.data.index[failed(p.data, sign)]}
    within = both[~both.index.isin(off)]
    with drawing(path, height=4.5 if len(good) == 1 else 3.9) as fig:
        axes = fig.subplots(1, len(good), squeeze=False, sharey=True)[0]
        for ax, panel in zip(axes, good, strict=True):
            gone = pd.Series(panel.data.index.isin(off), index=panel.data.index)
            draw(ax, panel.data, section.looks, gone, sign=sign, counted=panel.counted)
            ax.set_xlabel(panel.axis)
            if reference is not None and reference["fd"] > 0:
                ax.axhline(reference["fd"], color="0.4", lw=1, ls=DASHED, zorder=1)
        for ax, panel in zip(axes, good, strict=True):  # the panels share their y axis
            ends = (panel.data["x_low"].min(), panel.data["x_high"].max()), (within["y_low"].min(), within["y_high"].max())
            log_axes(ax, *ends, at=list(panel.data["x"]) if panel.counted else None)
        axes[0].set_ylabel(f"{section.quality}, extractor {section.extractor} ({section.metric})")
        fig.suptitle(section.key())
        extra = [Line2D([], [], label="Pareto frontier", **FRONTIER)]
        if reference is not None:
            extra.append(Line2D([], [], color="0.4", lw=1, ls=DASHED, label=f"best at ≥ {CONVERGED} calls"))
        legend_below(fig, handles(both["label"], section.looks) + extra)
    text = [_frontier_text(p, sign) for p in good]
    if len(text) > 1:
        text = [f"{side}: {t}" for side, t in zip(("Left", "Right"), text, strict=True)]
    if len(good) < len(panels):
        text.append("The other panel is left out: its axis has fewer than two different values.")
    if reference is not None:
        what = "best" if len(best) > 1 else "only"
        text.append(
            f"The dashed line is the {what} quality measured with at least {CONVERGED} calls: {measured(reference['fd'])} "
            f"({reference['label']}, {plural(reference['counted.calls'], 'call')})."
        )
    text += [t for t in (off_text(good[0].data[good[0].data.index.isin(off)]), interval_text(both)) if t]
    text.append(
        "Faded points are dominated: another is as good and as cheap, and better in one of the two. That goes by the measured "
        "values of the quality; which of them are tied, the tables say."
    )
    if not all(p.counted for p in good):
        text.append("Of two times, one counts as shorter only where their intervals do not meet.")
    return Figure(title, path.name, " ".join(text), both)


def quality_figures(section: Section, out: Path, suffix: str) -> list[Figure]:
    """Quality against calls, teacher-equivalents and time; time once for each machine, without what is not valid."""
    ends, found = ("fd_low", "fd_high"), []
    for column in ("counted.calls", "counted.teacher_equivalents"):
        name = title_of(column)
        panel = Panel(points(section.scored, "label", column, "fd", ends), f"{axis_of(column)}, log scale", name, True)
        path = out / f"quality_{name.replace('-', '_')}{suffix}.png"
        found.append(_quality_figure(section, [panel], f"Quality against {name}", path))
    where = machines(section.rows)
    for number, (machine, every) in enumerate(where, 1):
        name = "Quality against time" + (f" on {one_line(' '.join(map(str, machine)), LABEL)}" if len(where) > 1 else "")
        path = out / f"quality_ms{suffix}{f'_machine{number}' if len(where) > 1 else ''}.png"
        rows = every[~disturbed(every)]
        if rows.empty:
            found.append(Figure(name, None, "the times of all rows are not valid."))
            continue
        figure = _quality_figure(section, time_panels(rows), name, path)
        if left := len(every) - len(rows):
            figure = replace(figure, caption=f"{figure.caption} Left out: {plural(left, 'row')} whose times are not valid.")
        found.append(figure)
    return found


def time_panels(rows: pd.DataFrame) -> list[Panel]:
    """The quality of rows of one machine against the latency of an image, and against its time in batches."""
    rows, ends = with_image_ms(rows.drop_duplicates(["timed", "steps"])), ("fd_low", "fd_high")
    one, many = (points(rows, "timed", f"{time}.median", "fd", ends, (f"{time}.ci_low", f"{time}.ci_high")) for time in TIMES)
    batch = f"ms per image at batch {batch_sizes(rows)}"
    return [Panel(one, axis_of("time.latency_ms.median"), "ms", False), Panel(many, batch, "ms", False)]
