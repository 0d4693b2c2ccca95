"""The report of one or several runs, from their records alone: report.md, results.csv and figures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bench.presentation import html, latex, markdown
from bench.presentation.document import (
    Block,
    Bullets,
    Document,
    Figure,
    Heading,
    Inline,
    Paragraph,
    Span,
    link,
    strong,
    underlined,
)
from bench.presentation.looks import also_for_papers
from bench.records.frame import load_records
from bench.records.ranking import FRECHET
from bench.reports.answer import answer
from bench.reports.break_even import BREAK_EVEN_TEXT, break_even_table
from bench.reports.charts import charted
from bench.reports.chooser import chooser
from bench.reports.fairness import FAIRNESS_TEXT, fairness_table
from bench.reports.libraries_figure import libraries_figure
from bench.reports.literature_figure import literature_blocks
from bench.reports.orders import ORDERS_TEXT, orders_table
from bench.reports.overhead_figure import overhead_figure
from bench.reports.overview_figure import overview_figure
from bench.reports.page import records
from bench.reports.provenance import edited, values, what_was_run
from bench.reports.quality_figures import quality_figures
from bench.reports.ranking import winner
from bench.reports.readable import left_out, readable
from bench.reports.sample_figure import sample_figure
from bench.reports.sections import Section, sections
from bench.reports.setting_tables import front, names_of, setting_tables
from bench.reports.student_claims import CLAIMS_TEXT, claims_table
from bench.reports.student_figures import learning_figure, path_figure
from bench.reports.student_tables import STUDENTS_TEXT, students_table
from bench.reports.tables import banded, blanks, failed_table, main_tables, summary_notes, summary_table, write_csv
from bench.reports.ties import intransitive
from bench.reports.time_tables import cost_table, decode_table, sweep_table, time_caveats
from bench.reports.trajectory_figure import trajectory_figure
from samplers.errors import UserError

OF_WHAT = ("n", "dimensions")
"""Of a score: how many images it is of, and how many features."""
MANY = 1000
"""Records up to which all groups of rows are told in full; of more, the largest group is."""


def _reading(section: Section) -> Inline:
    """How the numbers of a section, which has a metric, are to be read."""
    bands = [(rows, w) for rows in banded(section).values() if (w := winner(rows)) and not w.alone]
    made = pd.concat([w.differences for _, w in bands]) if bands else pd.DataFrame({"known": [], "paired": []}, dtype=bool)
    direction = "larger" if section.ranking.sign < 0 else "smaller"
    features = f"{section.quality[0].upper()}{section.quality[1:]} in the features of extractor {section.extractor} "
    features += f"({section.metric}), {direction} is better."
    if section.ranking == FRECHET:
        features += " It is not FID, which takes Inception's features, and must not be compared with published FIDs."
    n, dimensions = (section.rows[c].iloc[0] if (c := f"quality.{section.metric}.{k}") in section.rows else 0 for k in OF_WHAT)
    if n < dimensions:
        features += f" It is of fewer images ({n:.0f}) than dimensions ({dimensions:.0f}): the covariance is singular and the "
        features += "distance far too large, so it says nothing beside one of another number of images."
    marks: list[str | Span] = [" No two rows could be tested against each other, so none is marked as best."]
    if made["known"].any():
        marks = [
            " In each band of calls the best is ", strong("bold"), " and what is statistically tied with it (95 %) is ",
            underlined("underlined"), ". A tie is judged by the difference of two rows, paired image by image where they share "
            f"seed and number of images ({made['paired'].sum()} of the {len(made)} comparisons), else by the two "
            f"intervals.{' What could not be tested is underlined, too.' if not made['known'].all() else ''}",
        ]  # fmt: skip
    marks += [f" {text}" for rows, w in bands if (text := intransitive(rows, w))]
    rows, brackets = section.rows, []
    if rows["fd_low"].notna().any():
        brackets.append(f"95 % intervals of the {section.quality}")
    if rows["time.latency_ms.p10"].notna().any():
        brackets.append("the 10th to 90th percentile of the latency")
    text = f" Brackets give {', and '.join(brackets)}." if brackets else ""
    text += (
        " Calls are sequential network invocations; forwards and teacher-equivalents (FLOPs of one teacher forward) are the "
        "work of one image; overhead is the time beyond the bare network calls. All other metrics are in "
    )
    return [features, *marks, text, link("results.csv", "results.csv"), "."]


def _figures(section: Section, out: Path, suffix: str) -> list[Figure]:
    """Draw the figures of a section into `out`."""
    found = quality_figures(section, out, suffix)
    found += [draw(section, out, suffix) for draw in (trajectory_figure, sample_figure, overhead_figure)]
    if section.with_students:
        found.insert(0, overview_figure(section, out, suffix))
        found += [path_figure(section, out, suffix), learning_figure(section, out, suffix)]
    return found


def _section(whole: Section, names: Sequence[str], out: Path, suffix: str) -> list[Block]:
    first = front(whole, names)
    seen, section = readable(first), readable(whole)
    first = replace(first, looks=seen.looks)
    figures = [charted(seen, figure) for figure in _figures(seen, out, suffix)]
    figures += [f for f in [libraries_figure(whole, names, out, suffix)] if f is not None]
    choice = chooser(first, seen)
    blocks: list[Block] = [*([choice] if choice is not None else []), Bullets(answer(first))]
    if len(first.scored):
        heading = f"{first.distance} by budget of network calls"
        blocks += [Heading(3, heading), summary_table(first), *summary_notes(first)]
    blocks += setting_tables(whole, names)
    left = left_out(first, seen)
    blocks += [Heading(3, "Figures"), *([Paragraph(left)] if left else []), *figures, Heading(3, "Table")]
    blocks += [Paragraph(_reading(whole))] if whole.metric else []
    blocks += [*map(Paragraph, time_caveats(whole)), *main_tables(whole)]
    for heading, table, text in (
        ("Throughput by batch size, images a second", sweep_table(section), ""),
        ("Sampling latents, decoding them, and both", decode_table(section), ""),
        ("Cold start and energy", cost_table(section), ""),
        ("Students beside solvers of their cost", claims_table(whole, section), CLAIMS_TEXT),
        ("What training the students took", students_table(section), STUDENTS_TEXT),
        ("When a training has paid for itself", break_even_table(whole, section), BREAK_EVEN_TEXT),
        ("Observed orders", orders_table(section), ORDERS_TEXT),
        ("Equal conditions", fairness_table(whole), FAIRNESS_TEXT),
    ):
        if table is not None:
            blocks += [Heading(3, heading), table, *([Paragraph(text)] if text else [])]
    if empty := blanks(whole):
        blocks += [Paragraph("Blank cells:"), Bullets(empty)]
    return blocks


def _brief(section: Section) -> list[Block]:
    """A group of many records beside larger ones: the table by budget."""
    if section.scored.empty:
        return [Paragraph(f"No {section.quality} was measured.")]
    return [replace(summary_table(section), caption=f"{section.distance} by budget of network calls")]


def headline(df: pd.DataFrame) -> Document:
    """What the report begins with, without its figures: the answer and the table by budget, for each group of rows."""
    blocks: list[Block] = []
    for section in sections(df):
        blocks += [Heading(2, section.key()), Bullets(answer(section))]
        if len(section.scored):
            caption = f"{section.distance} by budget of network calls; best bold, ties with it underlined"
            blocks += [replace(summary_table(section), caption=caption), *summary_notes(section)]
    return blocks


def document(df: pd.DataFrame, out: Path, literature: str | None = None) -> Document:
    """The report of records (`load_records`), its figures drawn into the folder `out`.

    Rows of different teachers, labels, numbers of images, extractors or reference images are ranked apart. `literature` is a
    data set whose published results are drawn, too.
    """
    groups, bad = sections(df), df[df["status"] != "ok"]
    teachers = values(df, "teacher.name")
    about: list[str | Span] = [
        f"{len(df)} cells of {df['sampler'].nunique()} samplers, teacher {teachers}, {values(df, 'images')} images a cell, "
        f"on {values(df, 'device')}."
    ]
    if len(bad):
        anchor = link("they are listed below", "#cells-without-a-result")
        about += [f" {len(bad)} of them gave no result; ", anchor, "."]
    blocks: list[Block] = [Heading(1, f"Sampler benchmark: {teachers}"), Paragraph(about)]
    if changed := edited(df):
        blocks.append(Paragraph([strong(changed)]))
    every, largest = len(df) <= MANY, max(range(len(groups)), key=lambda i: len(groups[i].rows), default=0)
    if len(groups) > 1:
        text = "The runs differ in teacher, images, labels, extractor or reference, so their rows are ranked apart."
        if not every:
            text += f" Of so many records only the largest of {len(groups)} groups is told in full; name fewer runs for others."
        blocks.append(Paragraph(text))
    for number, section in enumerate(groups, 1):
        name, suffix = ("The answer", "") if len(groups) == 1 else (f"Group {number}", f"_{number}")
        told = _section(section, names_of(df), out, suffix) if every or number - 1 == largest else _brief(section)
        blocks += [Heading(2, f"{name}: {section.key()}"), *told]
    if not groups:
        blocks += [Heading(2, "The answer"), Paragraph("No cell gave a result, so there is nothing to rank.")]
    if literature is not None:
        blocks += literature_blocks([readable(s) for s in groups], literature, out)
    if len(bad):
        blocks += [Heading(2, "Cells without a result"), failed_table(df)]
    return [*blocks, Heading(2, "What was run"), what_was_run(df, groups), records(df, groups)]


def write_report(runs: Sequence[Path], out: Path | None = None, literature: str | None = None, paper: bool = False) -> Path:
    """Write report.html, report.md, results.csv and the figures of one or several run folders, from what lies in them alone.

    The same records give the same bytes of report.md and results.csv.

    Args:
        runs: run folders (each with records.jsonl; samples/ and influence/ are used where they are there).
        out: folder to write to, made if needed; `report` in the first run folder by default.
        literature: data set whose published results are drawn, too (`bench.publications.published.DATASETS`).
        paper: write `paper/` there, too: the figures as SVG and PDF, the tables as LaTeX and CSV.

    Returns:
        The path of report.md; the others lie beside it.

    Raises:
        UserError: no records, a file that is not records, or a folder that cannot be written.
    """
    df = load_records(runs)
    out = Path(runs[0]) / "report" if out is None else Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        made = _with_paper(df, out, literature) if paper else document(df, out, literature)
        write_csv(df, out / "results.csv")
        (out / "report.md").write_text(markdown.render(made), encoding="utf-8")
        (out / "report.html").write_text(html.render(made, out), encoding="utf-8")
    except OSError as e:
        raise UserError(f"cannot write the report to {out} ({e.strerror}); choose another folder with --out") from e
    return out / "report.md"


def _with_paper(df: pd.DataFrame, out: Path, literature: str | None) -> Document:
    """The document, its figures and tables in `out`/paper for LaTeX and other programs."""
    folder = out / "paper"
    folder.mkdir(exist_ok=True)
    with also_for_papers(folder):
        made = document(df, out, literature)
    for name, table in latex.tables(made):
        (folder / f"{name}.tex").write_text(latex.table(table), encoding="utf-8")
        (folder / f"{name}.csv").write_text(latex.values(table), encoding="utf-8")
    return made
