"""What the docs quote of committed records: an excerpt is named KIND of NAME, as in "summary of mnist32-cpu"."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from bench.comparison.calibration_page import error_table
from bench.presentation import markdown
from bench.presentation.document import Block, Bullets, Document, Inline, Table, cell, code, strong
from bench.presentation.text import interval, measured, num, plural
from bench.profiling.page import headline
from bench.records.differences import difference
from bench.records.frame import load_records
from bench.reports.advice import advise
from bench.reports.answer import answer
from bench.reports.break_even import break_even_table
from bench.reports.budget import Budget
from bench.reports.sections import Section, batch_sizes, sections
from bench.reports.setting_tables import front, names_of, setting_tables
from bench.reports.student_claims import COUNTS, TIMES, claim, claims_table, with_image_ms
from bench.reports.student_tables import students_table
from bench.reports.tables import main_tables, summary_notes, summary_table
from bench.reports.ties import listed
from samplers.errors import UserError
from samplers.files import read_json, read_rows

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "samplers" / "zoo"
BUDGETS = (1, 2, 5, 20)
"""Network calls that the short results answer for."""


def excerpt(name: str) -> str:
    """The excerpt of a name, as Markdown without an empty line at its end.

    Raises:
        UserError: no such kind, or nothing that it could be made of.
    """
    kind, _, source = name.partition(" of ")
    if kind == "output":
        return _output(source)
    if kind not in KINDS:
        raise UserError(f"no excerpt '{name}'; known are output and {', '.join(KINDS)}, each of a source")
    return markdown.render([block for block in KINDS[kind](source) if block is not None]).rstrip("\n")


def _output(command: str) -> str:
    """What a command prints that reads committed records only; that of bench as a quotation, its headings as bold lines."""
    program, *words = command.split()
    module = ["-m", "bench.cli"] if program == "bench" else []
    done = subprocess.run([sys.executable, *module, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise UserError(f"{command}: {done.stderr}")
    if program != "bench":
        return done.stdout.rstrip("\n")
    lines = re.sub(r"^#+ (.*)$", r"**\1**", done.stdout, flags=re.MULTILINE).rstrip("\n").splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)


@cache
def _section(name: str) -> Section:
    """What answers and figures of a committed run are of."""
    df = load_records([ROOT / "results" / name])
    first, *_ = sections(df)
    return front(first, names_of(df))


def _results(name: str) -> Document:
    """A run in five sentences at most: the best of each budget, and what one call of DSNO is worth."""
    section = _section(name)
    told: dict[tuple[str, str], list[int]] = {}
    for budget in BUDGETS:
        best = advise(section, Budget(calls=budget)).top
        if best is not None:
            ties = section.scored.loc[list(best.ties)]
            row, tied = (
                best.row,
                "nothing is tied with it" if ties.empty else f"tied with it (calls in brackets): {listed(ties)}",
            )
            value = interval(row["fd"], row["fd_low"], row["fd_high"])
            text = f" ({plural(row['counted.calls'], 'call')}), {value}; {tied}."
            told.setdefault((row["label"], text), []).append(budget)
    items: list[Inline] = [
        [strong(f"At most {' or '.join(map(str, calls))} {'call' if calls == [1] else 'calls'}: {label}"), text]
        for (label, text), calls in told.items()
    ]
    return [Bullets([*items, *_dsno(section)])]


def _dsno(section: Section) -> list[Inline]:
    """What one call of DSNO does, beside solvers of its cost and its control; nothing where it was not run."""
    rows = with_image_ms(section.scored)
    own = {name: rows[rows["sampler"] == name] for name in ("dsno", "knowledge_distillation")}
    if own["dsno"].empty:
        return []
    student, solvers = own["dsno"].iloc[0], rows[rows["student.name"].isna()]
    said = []
    for cost, words in zip((*COUNTS, TIMES[0]), ("in calls", "in work", "in latency"), strict=True):
        found = claim(student, solvers, cost)
        if found is not None and found.solver is not None:
            calls = plural(found.solver["counted.calls"], "call")
            said.append(f"{found.verdict} {found.solver['label']} ({calls}, {measured(found.solver['fd'])}) {words}")
    text = f" does the work of {num(student['counted.teacher_equivalents'])} teacher forwards: {measured(student['fd'])}. "
    text += f"Against the best solver that costs no more it is {', '.join(said)}"
    if len(own["knowledge_distillation"]):
        control = own["knowledge_distillation"].iloc[0]
        apart = difference(student, control)
        verdict = "tied with" if apart.tie else "better than" if student["cost"] < control["cost"] else "worse than"
        text += f"; it is {verdict if apart.known else 'not tested against'} its control of one forward, knowledge "
        text += f"distillation ({measured(control['fd'])})"
    return [[strong("DSNO's one call"), f"{text}."]]


def _calibration(name: str) -> Document:
    folder = ROOT / "results" / name
    setting = read_json(folder / "setting.json", "setting", "make the trials again", ("terms",))
    return [error_table(read_rows(folder / "trials.jsonl"), setting["terms"]["effect"])]


def _profile(name: str) -> Document:
    return headline(read_json(ROOT / "results" / name / "profile.json", "profile", "profile again", ("batches", "stages")))


def _trained(name: str) -> Document:
    """What the card of a shipped teacher or extractor says of its training."""
    card = read_json(ZOO / f"{name}.json", "card", "train it again", ("training",))
    training = card["training"]
    items = [f"{training['images']:,} images seen", f"{training['seconds'] / 60:.0f} minutes ({training['device']})"]
    if "test_accuracy" in card:
        items.append(f"{100 * card['test_accuracy']:.1f} % of the test images read right")
    if "floor" in card:
        floor = card["floor"]
        items.append(f"real test images ({floor['images']:,}) score {floor['frechet_distance']:.2g}")
    return [Bullets([[code(name), f": {', '.join(items)}."]])]


def _summary(name: str) -> Document:
    section = _section(name)
    return [summary_table(section), *summary_notes(section)]


def _settings(name: str) -> Document:
    """The tables that a run's plan asks for; nothing where it asks for none."""
    df = load_records([ROOT / "results" / name])
    return [block for section in sections(df) for block in setting_tables(section, names_of(df))]


