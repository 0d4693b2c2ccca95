"""What a report says of students beside solvers: when a training has paid for itself, and the figure of all four costs."""

import math

import pytest
from report_fixture import record, write_run

from bench.records.frame import load_records
from bench.reports.break_even import break_even, break_even_table
from bench.reports.report import write_report
from bench.reports.sections import sections


def student(sampler: str, steps: int, *, fd: float, name: str, seconds: float, ms: float, rate: float, **training) -> dict:
    """A record of a trained sampler: `ms` an image alone, `rate` images a second in batches."""
    r = record(sampler, steps, fd=fd, student={"name": name, "sha256": name.ljust(64, "0")})
    r["training"] = {"seconds": seconds, "images": 1000, "device": "A CPU, 1 threads", **training}
    r["time"]["latency_ms"] |= {"median": ms, "p10": ms, "p90": ms, "ci_low": ms, "ci_high": ms}
    r["time"]["images_per_s"] |= {"median": rate, "ci_low": rate, "ci_high": rate}
    return r


def solver(sampler: str, steps: int, *, fd: float, ms: float, rate: float) -> dict:
    r = record(sampler, steps, fd=fd)
    r["time"]["latency_ms"]["median"], r["time"]["images_per_s"]["median"] = ms, rate
    return r


def table(tmp_path, records) -> list[list[str]]:
    """Cells of the table's rows; [] if there is none."""
    (section,) = sections(load_records([write_run(tmp_path / "run", records, images=False)]))
    found = break_even_table(section, section)
    return [[cell.text for cell in row] for row in found.rows] if found else []


SOLVERS = [
    solver("ddim", 1, fd=100.0, ms=2.0, rate=1000.0),
    solver("ddim", 4, fd=5.0, ms=8.0, rate=250.0),
    solver("dpmpp_2m", 8, fd=3.0, ms=16.0, rate=125.0),
]


def test_break_even_by_hand():
    assert break_even(60.0, 0.008, 0.002) == pytest.approx(10_000)
    assert math.isinf(break_even(60.0, 0.002, 0.002))
    assert math.isinf(break_even(60.0, 0.002, 0.008))


def test_it_is_held_against_the_fastest_solver_that_is_as_good(tmp_path):
    """5.5 is worse than 4 calls' 5.0, so those are the fastest; 60 s / (8 ms - 2 ms), 60 s / (4 ms - 1 ms)."""
    made = student("knowledge_distillation", 1, fd=5.5, name="kd", seconds=60.0, ms=2.0, rate=1000.0)
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[0] == "knowledge_distillation"
    assert row[3:10] == ["1.00", "ddim (4 calls)", "8.00, 2.00", "10,000", "ddim (4 calls)", "4.00, 1.00", "20,000"]
    assert row[10:] == ["ddim (4 calls)", "not known"]


@pytest.mark.parametrize(
    ("cost", "images"),
    [
        ({"tflop": 3.24, "student_forwards": 5, "teacher_forwards": 10}, "10,000"),  # 3.24e12 / (4 - 1) / 108e6
        ({"student_forwards": 0, "teacher_forwards": 600}, "200"),  # 600 / (4 - 1)
        ({"student_forwards": 5, "teacher_forwards": 600}, "not known"),
    ],
)
def test_work_is_set_off_against_work(tmp_path, cost, images):
    made = student("knowledge_distillation", 1, fd=5.5, name="kd", seconds=60.0, ms=2.0, rate=1000.0, cost=cost)
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[10:] == ["ddim (4 calls)", images]


def test_seconds_of_another_device_are_named_and_set_off_against_nothing(tmp_path):
    cost = {"tflop": 3.24, "student_forwards": 5, "teacher_forwards": 10}
    made = student("knowledge_distillation", 1, fd=5.5, name="kd", seconds=60.0, ms=2.0, rate=1000.0, cost=cost)
    made["training"]["device"] = "A GPU"
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[3] == "1.00 (A GPU)"
    assert row[6] == row[9] == "trained elsewhere"
    assert row[11] == "10,000"


def test_a_better_student_is_held_against_a_better_solver(tmp_path):
    made = student("knowledge_distillation", 1, fd=4.0, name="kd", seconds=60.0, ms=2.0, rate=1000.0)
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[4] == row[7] == "dpmpp_2m (8 calls)"


def test_a_tie_counts_as_equal(tmp_path):
    """4.95 is better than 5.0, by less than the intervals of 0.1 tell."""
    made = student("knowledge_distillation", 1, fd=4.95, name="kd", seconds=60.0, ms=2.0, rate=1000.0)
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[4] == "ddim (4 calls)"


