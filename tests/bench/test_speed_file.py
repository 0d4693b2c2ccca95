"""Speed results: read back what pytest-benchmark and we write, refuse what cannot be judged, and judge."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.speed_file import NotComparableError, Speed, SpeedResults, from_action, judge, missing, read, to_action
from samplers.errors import UserError

ROOT = Path(__file__).parents[2]
COHORT = {"cpu": "a CPU", "threads": 1}


def speed(median: float = 1.0, rounds: int = 30, spread: float = 0.01, keep: bool = True) -> Speed:
    """Rounds spread evenly about the median, by `spread` on either side."""
    data = median * np.linspace(1 - spread, 1 + spread, rounds)
    q1, q3 = median * (1 - spread / 2), median * (1 + spread / 2)
    return Speed(median, q1, q3, float(data[0]), rounds, tuple(data.tolist()) if keep else ())


def results(*speeds: Speed, **cohort: object) -> SpeedResults:
    return SpeedResults(COHORT | cohort, {f"test_{i}": s for i, s in enumerate(speeds)})


def verdict(*, ratio: float, effect: float = 0.05, **options) -> str:
    (row,) = judge(results(speed(**options)), results(speed(ratio, **options)), effect)
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
    assert one.extra == {"calls": 0, "forwards": 0, "batch": 1}


def test_the_list_for_github_s_action_and_back(suite, tmp_path):
    found = read(suite)
    entries = to_action(found)
    for entry, s in zip(entries, found.benchmarks.values(), strict=True):
        assert entry.keys() == {"name", "unit", "value", "range", "extra"}
        assert all(isinstance(entry[k], str) for k in ("name", "unit", "range", "extra"))
        assert (entry["unit"], entry["value"]) == ("ms", pytest.approx(1e3 * s.median))
        assert float(entry["range"].removeprefix("± ")) == pytest.approx(1e3 * s.iqr / 2, rel=1e-2)
    (tmp_path / "action.json").write_text(json.dumps(entries))
    again = read(tmp_path / "action.json")
    assert again.cohort == found.cohort
    assert again.benchmarks.keys() == found.benchmarks.keys()
    for name, s in found.benchmarks.items():
        back = again.benchmarks[name]
        assert (back.q1, back.q3, back.minimum, back.rounds, back.extra) == (s.q1, s.q3, s.minimum, s.rounds, s.extra)
        assert back.median == pytest.approx(s.median)


def test_entries_of_several_cohorts_are_refused():
    with pytest.raises(ValueError, match="several cohorts"):
        from_action(to_action(results(speed())) + to_action(results(speed(), threads=2)))


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
        ("3", "neither"),
        ('{"benchmarks": []}', "neither"),
        ('[{"name": "a", "unit": "ms", "value": 1}]', "neither"),
        (json.dumps(whole(median="fast")), "neither"),
        (json.dumps(whole(median=float("nan"))), "neither"),
        (json.dumps(whole(data=[1.0, -1.0])), "neither"),
        (json.dumps(whole() | {"benchmarks": []}), "no benchmark ran"),
        ("[]", "no benchmark ran"),
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


def test_a_benchmark_that_is_gone_or_has_no_time_is_missing(tmp_path):
    content = whole()
    content["benchmarks"].append({"fullname": "test_1", "stats": None})
    (tmp_path / "speed.json").write_text(json.dumps(content))
    baseline, current = results(speed(), speed(), speed()), read(tmp_path / "speed.json")
    assert missing(baseline, current) == ["test_1", "test_2"]
    assert missing(current, baseline) == []
    with pytest.raises(UserError, match="test_1, test_2"):
        judge(baseline, current)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1, "same"), (1.03, "same"), (0.97, "same"), (1.10, "ambiguous"), (0.9, "ambiguous"), (1.2, "slower"), (0.8, "faster")],
)
def test_a_difference_counts_only_beyond_what_two_processes_differ_by(ratio, expected):
    assert verdict(ratio=ratio) == expected


def test_the_effect_asked_for_moves_the_bounds():
    assert [verdict(ratio=r, effect=0.2) for r in (1.15, 1.25, 1.4)] == ["same", "ambiguous", "slower"]


def test_noisy_rounds_are_ambiguous_until_there_are_enough():
    assert verdict(ratio=1.3, spread=0.4) == "ambiguous"
    assert verdict(ratio=1.3, spread=0.4, rounds=1000) == "slower"


def test_the_row_s_interval_is_the_medians_widened_by_the_processes():
    (row,) = judge(results(speed()), results(speed(1.2)))
    data = speed().data
    assert row.ratio == pytest.approx(1.2)
    assert row.low == pytest.approx(1.2 * data[8] / data[21] / 1.09)  # P(Bin(30, 1/2) <= 8) = 0.8 %, <= 9: 2.1 %
    assert row.high == pytest.approx(1.2 * data[21] / data[8] * 1.09)


@pytest.mark.parametrize(("rounds", "keep", "has"), [(6, True, False), (7, True, True), (23, False, False), (24, False, True)])
def test_too_few_rounds_have_no_interval_and_no_verdict(rounds, keep, has):
    (row,) = judge(results(speed(rounds=rounds, keep=keep)), results(speed(2.0, rounds=rounds, keep=keep)))
    assert (row.low is not None, row.verdict) == ((True, "slower") if has else (False, "ambiguous"))


def test_another_cohort_is_refused_with_what_differs():
    with pytest.raises(NotComparableError) as e:
        judge(results(speed()), results(speed(), cpu="another", threads=2))
    assert e.value.keys == ["cpu", "threads"]
    assert "cpu was a CPU, now another; threads was 1, now 2" in str(e.value)
