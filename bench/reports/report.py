"""The report of one or several runs, from their records alone: report.md, results.csv and figures."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.presentation.looks import Plate
from bench.presentation.text import markdown, num, plain
from bench.records.frame import load_records
from bench.reports.answer import answer, budgets
from bench.reports.break_even import PAYBACK_TEXT, payback_table
from bench.reports.overhead_figure import overhead_plate
from bench.reports.overview_figure import story_plate
from bench.reports.quality_figures import quality_plates, trajectory_plate
from bench.reports.ranking import winner
from bench.reports.sample_figure import sample_plate
from bench.reports.sections import Section, sections
from bench.reports.student_figures import learning_plate, path_plate
from bench.reports.students import STUDENTS_TEXT, students_table
from bench.reports.tables import blanks, failed_table, main_table, summary_table, write_csv
from bench.reports.time_tables import cost_table, sweep_table, time_caveats
from samplers.errors import UserError


def _values(df: pd.DataFrame, column: str) -> str:
    """The different values of a column, as text."""
    values = df[column].dropna()
    if values.nunique() > 4 and pd.api.types.is_numeric_dtype(values):
        return f"{num(values.min())} to {num(values.max())}"
    return ", ".join(sorted({plain(v) for v in values.astype(object)}))


def _what_was_run(df: pd.DataFrame, groups: Sequence[Section]) -> str:
    """Plan, machine and versions as a table of two columns."""
    text = df.assign(**{"teacher.sha256": df["teacher.sha256"].str[:12]})
    names = {
        "teacher.name": "teacher", "teacher.sha256": "teacher's SHA-256", "images": "images a cell", "seed": "seed",
        "labels": "labels", "batch_size": "batch size", "device": "device", "precision": "precision", "mode": "mode",
        "time.clock": "clock", "quality.trajectory_error.reference": "converged solution", "run_id": "runs",
    }  # fmt: skip
    rows = [[name, _values(text, column)] for column, name in names.items()]
    for section in groups:
        if section.metric:
            first, key = section.rows.iloc[0], f"quality.{section.metric}"
            shas = [f"{what} {str(first.get(f'{key}.{what}_sha256', ''))[:12]}" for what in ("extractor", "reference")]
            rows.append([f"{section.metric} ({section.key()})", f"SHA-256: {', '.join(shas)}"])
    environment = sorted(c for c in df.columns if c.startswith("environment."))
    rows += [[c.removeprefix("environment.").removeprefix("packages."), _values(df, c)] for c in environment]
    return markdown(["what", "value"], [[plain(name), value] for name, value in rows if value])


def _reading(section: Section) -> str:
    """How the numbers of a section are to be read."""
    if section.metric is None:
        return ""
    wins = [w for b in budgets(section) if (w := winner(section.scored[section.scored["counted.calls"] <= b]))]
    paired, compared = sum(w.paired for w in wins), sum(w.compared for w in wins)
    inception = section.extractor.startswith("inception")
    not_fid = (
        "" if inception else " It is not FID, which takes Inception's features, and must not be compared with published FIDs."
    )
    return (
        f"Frechet distance in the features of extractor {section.extractor} ({section.metric}), smaller is better.{not_fid} "
        "In each band of calls the best is **bold** and what is statistically tied with it (95 %) is <u>underlined</u>. "
        "A tie is judged by the difference of two rows, paired image by image where they share seed and number of images "
        f"({paired} of the {compared} comparisons for the answers above), else by the two intervals. Brackets give 95 % "
        "intervals of the Frechet distance, and the 10th to 90th percentile of the latency. Calls are sequential network "
        "invocations; forwards and teacher-equivalents (FLOPs of one teacher forward) are the work of one image; overhead is "
        "the time beyond the bare network calls. All other metrics are in [results.csv](results.csv)."
    )


def _plate(plate: Plate) -> str:
    if plate.file is None:
        return f"**{plate.title}**: no figure, because {plate.text}"
    return f"![{plate.title}]({plate.file})\n\n*{plate.title}.* {plate.text}"


def _section_text(section: Section, plates: Sequence[Plate]) -> list[str]:
    parts = ["\n".join(f"- {line}" for line in answer(section))]
    if len(section.scored):
        parts += [f"### Frechet distance ({section.metric}) by budget of network calls", summary_table(section)]
    parts += ["### Figures", *map(_plate, plates), "### Table"]
    parts += [_reading(section), *time_caveats(section), main_table(section)]
    if swept := sweep_table(section):
        parts += ["### Throughput by batch size, images a second", swept]
    if costs := cost_table(section):
        parts += ["### Cold start and energy", costs]
    if trained := students_table(section):
        parts += ["### What training the students took", trained, STUDENTS_TEXT]
    if paid := payback_table(section):
        parts += ["### When a training has paid for itself", paid, PAYBACK_TEXT]
    empty = blanks(section)
    if empty:
        parts.append("Blank cells:\n\n" + "\n".join(f"- {line}" for line in empty))
    return [p for p in parts if p]


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write report.md, results.csv and the figures of one or several run folders, from what lies in them alone.

    Rows of different teachers, labels, numbers of images, extractors or reference images are ranked apart. The same records
    give the same bytes of report.md and results.csv.

    Args:
        runs: run folders (each with records.jsonl; samples/ and influence/ are used where they are there).
        out: folder to write to, made if needed; `report` in the first run folder by default.

    Returns:
        The path of report.md.

    Raises:
        UserError: no records, a file that is not records, or a folder that cannot be written.
    """
    df = load_records(runs)
    out = Path(runs[0]) / "report" if out is None else Path(out)
    groups = sections(df)
    teachers = _values(df, "teacher.name")
    parts = [f"# Sampler benchmark: {teachers}"]
    bad = df[df["status"] != "ok"]
    parts.append(
        f"{len(df)} cells of {df['sampler'].nunique()} samplers, teacher {teachers}, {_values(df, 'images')} images a cell, "
        f"on {_values(df, 'device')}."
        + (f" {len(bad)} of them gave no result; [they are listed below](#cells-without-a-result)." if len(bad) else "")
    )
    if len(groups) > 1:
        parts.append("The runs differ in teacher, images, labels, extractor or reference, so their rows are ranked apart.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, section in enumerate(groups, 1):
            suffix = f"_{number}" if len(groups) > 1 else ""
            plates = quality_plates(section, out, suffix)
            plates += [f(section, out, suffix) for f in (trajectory_plate, sample_plate, overhead_plate)]
            if section.rows["student.name"].notna().any():
                plates.insert(0, story_plate(section, out, suffix))
                plates += [path_plate(section, out, suffix), learning_plate(section, out, suffix)]
            parts.append(f"## {'The answer' if len(groups) == 1 else f'Group {number}'}: {section.key()}")
            parts += _section_text(section, plates)
        if not groups:
            parts.append("## The answer\n\nNo cell gave a result, so there is nothing to rank.")
        if len(bad):
            parts.append(f"## Cells without a result\n\n{failed_table(df)}")
        parts.append(f"## What was run\n\n{_what_was_run(df, groups)}")
        write_csv(df, out / "results.csv")
        report = out / "report.md"
        report.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    except OSError as e:
        raise UserError(f"cannot write the report to {out} ({e.strerror}); choose another folder with --out") from e
    return report
