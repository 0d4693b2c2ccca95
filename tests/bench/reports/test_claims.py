"""A report claims what was compared and tested, by times that are valid, within what was measured, and nothing else."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure as Drawn
from report_fixture import record, spread, write_run
from shaken_records import shaken_records

from bench.presentation import markdown
from bench.presentation.document import Bullets, Document, Figure, Table
from bench.records.differences import difference
from bench.records.frame import load_records
from bench.reports.answer import answer, budgets
from bench.reports.break_even import break_even_table
from bench.reports.chooser import chooser
from bench.reports.overhead_figure import overhead_figure
from bench.reports.overview_figure import overview_figure
from bench.reports.quality_figures import quality_figures
from bench.reports.report import document
from bench.reports.sections import Section, sections
from bench.reports.setting_tables import setting_tables
from bench.reports.student_claims import claims_table
from bench.reports.tables import main_tables, summary_table

INVALID = {"valid": False, "reasons": ["heat"]}


@pytest.fixture
def drawn(monkeypatch) -> dict[str, Drawn]:
    """The figures that a report sets up, by the names of their files; none is drawn."""
    found: dict[str, Drawn] = {}
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: found.update({path.name: figure}))
    return found


def timed(sampler: str, steps: int, ms: float, conditions: dict | None = None, **changes: Any) -> dict[str, Any]:
    """A record with a latency of `ms`, and that time an image in batches."""
    made = record(sampler, steps, **changes)
    made["time"] |= {"latency_ms": spread(ms), "images_per_s": spread(1000 / ms), "conditions": conditions}
    return made


def student(steps: int, ms: float, name: str = "knowledge_distillation", **changes: Any) -> dict[str, Any]:
    training = {"seconds": 60.0, "images": 1000, "device": "a CPU"}
    return timed(name, steps, ms, student={"name": name, "sha256": "5" * 64}, training=training, **changes)


def report(folder: Path, *records: dict, influence: dict | None = None) -> tuple[Document, str]:
    """The report as a document and as text."""
    made = document(load_records([write_run(folder / "run", list(records), influence, images=False)]), folder)
    return made, markdown.render(made)


def section(folder: Path, *records: dict) -> Section:
    (only,) = sections(load_records([write_run(folder, list(records), images=False)]))
    return only


def caption(made: Document, title: str) -> str:
    (found,) = [b.caption for b in made if isinstance(b, Figure) and b.title == title]
    assert isinstance(found, str)
    return found


def verdicts(rows: Section) -> list[list[str]]:
    """What the table of claims says of each student by calls, teacher-equivalents, latency and in batches."""
    table = claims_table(rows, rows)
    return [[cell.text for cell in row[3:]] for row in table.rows] if table else []


# ------------------------------------------------------------------ what was compared


@pytest.mark.usefixtures("drawn")
def test_a_student_that_no_solver_is_as_cheap_as_beats_nothing(tmp_path):
    """Black squares at one call, and solvers from four calls on."""
    _, text = report(tmp_path, student(1, 2.0, fd=884.0), timed("ddim", 4, 8.0, fd=5.0), timed("ddim", 8, 16.0, fd=4.0))
    assert "| 1 | 884 [884, 884] | no solver of its cost | no solver of its cost | no solver of its cost |" in text
    assert "beyond chance (95 %): " not in text
    assert "**At most 1 call: knowledge_distillation** (1 call, 1 teacher-equivalent) has a Frechet distance of 884" in text


def test_a_claim_names_the_best_solver_of_no_greater_cost_and_its_verdict(tmp_path):
    solvers = [timed("ddim", 1, 2.0, fd=100.0), timed("heun", 1, 2.0, fd=90.0), timed("ddim", 4, 8.0, fd=5.0)]
    students = [student(1, 2.0, fd=6.0), student(4, 8.0, fd=5.02), student(5, 10.0, fd=7.0)]
    four, one = "ddim (4 calls, 5.00)", "heun (1 call, 90.0)"
    found = verdicts(section(tmp_path, *solvers, *students))
    assert found == [[f"better than {one}"] * 4, [f"tied with {four}"] * 4, [f"worse than {four}"] * 4]


def test_one_call_of_the_same_network_is_as_cheap_whatever_the_noise_of_its_time(tmp_path):
    """Latency 1 % higher than the student's, with intervals of 2 %; the other takes 10 % longer."""
    near, far = timed("ddim", 1, 2.02, fd=100.0), timed("ddim", 2, 2.2, fd=50.0)
    (found,) = verdicts(section(tmp_path, near, far, student(1, 2.0, fd=6.0)))
    assert found[2:] == ["better than ddim (1 call, 100)"] * 2


