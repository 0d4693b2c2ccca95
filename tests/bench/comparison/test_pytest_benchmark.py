"""Speed results: read back what pytest-benchmark and we write, refuse what cannot be judged, and judge."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import call

from bench.comparison.pytest_benchmark import NotComparableError, Speed, SpeedResults, compare_speeds, read, to_action
from bench.comparison.verdicts import verdict_table
from bench.presentation import markdown
from samplers.errors import UserError

ROOT = Path(__file__).parents[3]
COHORT = {"cpu": "a CPU", "threads": 1}


def speed(median: float = 1.0, rounds: int = 30, spread: float = 0.01, keep: bool = True) -> Speed:
    """Rounds spread evenly about the median, by `spread` on either side."""
    data = median * np.linspace(1 - spread, 1 + spread, rounds)
    q1, q3 = median * (1 - spread / 2), median * (1 + spread / 2)
    return Speed(median, q1, q3, float(data[0]), rounds, tuple(data.tolist()) if keep else ())


def results(*speeds: Speed, **cohort: object) -> SpeedResults:
    return SpeedResults(COHORT | cohort, {f"test_{i}": s for i, s in enumerate(speeds)})


def verdict(*, ratio: float, effect: float = 0.05, **options) -> str:
    (row,) = compare_speeds(results(speed(**options)), results(speed(ratio, **options)), effect)
    return row.verdict


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pytest-benchmark itself writes of two fast benchmarks of the speed suite."""
    path = tmp_path_factory.mktemp("suite") / "speed.json"
    words = ["tests/speed/test_noise_speed.py", "-k", "test_noise", "--benchmark-only", "--benchmark-json", str(path)]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words], cwd=ROOT, check=True, capture_output=True
    )
    return path


def test_pytest_benchmark_s_own_file(suite):
    found = read(suite)
    one = found.benchmarks["tests/speed/test_noise_speed.py::test_noise[1]"]
    assert found.cohort["threads"] == 1
    assert {"cpu", "cores", "torch", "python", "machine", "gpu", "memory_gib"} < found.cohort.keys()
    assert one.rounds == len(one.data) == 50
    assert one.minimum == min(one.data) <= one.q1 <= one.median <= one.q3
    assert one.median == pytest.approx(np.median(one.data))
    assert one.extra.keys() == {"calls", "forwards", "batch", "cpu_share"}
    assert 0 < one.extra["cpu_share"] <= 1.01


def test_the_list_for_github_s_action(suite):
    found = read(suite)
    entries = to_action(found)
    for entry, s in zip(entries, found.benchmarks.values(), strict=True):
        assert entry.keys() == {"name", "unit", "value", "range", "extra"}
        assert all(isinstance(entry[k], str) for k in ("name", "unit", "range", "extra"))
        assert (entry["unit"], entry["value"]) == ("ms", pytest.approx(1e3 * s.median))
        assert float(entry["range"].removeprefix("± ")) == pytest.approx(1e3 * (s.q3 - s.q1) / 2, rel=1e-2)
        rest = json.loads(entry["extra"])
        assert (rest["q1"], rest["q3"], rest["minimum"], rest["rounds"]) == (s.q1, s.q3, s.minimum, s.rounds)
        assert (rest["extra"], rest["cohort"]) == (s.extra, found.cohort)


def whole(**stats: object) -> dict:
    entry = {"fullname": "test_0", "stats": {"median": 1.0, "q1": 0.9, "q3": 1.1, "min": 0.8, "rounds": 3} | stats}
    return {"machine_info": {"cohort": COHORT}, "benchmarks": [entry]}


def test_a_file_without_raw_times(tmp_path):
    (tmp_path / "speed.json").write_text(json.dumps(whole()))
    assert read(tmp_path / "speed.json").benchmarks == {"test_0": Speed(1.0, 0.9, 1.1, 0.8, 3)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("3", "lacks everything"),
        ("[]", "lacks everything"),
        ('{"benchmarks": []}', "lacks machine_info"),
        ("[" * 100_000, "is not JSON"),
        (json.dumps(whole(median="fast")), "is not pytest-benchmark's JSON"),
        (json.dumps(whole(median=float("nan"))), "is not pytest-benchmark's JSON"),
        (json.dumps(whole(data=[1.0, -1.0])), "is not pytest-benchmark's JSON"),
        (json.dumps(whole() | {"benchmarks": []}), "no benchmark ran"),
        (json.dumps(whole(rounds=float("inf"))), "is not pytest-benchmark's JSON"),
        (json.dumps(whole(rounds=0)), "no benchmark ran"),
        (json.dumps(whole() | {"machine_info": {}}), "which machine"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_the_fix(content, told, tmp_path):
    path = tmp_path / "speed.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=told) as e:
        read(path)
    assert "--benchmark-json" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_benchmark_without_a_time_is_not_read(tmp_path):
    content = whole()
    content["benchmarks"].append({"fullname": "test_1", "stats": None})
    (tmp_path / "speed.json").write_text(json.dumps(content))
    assert read(tmp_path / "speed.json").benchmarks.keys() == {"test_0"}


def test_a_benchmark_that_is_gone_is_a_row_and_so_is_a_new_one():
    three, one = results(speed(), speed(), speed()), results(speed())
    assert [(r.cell, r.verdict) for r in compare_speeds(three, one)] == [
        ("test_0", "same"),
        ("test_1", "not comparable"),
        ("test_2", "not comparable"),
    ]
    assert [(r.cell, r.verdict) for r in compare_speeds(one, three)] == [
        ("test_0", "same"),
        ("test_1", "skipped"),
        ("test_2", "skipped"),
    ]
    told = markdown.render(verdict_table(compare_speeds(three, one)))
    assert "**not comparable** no time now" in told


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1, "same"), (1.03, "same"), (0.97, "same"), (1.10, "ambiguous"), (0.9, "ambiguous"), (1.2, "slower"), (0.8, "faster")],
)
def test_a_difference_counts_only_beyond_what_two_processes_differ_by(ratio, expected):
    assert verdict(ratio=ratio) == expected


