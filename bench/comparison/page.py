"""Two runs side by side as a page: what may be compared and what not, the verdicts, and both on one pair of axes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bench.comparison.verdicts import MARKED, Outcome
from bench.presentation import html
from bench.presentation.chart import Chart, Panel
from bench.presentation.document import Block, Bullets, Cell, Document, Figure, Heading, Paragraph, Table, cell, strong
from bench.presentation.series import Style
from bench.presentation.text import one_line
from bench.records.columns import axis_of
from bench.records.frame import load_records
from bench.reports.charts import about
from bench.reports.fairness import SHARED
from bench.reports.points import points
from bench.reports.provenance import edited
from bench.reports.sections import Section, disturbed, sections
from samplers.files import write_whole

SIDES = ("A", "B")
FOLLOWS = {
    "teacher.sha256": "other weights make other images: neither quality nor trajectory errors may be compared",
    "images": "a Frechet distance falls with the number of images: the qualities may not be compared",
    "labels": "other labels are another distribution of images: the qualities may not be compared",
    "seed": "other noises: qualities are compared as independent, not image by image, so only larger differences show",
    "extractor": "distances in other features have another scale: the qualities may not be compared",
    "reference": "distances to other images: the qualities may not be compared",
    "end": "solvers stop at another noise level, which moves every quality",
    "last_step": "the last step is another, which moves every quality",
    "grid": "a solver on another grid is another solver: see whether the cells are those you mean",
    "precision": "rounding differs while sampling: small differences of quality and of counts may come from it",
    "mode": "times of another way to run the same pass",
    "batch_size": "throughputs of other batch sizes may not be compared",
    "device": "times of two devices: a difference is the machine's as well as the code's",
    "environment.cpu": "times of two machines: a difference is the machine's as well as the code's",
    "environment.gpu.name": "times of two machines: a difference is the machine's as well as the code's",
    "environment.threads": "times on other numbers of threads: a difference may come from these",
    "environment.packages.torch": "another PyTorch: times, and images by rounding, may differ by it",
    "time.clock": "times of two kinds of clock",
    "time.conditions.valid": "times that something disturbed prove nothing",
    "quality.trajectory_error.reference": "errors against solutions of another accuracy",
}
"""What it means where two runs differ in a condition."""
FREE = ("environment.commit", "teacher.name")
"""Conditions that are told, and may differ without a loss."""


def write_page(outcome: Outcome, a: Path, b: Path, out: Path) -> Path:
    """Write `comparison.html` of two runs in a folder.

    Raises:
        UserError: a folder without records, or one that cannot be written.
    """
    page = out / "comparison.html"
    write_whole(page, html.render(document(outcome, a, b), out).encode())
    return page


def document(outcome: Outcome, a: Path, b: Path) -> Document:
    """What may be compared of two runs, and what came of it."""
    frames = [load_records([folder]) for folder in (a, b)]
    groups = [sections(df) for df in frames]
    counts = Counter(row.verdict for row in outcome.rows)
    order = sorted(counts, key=lambda v: (v not in MARKED, v))
    found: list[Block] = [
        Heading(1, f"{one_line(a.name, 60)} beside {one_line(b.name, 60)}"),
        Paragraph(f"A: {one_line(a)}. B: {one_line(b)}. Verdicts: {', '.join(f'{v} ({counts[v]})' for v in order) or 'none'}."),
        *(Paragraph([strong(f"Run {side}: {told}")]) for side, df in zip("AB", frames, strict=True) if (told := edited(df))),
        Heading(2, "What may be compared"),
        *_conditions(frames, groups),
        Heading(2, "Quality of both"),
        *_figures(groups),
        Heading(2, "Verdicts"),
    ]
    return [*found, *outcome.document()]


def _conditions(frames: Sequence[pd.DataFrame], groups: Sequence[Sequence[Section]]) -> list[Block]:
    """A table of the conditions of both runs, and what follows from those that differ."""
    rows, follows = [], []
    for column, name in {**SHARED, "extractor": "extractor", "reference": "reference images"}.items():
        values = [_values(df, own, column) for df, own in zip(frames, groups, strict=True)]
        if not any(values):
            continue
        same = values[0] == values[1]
        heeded = not same and column not in FREE
        verdict = Cell("differs", mark="heed") if heeded else cell("same" if same else "differs")
        rows.append([cell(name), *(cell(v or "not told") for v in values), verdict])
        if heeded and column in FOLLOWS:
            follows.append(f"{name[0].upper()}{name[1:]}: {FOLLOWS[column]}.")
    table = Table(["condition", *SIDES, "verdict"], rows)
    told = Bullets(follows) if follows else Paragraph("Nothing that both runs tell differs: quality and times may be compared.")
    return [table, told]


def _values(df: pd.DataFrame, groups: Sequence[Section], column: str) -> str:
    """All values of a condition in a run."""
    if column in ("extractor", "reference"):
        names = [f"quality.{s.metric}.{column}_sha256" for s in groups if s.metric]
        found = pd.concat([df[n] for n in names if n in df]) if any(n in df for n in names) else pd.Series(dtype=object)
    else:
        found = df[df["status"] == "ok"][column] if column in df else pd.Series(dtype=object)
    texts = sorted({f"{v:g}" if isinstance(v, float) else one_line(v, 80) for v in found.dropna().astype(object)})
    return ", ".join(t[:12] if re.fullmatch(r"[0-9a-f]{40,64}\+?", t) else t for t in texts)


def _figures(groups: Sequence[Sequence[Section]]) -> list[Block]:
    """Quality against calls and latency: on the same axes where it may be compared, else each on its own."""
    if not any(s.metric for own in groups for s in own):
        return [Paragraph("Neither run has a measured quality.")]
    keys = [{(s.key(), s.metric, *_hashes(s)): s for s in own if s.metric} for own in groups]
    both = [k for k in keys[0] if k in keys[1]]
    found: list[Block] = [_figure({"A": keys[0][k], "B": keys[1][k]}, f"Both, {k[0]}") for k in both]
    alone = [(side, k) for side, own in zip(SIDES, keys, strict=True) for k in own if k not in both]
    found += [_figure({side: keys[SIDES.index(side)][k]}, f"{side} alone, {k[0]}") for side, k in alone]
    if alone:
        found.append(Paragraph("What differs in teacher, images, labels, extractor or reference has axes of its own."))
    return found


def _hashes(section: Section) -> tuple[str, ...]:
    first = section.rows.iloc[0]
    named = ("extractor", "reference")
    return (str(first["teacher.sha256"]), *(str(first.get(f"quality.{section.metric}.{n}_sha256")) for n in named))


def _figure(sides: Mapping[str, Section], title: str) -> Figure:
    panels, told, styles, families = [], dict[int, list[str]](), dict[str, Style](), {}
    first = next(iter(sides.values()))
    latency = "time.latency_ms"
    for x, ends in (("counted.calls", None), (f"{latency}.median", (f"{latency}.ci_low", f"{latency}.ci_high"))):
        parts = []
        for place, (side, section) in enumerate(sides.items()):
            rows = section.scored if ends is None else section.scored[~disturbed(section.scored)]
            data = points(rows, "label", x, "fd", ("fd_low", "fd_high"), ends)
            told |= {int(str(i)) + place * 10**6: [f"run {side}", *text] for i, text in about(section, section.rows).items()}
            for label in set(data["label"]):
                styles[f"{label}, {side}"] = replace(section.looks[label], fill="none" if place else "full")
                families[f"{label}, {side}"] = f"run {side}"
            parts.append(data.assign(label=data["label"] + f", {side}").set_index(data.index + place * 10**6))
        panels.append(Panel(axis_of(x), first.distance, pd.concat(parts)))
    caption = "Bars are 95 % intervals. Times of two machines stand side by side to be seen, not to be compared."
    return Figure(title, "", caption, pd.concat([p.points for p in panels]), Chart(panels, told, families, styles))