def test_times_that_are_marked_invalid_set_nothing_off(tmp_path):
    hurt = solver("ddim", 4, fd=5.0, ms=8.0, rate=250.0)
    hurt["time"]["conditions"] = {"valid": False, "reasons": ["heat"]}
    made = student("knowledge_distillation", 1, fd=5.5, name="kd", seconds=60.0, ms=2.0, rate=1000.0)
    [row] = table(tmp_path / "a", [SOLVERS[0], hurt, SOLVERS[2], made])
    assert row[4] == row[7] == "dpmpp_2m (8 calls)"
    made["time"]["conditions"] = {"valid": False, "reasons": ["heat"]}
    assert table(tmp_path / "b", [*SOLVERS, made]) == []


def test_a_slow_student_never_pays_and_the_best_has_no_rival(tmp_path):
    slow = student("dsno", 1, fd=5.5, name="slow", seconds=60.0, ms=7.0, rate=200.0)
    best = student("consistency", 1, fd=1.0, name="best", seconds=60.0, ms=2.0, rate=1000.0)
    first, second = table(tmp_path, [*SOLVERS, slow, best])
    assert first[4:] == ["no solver", "–, 2.00", "–", "no solver", "–, 1.00", "–", "no solver", "–"]
    assert second[6] == "60,000"
    assert second[9] == "never"


def test_the_whole_cost_counts_where_the_card_tells(tmp_path):
    """The ladder above a student and its data are training too."""
    cost = {"student_forwards": 5, "teacher_forwards": 10, "seconds": 600}
    made = student("progressive", 1, fd=5.5, name="p-1", seconds=60.0, ms=2.0, rate=1000.0, cost=cost)
    [row] = table(tmp_path, [*SOLVERS, made])
    assert row[3] == "10.0"
    assert row[6] == "100,000"


def test_no_students_no_table(tmp_path):
    assert table(tmp_path, SOLVERS) == []


def test_two_machines_have_no_common_clock(tmp_path):
    made = student("knowledge_distillation", 1, fd=5.5, name="kd", seconds=60.0, ms=2.0, rate=1000.0)
    made["environment"] = {**made["environment"], "cpu": "Another CPU"}
    run = write_run(tmp_path / "run", [*SOLVERS, made], images=False)
    (section,) = sections(load_records([run]))
    assert break_even_table(section, section) is None
    report = write_report([run]).read_text()
    assert "**Students and solvers, side by side**: no figure, because the rows were timed on different machines." in report


def test_the_report_shows_students_beside_solvers(tmp_path):
    """Two students of one sampler have a row each."""
    work = student("dsno", 1, fd=4.0, name="dsno", seconds=60.0, ms=7.0, rate=100.0)
    work["counted"] |= {"forwards": 4, "teacher_equivalents": 4.1}
    ladder = [student("progressive", n, fd=6.0 / n, name=f"p-{n}", seconds=60.0, ms=2.0 * n, rate=900 / n) for n in (1, 2)]
    bad = solver("heun", 3, fd=400.0, ms=10.0, rate=200.0)
    run = write_run(tmp_path / "run", [*SOLVERS, bad, work, *ladder], images=False)
    text = write_report([run]).read_text()
    assert (run / "report" / "story.png").stat().st_size > 10_000
    assert "When a training has paid for itself" in text
    assert text.count("| progressive | p-1 |") == text.count("| progressive | p-2 |") == 2  # in both tables
    assert "Off the axes, where the arrows point: heun (5), 400." in text


def test_students_beside_solvers_without_a_time_or_with_a_rate_of_zero(tmp_path):
    """A panel of what was not measured stays empty, a point without a finite place is left out, an interval holds its value."""
    odd = student("dsno", 1, fd=0.0, name="dsno", seconds=60.0, ms=2.0, rate=0.0)
    odd["quality"]["fd_mnist"]["ci_low"] = 5.0
    untimed = [r | {"time": None} for r in SOLVERS]
    run = write_run(tmp_path / "run", [*untimed, odd], images=False)
    assert "![Students and solvers, side by side](story.png)" in write_report([run]).read_text()


def test_solvers_alone_have_no_such_figure(tmp_path):
    text = write_report([write_run(tmp_path / "run", SOLVERS)]).read_text()
    assert "side by side" not in text
    assert "paid for itself" not in text