@pytest.mark.parametrize(("fastest", "expected"), [(1.0, "ambiguous"), (1.1, "ambiguous"), (1.2, "slower")])
def test_bursts_that_spare_the_fastest_rounds_are_no_slowdown(fastest, expected):
    old, new = speed(), speed(1.5)
    (row,) = compare_speeds(results(old), results(replace(new, minimum=fastest * old.minimum)))
    assert row.verdict == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(1.0, 0.96, "slower"), (1.0, 0.6, "ambiguous"), (0.6, 1.0, "ambiguous")]
)
def test_a_benchmark_that_waited_for_the_cpu_is_not_judged(before, after, expected):
    old, new = speed(), speed(1.5)
    (row,) = compare_speeds(
        results(replace(old, extra={"cpu_share": before})),
        results(replace(new, extra={"cpu_share": after})),
    )
    assert row.verdict == expected
    assert ("60% of its time" in row.note) == (expected == "ambiguous")


def test_the_effect_asked_for_moves_the_bounds():
    assert [verdict(ratio=r, effect=0.2) for r in (1.15, 1.25, 1.4)] == ["same", "ambiguous", "slower"]


def test_noisy_rounds_are_ambiguous_until_there_are_enough():
    assert verdict(ratio=1.3, spread=0.4) == "ambiguous"
    assert verdict(ratio=1.3, spread=0.4, rounds=1000) == "slower"


def test_the_row_s_interval_is_the_medians_widened_by_the_processes():
    (row,) = compare_speeds(results(speed(0.01)), results(speed(0.012)))
    data = speed().data
    assert (row.quantity, row.a, row.b) == ("time", "10 ms", "12 ms")
    assert (row.data["a_ms"], row.data["b_ms"], row.data["ratio"]) == pytest.approx((10, 12, 1.2))
    low, high = 1.2 * data[8] / data[21] / 1.09, 1.2 * data[21] / data[8] * 1.09  # P(Bin(30, 1/2) <= 8) = 0.8 %, <= 9: 2.1 %
    assert (row.data["ratio_low"], row.data["ratio_high"]) == pytest.approx((low, high))
    assert row.note == f"+20.0 % [{100 * low - 100:+.1f}, {100 * high - 100:+.1f}], fastest round +20.0 %"


@pytest.mark.parametrize(("rounds", "keep", "has"), [(6, True, False), (7, True, True), (23, False, False), (24, False, True)])
def test_too_few_rounds_have_no_interval_and_no_verdict(rounds, keep, has):
    (row,) = compare_speeds(results(speed(rounds=rounds, keep=keep)), results(speed(2.0, rounds=rounds, keep=keep)))
    assert (row.data["ratio_low"] is not None, row.verdict) == ((True, "slower") if has else (False, "ambiguous"))


def test_another_cohort_is_refused_with_what_differs():
    with pytest.raises(NotComparableError) as e:
        compare_speeds(results(speed()), results(speed(), cpu="another", threads=2))
    assert e.value.keys == ["cpu", "threads"]
    assert "cpu was a CPU, now another; threads was 1, now 2" in str(e.value)


def write(path: Path, found: SpeedResults) -> str:
    """As pytest-benchmark's file; returns its name."""
    kept = {"median": "median", "q1": "q1", "q3": "q3", "min": "minimum", "rounds": "rounds", "data": "data"}
    entries = [
        {"fullname": name, "stats": {k: getattr(s, v) for k, v in kept.items()}, "extra_info": s.extra}
        for name, s in found.benchmarks.items()
    ]
    path.write_text(json.dumps({"machine_info": {"cohort": found.cohort}, "benchmarks": entries}))
    return str(path)


@pytest.mark.parametrize(
    ("now", "code", "told"),
    [
        (results(speed(), speed()), 0, "gate: pass"),
        (results(speed(1.5), speed()), 1, "gate: regression: test_0 time slower"),
        (results(speed(1.1), speed()), 3, "gate: undecided: test_0 time ambiguous"),
        (results(speed()), 3, "gate: undecided: test_1 time not comparable"),
        (results(speed(), speed(), threads=2), 3, "threads was 1, now 2"),
    ],
)
def test_the_gate_s_exit_code(now, code, told, tmp_path, monkeypatch, capsys):
    files = write(tmp_path / "before.json", results(speed(), speed())), write(tmp_path / "now.json", now)
    got, out, _ = call(monkeypatch, capsys, "gate", *files, "--out", str(tmp_path / "gate"))
    assert (got, told in out) == (code, True)


def test_the_gate_refuses_a_file_without_times(tmp_path, monkeypatch, capsys):
    write(tmp_path / "empty.json", results())
    before = write(tmp_path / "before.json", results(speed()))
    code, _, err = call(monkeypatch, capsys, "gate", before, str(tmp_path / "empty.json"), "--out", str(tmp_path / "gate"))
    assert code == 2
    assert "no benchmark ran" in err
    assert len(err.strip().splitlines()) == 1