def _costs(name: str) -> Document:
    """What the records of a run take on disk, and how many images a second DDIM makes."""
    section, path = _section(name), ROOT / "results" / name / "records.jsonl"
    size, count = path.stat().st_size / 1000, len(read_rows(path))
    ddim = section.rows[(section.rows["sampler"] == "ddim") & section.rows["time.images_per_s.median"].notna()]
    rates = [
        f"{measured(r['time.images_per_s.median'])} images a second at {plural(r['counted.calls'], 'call')}, so 50,000 in "
        f"{measured(50_000 / 60 / r['time.images_per_s.median'])} minutes"
        for _, r in ddim.sort_values("counted.calls").iloc[[0, -1]].iterrows()
    ]
    made = f": in batches of {batch_sizes(ddim)}, {'; '.join(rates)} ({', '.join(sorted(set(ddim['device'])))})."
    return [Bullets([[code("records.jsonl"), f": {count} records, {size / count:.1f} kB each."], [code("ddim"), made]])]


def _against_all(make: Callable[[Section, Section], Table | None]) -> Callable[[str], Sequence[Block | None]]:
    """A table of a section's students, held against the solvers of all of it."""

    def made(name: str) -> Sequence[Block | None]:
        section = _section(name)
        return [make(section, section)]

    return made


def _pairs(name: str) -> Document:
    """Times of ours over others', as tests/speed/test_neighbour_speed.py keeps them: of passes, and without the network."""
    made = read_json(ROOT / "results" / f"{name}.json", "speed results", "make them again", ("benchmarks",))["benchmarks"]
    own = {(b["params"]["spec"], b["params"]["batch"]): b["stats"]["median"] for b in made if "spec" in b["params"]}
    rows = []
    for told in (b["extra_info"] for b in made if "ratio" in b["extra_info"]):
        ours, theirs, batch = told["ours"], told["theirs"], told["batch"]
        ratio = interval(told["ratio"], told["ratio_low"], told["ratio_high"])
        rows.append([theirs, ours, num(batch), ratio, num(told["pairs"]), measured(own[ours, batch] / own[theirs, batch])])
    columns = ["theirs", "ours", "batch", "passes, ours / theirs", "pairs", "own arithmetic, ours / theirs"]
    return [Table(columns, [[cell(v) for v in row] for row in rows], range(2, len(columns)))]


KINDS: dict[str, Callable[[str], Sequence[Block | None]]] = {
    "results": _results,
    "answer": lambda name: [Bullets(answer(_section(name)))],
    "summary": _summary,
    "table": lambda name: main_tables(_section(name)),
    "settings": _settings,
    "costs": _costs,
    "pairs": _pairs,
    "students": _against_all(claims_table),
    "trainings": lambda name: [students_table(_section(name))],
    "break-even": _against_all(break_even_table),
    "profile": _profile,
    "calibration": _calibration,
    "training": _trained,
}