def test_a_solver_whose_time_is_not_valid_is_not_held_against_a_student(tmp_path):
    rows = [timed("ddim", 2, 1.0, INVALID, fd=5.0), timed("ddim", 4, 8.0, fd=4.0), student(2, 2.0, fd=6.0)]
    assert verdicts(section(tmp_path / "solver", *rows)) == [
        ["worse than ddim (2 calls, 5.00)"] * 2 + ["no solver of its cost"] * 2
    ]
    rows[2]["time"]["conditions"] = INVALID
    assert verdicts(section(tmp_path / "student", *rows)) == [
        ["worse than ddim (2 calls, 5.00)"] * 2 + ["not valid, or no interval"] * 2
    ]


def test_what_cannot_be_tested_is_not_claimed(tmp_path):
    rows = [timed("ddim", 1, 2.0, fd=100.0), timed("heun", 1, 2.0, fd=6.1), student(1, 2.0, fd=6.0)]
    for r in rows:
        r["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None}
    known = section(tmp_path, *rows)
    assert verdicts(known) == [["not tested against heun (1 call, 6.10)"] * 4]
    table = break_even_table(known, known)
    assert table is not None
    assert [cell.text for cell in table.rows[0][4:]] == ["not tested", "–, 2.00", "–"] * 2


@pytest.mark.usefixtures("drawn")
def test_a_row_alone_is_the_best_of_nothing(tmp_path):
    made, text = report(tmp_path, record("ddim", 5, fd=3.0), record("heun", 3, fd=5.0), record("ddim", 10, fd=2.0))
    assert "**At most 10 calls: ddim** (10 calls, 10 teacher-equivalents) is best" in text
    (summary,) = [b for b in made if isinstance(b, Table) and b.columns == ["sampler", "5 calls", "10 calls"]]
    assert [(c.text, c.mark) for row in summary.rows for c in row[1:]] == [
        ("3.00", "best"), ("2.00", ""), ("5.00", ""), ("", ""),
    ]  # fmt: skip
    _, text = report(tmp_path / "alone", record("ddim", 5, fd=3.0), record("ddim", 10, fd=2.0))
    assert "Only ddim was measured, so the frontier is its own." in text


# ------------------------------------------------------------------ times that are not valid


def test_figures_of_time_leave_out_what_is_not_valid(tmp_path, drawn):
    rows = [timed("ddim", n, 2.0 * n, fd=10 / n) for n in (2, 5, 10)] + [timed("unipc", 4, 0.5, INVALID, fd=0.1)]
    made, _ = report(tmp_path, *rows, student(1, 2.0, fd=6.0))
    for title in ("Quality against time", "Overhead", "Students and solvers, side by side"):
        assert "1 row whose times are not valid" in caption(made, title)
    assert "unipc (0.5" not in caption(made, "Quality against time")
    assert "unipc" in caption(made, "Quality against calls")
    (figure,) = [b for b in made if isinstance(b, Figure) and b.title == "Quality against time"]
    assert figure.data is not None
    assert "unipc" not in set(figure.data["label"])
    for name in ("quality_ms", "story"):
        xs = np.concatenate([line.get_xdata() for ax in drawn[f"{name}.png"].axes[-2:] for line in ax.lines])
        assert xs.max() == 20.0, name
        assert 0.5 not in xs, name


@st.composite
def runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of solvers and students, some with times marked invalid."""
    names = st.sampled_from(["ddim", "heun", "unipc", "knowledge_distillation", "dsno"])
    cells = draw(st.lists(st.tuples(names, st.integers(1, 8)), min_size=2, max_size=7, unique=True))
    found = []
    for name, steps in cells:
        numbers = {"fd": draw(st.floats(2, 60)), "se": draw(st.sampled_from([0.01, 2.0]))}
        trained = name in ("knowledge_distillation", "dsno")
        made = student(steps, 2.0, name, **numbers) if trained else timed(name, steps, 2.0, **numbers)
        _set_times(made, draw(st.floats(1, 50)))
        made["time"]["conditions"] = draw(st.sampled_from([None, INVALID]))
        found.append(made)
    return found


def _set_times(made: dict[str, Any], ms: float) -> None:
    made["time"] |= {"latency_ms": spread(ms), "images_per_s": spread(1500 / ms), "overhead_fraction": ms}


def _of_times(records: list[dict[str, Any]]) -> list[Any]:
    """All that a report says and draws of times, but for the tables of what was measured."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as m:
        m.setattr("bench.presentation.looks.save", lambda figure, path: None)
        found: list[Any] = []
        for s in sections(load_records([write_run(Path(folder) / "run", records, images=False)])):
            found += [answer(s), claims_table(s, s), break_even_table(s, s), chooser(s, s)]
            draw = (overview_figure, overhead_figure)
            figures = [*quality_figures(s, Path(folder), ""), *(f(s, Path(folder), "") for f in draw)]
            found += [(f.caption, None if f.data is None else f.data.to_csv()) for f in figures]
    return [repr(f) for f in found]


@settings(max_examples=10, deadline=None)
@given(runs(), st.lists(st.floats(1e-3, 1e6), min_size=7, max_size=7))
def test_no_time_that_is_marked_invalid_is_used(records, others):
    """Whatever they are, everything that is said and drawn is the same."""
    before = _of_times(records)
    for made, ms in zip(records, others, strict=False):
        if made["time"]["conditions"]:
            _set_times(made, ms)
    assert _of_times(records) == before


# ------------------------------------------------------------------ within what was measured


@pytest.mark.usefixtures("drawn")
def test_answers_end_where_the_plan_does(tmp_path):
    rows = [record(s, n, fd=(9 if s == "ddim" else 8) / n) for s in ("ddim", "unipc") for n in (2, 4, 8)]
    made, text = report(tmp_path, *rows)
    assert [int(n) for n in re.findall(r"\*\*At most (\d+) calls", text)] == [4, 8]
    assert "| sampler | 2 calls | 4 calls | 8 calls |" in text
    assert re.findall(r"Smallest with at most (\d+) calls", caption(made, "Trajectory error against calls")) == ["4", "8"]


@pytest.mark.usefixtures("drawn")
def test_few_images_are_said_to_tell_little(tmp_path):
    """Distances have no intervals, and are told apart by influence values alone, or not at all."""
    rows = [record("ddim", 5, fd=3.0), record("euler", 5, fd=3.5), record("ddim", 10, fd=2.9)]
    for r in rows:
        r["quality"]["fd_mnist"] |= {"ci_low": None, "ci_high": None, "n": 64}
    r = np.random.default_rng(0)
    influence = {x["cell"]: 0.2 * r.normal(0, 1, 500) for x in rows}  # standard error of a difference: 0.0126
    made, text = report(tmp_path, *rows, influence=influence)
    assert "What 64 images can tell: of the differences tested" in text
    assert "takes at least ten images a feature" in caption_of_blanks(text)
    assert "Bars" not in caption(made, "Quality against calls")
    assert "95 % intervals of the Frechet distance" not in text
    _, text = report(tmp_path / "untested", *rows)
    assert "no two rows could be tested against each other, so none is called best" in text
    assert " is best" not in text
    assert "Brackets give the 10th" in text


def caption_of_blanks(text: str) -> str:
    return text.partition("Blank cells:")[2]


@pytest.mark.usefixtures("drawn")
def test_captions_speak_of_intervals_where_they_are_drawn(tmp_path):
    made, _ = report(tmp_path, *(record("ddim", n) for n in (5, 10)))
    assert "Bars are 95 % intervals." in caption(made, "Quality against calls")


# ------------------------------------------------------------------ figures


def test_ticks_of_calls_are_measured_values(tmp_path, drawn):
    rows = [record(s, n) for s in ("ddim", "unipc") for n in (4, 8)]
    report(tmp_path, *rows, student(1, 2.0, fd=50.0))
    for name in ("quality_calls", "quality_teacher_equivalents", "trajectory_error", "story"):
        ticks = set(drawn[f"{name}.png"].axes[0].get_xticks())
        assert ticks, name
        assert ticks <= {1.0, 4.0, 8.0}, name


def test_a_sampler_has_one_colour_in_all_figures_and_no_other_has_it(tmp_path, drawn):
    names = ("ddim", "heun", "unipc", "deis", "stranger", "other", *(f"dpmpp_2m:grid={g}" for g in ("karras", "logsnr")))
    rows = [record(name, n, cell=f"{name}{n}") for name in names for n in (4, 8)]
    curve = [{"step": 1, "error@0": 0.5}, {"step": 2, "error@0": 0.25}]
    made = student(1, 2.0, fd=50.0)
    made["training"]["curve"] = curve
    report(tmp_path, *rows, made)
    found: dict[str, set[str]] = {}
    for figure in drawn.values():
        for legend in figure.legends:
            for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
                label = text.get_text().partition(" (")[0]
                if label in {*names, "knowledge_distillation"}:
                    found.setdefault(label, set()).add(str(line.get_color()))
    assert set(found) == {*names, "knowledge_distillation"}
    assert all(len(colours) == 1 for colours in found.values())
    assert len(set.union(*found.values())) == len(found)


@pytest.mark.usefixtures("drawn")
def test_samplers_that_share_a_network_s_call_are_not_ranked_by_noise(tmp_path):
    """Latencies 1 % apart, with intervals of 2 %: the best quality is named."""
    rows = [timed(name, 1, ms, fd=fd) for name, ms, fd in (("ddim", 2.0, 9.0), ("euler", 2.01, 8.0), ("heun", 2.02, 7.9))]
    made, text = report(tmp_path, *rows, timed("ddim", 8, 16.0, fd=7.5))
    assert "by ms from left to right: heun (2.02), ddim (16)." in caption(made, "Quality against time")
    assert "**Fastest within 1.1 times the best quality: heun** (1 call, 1 teacher-equivalent), 2.02 ms for one image." in text
    assert "By the intervals of their times, not told from it: euler (1)." in text


def test_a_failed_extreme_leaves_the_others_their_room(tmp_path, drawn):
    rows = [record(s, n, fd=30 / n) for s in ("ddim", "unipc", "deis") for n in (4, 8, 12)]
    bad = record("heun", 2, fd=5000.0)
    bad["quality"]["trajectory_error"] |= {"value": 900.0, "ci_low": 800.0, "ci_high": 1000.0}
    made, _ = report(tmp_path, *rows, bad)
    for name, most in (("quality_calls", 50), ("trajectory_error", 5)):
        (ax,) = drawn[f"{name}.png"].axes
        assert ax.get_ylim()[1] < most
        assert sum(t.arrow_patch is not None for t in ax.texts) == 1
    assert "heun (3), 900." in caption(made, "Trajectory error against calls")
    assert "Off the axes, where the arrows point: heun (3), 5000." in caption(made, "Quality against calls")
    assert "arrows" not in caption(report(tmp_path / "well", *rows)[0], "Quality against calls")


# ------------------------------------------------------------------ ties


@pytest.mark.usefixtures("drawn")
def test_ties_that_skip_a_nearer_row_are_explained(tmp_path):
    """Of the best, the second differs by little that varies little, the third by more that varies much."""
    rows = [record(s, 5, fd=fd) for s, fd in (("ddim", 3.0), ("euler", 3.1), ("unipc", 3.2))]
    r = np.random.default_rng(0)
    influence = {x["cell"]: r.normal(0, sd, 500) for x, sd in zip(rows, (0.1, 0.1, 10.0), strict=True)}
    _, text = report(tmp_path, *rows, influence=influence)
    why = "Nearer to ddim (5) than some of its ties and yet not tied: euler (5); paired image by image, that difference varies"
    assert text.count(why) == 4  # in both answers, under the summary, above the table
    _, text = report(tmp_path / "well", *rows)
    assert "Nearer to" not in text


def test_the_least_error_of_a_table_of_settings_is_tied_with_what_its_interval_meets(tmp_path):
    """Intervals of 5 %."""
    rows = [record(s, 10, tables=["tuned"], end=0.01, last_step="zero") for s in ("ddim", "unipc", "deis")]
    for r, error in zip(rows, (0.100, 0.108, 0.112), strict=True):
        ends = {"value": error, "ci_low": 0.95 * error, "ci_high": 1.05 * error}
        r["quality"]["trajectory_error"] |= ends
    blocks = setting_tables(section(tmp_path, *rows), ["tuned"])
    (table,) = [b for b in blocks if isinstance(b, Table) and b.caption == "trajectory error"]
    assert {row[0].text: row[1].mark for row in table.rows} == {"ddim": "best", "unipc": "tie", "deis": ""}


def test_a_table_of_settings_keeps_rows_apart_that_only_their_settings_tell(tmp_path):
    """One sampler at one setting for each number of calls is a row; at two settings for the same number it is two."""
    names = ("ipndm:grid=gits", "ipndm:grid=karras", "ddim:end=0.02")
    rows = [record(s, 10, tables=["grids"], end=0.01, last_step="zero") for s in names]
    rows.append(record("ddim:end=0.01", 5, tables=["grids"], end=0.01, last_step="zero"))
    blocks = setting_tables(section(tmp_path, *rows), ["grids"])
    (table,) = [b for b in blocks if isinstance(b, Table) and b.caption == "trajectory error"]
    assert [row[0].text for row in table.rows] == ["ddim", "ipndm:grid=gits", "ipndm:grid=karras"]


# ------------------------------------------------------------------ whatever the records


@settings(max_examples=40, deadline=None)
@given(st.one_of(shaken_records(), runs()))
def test_no_claim_without_a_comparison_behind_it(records):
    with TemporaryDirectory() as folder:
        for s in sections(load_records([write_run(Path(folder) / "run", records, images=False)])):
            _check_answers(s)
            _check_claims(s)


def _check_answers(s: Section) -> None:
    calls = s.scored["counted.calls"].dropna()
    assert set(budgets(s)) <= set(calls)
    text = markdown.render([Bullets(answer(s))])
    for most, said in re.findall(r"\*\*At most (\S+) calls?: .*?\*\* (.*)", text):
        rows = s.scored[s.scored["counted.calls"] <= float(most) * (1 + 1e-2)]
        if " is best" in said:
            pairs = [difference(a, b) for _, a in rows.iterrows() for _, b in rows.iterrows() if a.name != b.name]
            assert any(d.known for d in pairs)
    if len(s.scored) < 2:
        assert not re.search("best|tied|Fastest|Cheapest", text.replace("so no sampler can be called best", ""))
        assert all(c.mark == "" for t in (*main_tables(s), summary_table(s)) for row in t.rows for c in row)


def _check_claims(s: Section) -> None:
    table = claims_table(s, s)
    solvers = s.scored[s.scored["student.name"].isna()]
    if table is None:
        return
    students = s.scored[s.scored["student.name"].notna()].sort_values(["label", "counted.calls"], kind="stable")
    for (_, own), row in zip(students.iterrows(), table.rows, strict=True):
        cheaper = solvers[solvers["counted.calls"] <= own["counted.calls"]].sort_values(["cost", "counted.calls", "label"])
        verdict = row[3].value
        if verdict in ("better than", "worse than"):
            d = difference(own, cheaper.iloc[0])
            assert d.known
            assert not d.tie
            assert (verdict == "better than") == (own["cost"] < cheaper["cost"].min())
        elif verdict == "no solver":
            assert cheaper.empty


@settings(max_examples=40, deadline=None)
@given(st.one_of(shaken_records(), runs()))
def test_without_any_error_nothing_is_called_better(records):
    for r in records:
        for score in (r["quality"] or {}).values():
            if score:
                score |= {"ci_low": None, "ci_high": None}
    with TemporaryDirectory() as folder:
        for s in sections(load_records([write_run(Path(folder) / "run", records, images=False)])):
            told = markdown.render([Bullets(answer(s))]) + repr(claims_table(s, s))
            assert not re.search(" is best|better than|worse than|tied with", told)
            assert all(c.mark == "" for t in (*main_tables(s), summary_table(s)) for row in t.rows for c in row)
