"""Published FIDs beside a run: hollow, with their sources, never joined to what was measured; lines within one group alone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D

from bench.presentation.chart import Chart, Panel
from bench.presentation.document import Block, Figure, Heading, Paragraph
from bench.presentation.looks import drawing, handle, legend_below, log_axes
from bench.presentation.series import COLOURS, LINES, MARKERS, Style
from bench.publications.published import CAVEAT, GROUPS, published
from bench.records.ranking import FRECHET
from bench.reports.points import points
from bench.reports.sections import Section

LINED = "A"
"""The group whose methods are lines: it alone has the solvers from 3 to 10 evaluations, on one teacher, by one code."""
MOST = 64
"""Evaluations that are drawn at most."""
FACTS = ("method", "teacher", "sampler_settings", "source_type", "source")
X_TITLE, Y_TITLE = "network evaluations (sequential)", "FID (Inception)"


def literature_blocks(groups: Sequence[Section], dataset: str, out: Path) -> list[Block]:
    """The published results of a data set, with measured rows on the same axes where these are FIDs, too.

    Raises:
        UserError: no results of this data set.
    """
    rows = published(dataset)
    rows = rows[(rows["nfe"] <= MOST) & (rows["group"] != "")].sort_values("source_type", kind="stable").reset_index(drop=True)
    fids = [s for s in groups if s.ranking == FRECHET and s.extractor == "inception"]
    others = sorted({s.extractor for s in groups if s.metric and s not in fids})
    why = "No FID was measured here."
    if others:
        why = f"Measured here were distances in the features of {', '.join(others)}: no FIDs, so they are not on these axes."
    if fids:
        why = (
            "Filled points were measured here. Their teacher, reference and number of images are not those of publications: "
            "read their order, not their distance to the hollow ones."
        )
    return [Heading(2, f"Published results: {dataset}"), Paragraph(CAVEAT), _figure(rows, fids, dataset, out), Paragraph(why)]


def _figure(rows: pd.DataFrame, fids: Sequence[Section], dataset: str, out: Path) -> Figure:
    title, file = f"Published FIDs, {dataset}", f"literature_{dataset}.png"
    labels = [f"{m} [{g}]" if g == LINED else f"group {g}" for m, g in zip(rows["method"], rows["group"], strict=True)]
    data = pd.DataFrame({"label": labels, **dict.fromkeys(("x", "x_low", "x_high"), rows["nfe"])})
    data = data.assign(**dict.fromkeys(("y", "y_low", "y_high"), rows["fid"]), front=True)
    twice = data["label"].str.endswith("]") & data.duplicated(["label", "x"])  # told by two sources, the nearer one first
    data = data[~twice].sort_values(["label", "x"], kind="stable")
    about = {int(str(i)): [str(row[c]) for c in FACTS if row[c]] for i, row in rows.iterrows()}
    families = {
        label: f"published: {label if label.startswith('group') else f'group {LINED}'}" for label in sorted(set(labels))
    }
    styles = {label: _style(place, label.startswith("group")) for place, label in enumerate(families)}
    for section in fids:
        own = points(section.scored, "label", "counted.calls", "fd", ("fd_low", "fd_high"))
        own = own.assign(label="measured: " + own["label"], front=True).set_index(own.index + 10**6)
        data = pd.concat([data, own])
        families |= dict.fromkeys(own["label"], "measured")
        styles |= {label: section.looks[label.removeprefix("measured: ")] for label in own["label"]}
    with drawing(out / file, height=5.2) as figure:
        ax = figure.subplots()
        for label, series in data.groupby("label", sort=True):
            style = styles[str(label)]
            line = "" if str(label).startswith("group") else style.line
            ax.plot(series["x"], series["y"], c=style.color, ls=line, marker=style.marker, fillstyle=style.fill, ms=4.5, lw=0.9)
        log_axes(ax, (data["x"].min(), data["x"].max()), (data["y"].min(), data["y"].max()))
        ax.set(xlabel=f"{X_TITLE}, log scale", ylabel=Y_TITLE, title=title)
        handles: list[Line2D] = [handle(style, label) for label, style in sorted(styles.items())]
        legend_below(figure, handles)
    told = "; ".join(f"{name}: {GROUPS[name]}" for name in sorted(set(rows["group"])))
    text = (
        f"Hollow points were published, those of doubt left out, up to {MOST} evaluations. Lines join one method within group "
        f"{LINED}; points of other groups stand alone. Groups: {told}."
    )
    return Figure(title, file, text, data, Chart([Panel(X_TITLE, Y_TITLE, data)], about, families, styles))


def _style(place: int, alone: bool) -> Style:
    """A hollow look, by its place; "none" as the line of what is joined to nothing."""
    return Style(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], "none" if alone else LINES[0], "none")
