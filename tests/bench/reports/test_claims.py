"""A report claims of students and samplers what was compared and tested, and nothing else."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_fixture import record, write_run
from shaken_records import shaken_records
from told_reports import INVALID, report, runs, section, student, timed

from bench.presentation import markdown
from bench.presentation.document import Bullets, Table
from bench.records.differences import difference
from bench.records.frame import load_records
from bench.reports.answer import answer, budgets
from bench.reports.break_even import break_even_table
from bench.reports.sections import Section, sections
from bench.reports.student_claims import claims_table
from bench.reports.tables import main_tables, summary_table


def verdicts(rows: Section) -> list[list[str]]:
    """What the table of claims says of each student by calls, teacher-equivalents, latency and in batches."""
    table = claims_table(rows, rows)
    return [[cell.text for cell in row[3:]] for row in table.rows] if table else []


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
    assert [cell.text for cell in table.rows[0][4:]] == [*["not tested", "–, 2.00", "–"] * 2, "not tested", "–"]


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
