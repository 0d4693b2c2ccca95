"""Two stored runs: what is judged, by which interval, and what is not comparable."""

import numpy as np
import pytest
from report_fixture import failed, record, write_run

from bench.comparison.runs import compare_runs
from bench.comparison.verdicts import judge_stored
from samplers import UserError

CELL = "ddim_n5_b64_fp32_eager"


def verdicts(tmp_path, old: dict, new: dict, influence=(None, None), effect: float = 0.05) -> dict[str, tuple[str, str]]:
    """Quantity -> (verdict, note) of one cell."""
    folders = [write_run(tmp_path / name, [r], i, images=False) for name, r, i in zip("ab", (old, new), influence, strict=True)]
    return {r.quantity: (r.verdict, r.note) for r in compare_runs(*folders, effect).rows}


def test_a_run_equals_itself(tmp_path):
    found = verdicts(tmp_path, record("ddim", 5), record("ddim", 5))
    assert {v for v, _ in found.values()} == {"same"}
    assert found.keys() == {"calls", "forwards", "flops", "fd_mnist", "trajectory_error", "time", "time, in batches"}


def test_what_was_not_timed_has_no_verdict(tmp_path):
    untimed = record("ddim", 5) | {"time": None}
    assert not verdicts(tmp_path / "both", untimed, untimed).keys() & {"time", "time, in batches"}
    for side, pair in (("second", (record("ddim", 5), untimed)), ("first", (untimed, record("ddim", 5)))):
        assert verdicts(tmp_path / side, *pair)["time"] == ("not comparable", f"not timed in the {side} run")


@pytest.mark.parametrize(
    ("fd", "se", "expected"),
    [
        (4.001, 0.05, "same"),  # rounding
        (4.5, 0.02, "worse"),
        (3.5, 0.02, "better"),
        (4.05, 0.01, "same"),
        (4.5, 0.2, "ambiguous"),
    ],
)
def test_quality_is_judged_by_its_interval(tmp_path, fd, se, expected):
    found = verdicts(tmp_path, record("ddim", 5, fd=4.0, se=se), record("ddim", 5, fd=fd, se=se))
    assert found["fd_mnist"][0] == expected


@pytest.mark.parametrize(
    ("metric", "better", "told"), [("precision", "higher", "worse"), ("precision", "lower", "better"), ("fd", "lower", "same")]
)
def test_what_the_records_name_ranks_them_in_its_direction(tmp_path, metric, better, told):
    old, new = (record("ddim", 5, fd=4.0) | {"rank_by": {"metric": metric, "better": better}} for _ in range(2))
    for r, value in ((old, 0.8), (new, 0.6)):
        ends = {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
        r["quality"]["precision_mnist"] = r["quality"]["fd_mnist"] | ends
    found = verdicts(tmp_path, old, new)
    assert found[f"{metric}_mnist"][0] == told
    assert ("fd_mnist" in found) == (metric == "fd")
    del old["quality"][f"{metric}_mnist"]
    what = "Frechet distance" if metric == "fd" else metric
    assert verdicts(tmp_path / "without", old, new)["quality"] == ("not comparable", f"no {what} in the first run")


def test_the_same_noises_are_compared_in_pairs(tmp_path):
    """Intervals that overlap widely, images whose influences move together: the difference is real."""
    common = np.random.default_rng(0).normal(0, 20, 500)
    own = [common, common + np.random.default_rng(1).normal(0, 0.5, 500)]
    found = verdicts(tmp_path, record("ddim", 5, fd=4.0, se=0.9), record("ddim", 5, fd=4.4, se=0.9), [{CELL: v} for v in own])
    assert found["fd_mnist"][0] == "worse"
    assert found["fd_mnist"][1].endswith("paired")


def test_trajectory_error_counts_beside_an_equal_distance(tmp_path):
    old, new = record("ddim", 5, fd=4.0), record("ddim", 5, fd=4.0)
    error = new["quality"]["trajectory_error"]
    error.update({k: 1.5 * error[k] for k in ("value", "ci_low", "ci_high")})
    assert verdicts(tmp_path, old, new)["trajectory_error"][0] == "worse"


@pytest.mark.parametrize(
    "change", [{"images": 400}, {"seed": 1}, {"labels": "none"}, {"teacher": {"name": "m", "sha256": "b"}}]
)
def test_other_images_are_not_comparable(tmp_path, change):
    found = verdicts(tmp_path, record("ddim", 5), record("ddim", 5, **change))
    key = next(iter(change))
    assert found["fd_mnist"] == ("not comparable", f"another {'teacher.sha256' if key == 'teacher' else key}")


def test_another_extractor_is_not_comparable(tmp_path):
    new = record("ddim", 5)
    new["quality"]["fd_mnist"]["extractor_sha256"] = "0" * 64
    found = verdicts(tmp_path, record("ddim", 5), new)
    assert found["fd_mnist"] == ("not comparable", "another quality.fd_mnist.extractor_sha256")


def test_times_that_are_marked_invalid_are_not_comparable(tmp_path):
    old, new = record("ddim", 5), record("ddim", 5)
    old["time"]["conditions"] = {"valid": True, "reasons": []}
    new["time"]["conditions"] = {"valid": False, "reasons": ["heat", "others"]}
    found = verdicts(tmp_path, old, new)
    assert found["time"] == ("not comparable", "the second run's are marked invalid: heat; others")
    assert found["fd_mnist"][0] == "same"
    new["time"]["conditions"] = {"valid": None, "reasons": []}
    assert verdicts(tmp_path / "unknown", old, new)["time"][0] == "same"


@pytest.mark.parametrize("key", ["median", "ci_low", "ci_high"])
@pytest.mark.parametrize("value", [0.0, -1.0, 1e300])
def test_times_that_nobody_measured_are_not_comparable(tmp_path, key, value):
    new = record("ddim", 5)
    new["time"]["latency_ms"] = new["time"]["latency_ms"] | {key: value}
    found = verdicts(tmp_path, record("ddim", 5), new)
    assert found["time"] == ("not comparable", "no such time can have been measured")
    assert found["time, in batches"][0] == "same"


def test_an_influence_file_that_asks_for_more_than_it_has_is_not_used(tmp_path):
    values = np.random.default_rng(0).normal(0, 20, 500)
    cells = record("ddim", 5, fd=4.0, se=0.9), record("ddim", 5, fd=4.4, se=0.9)
    folders = [write_run(tmp_path / n, [r], {CELL: values}, images=False) for n, r in zip("ab", cells, strict=True)]
    with open(folders[1] / "influence" / f"{CELL}.npy", "wb") as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})
    assert not any(r.note.endswith("paired") for r in compare_runs(*folders, 0.05).rows)


def test_times_of_another_machine_are_not_comparable(tmp_path):
    new = record("ddim", 5)
    new["environment"] = new["environment"] | {"cpu": "Another CPU", "threads": 4}
    found = verdicts(tmp_path, record("ddim", 5), new)
    assert found["time"] == ("not comparable", "another cpu, threads: compare revisions instead")
    assert found["fd_mnist"][0] == "same"


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "same"), (1.3, "slower"), (0.7, "faster"), (1.1, "ambiguous")])
def test_stored_times_count_only_beyond_what_two_processes_differ_by(tmp_path, factor, expected):
    old, new = record("ddim", 5), record("ddim", 5)
    for key, by in (("latency_ms", factor), ("images_per_s", 1 / factor)):
        new["time"][key] = {k: v if k == "n" else v * by for k, v in new["time"][key].items()}
    found = verdicts(tmp_path, old, new)
    assert (found["time"][0], found["time, in batches"][0]) == (expected, expected)


def test_the_same_times_are_the_same_though_their_intervals_are_wide(tmp_path):
    """Ten repetitions on a shared machine: 6 % from end to end."""
    old = record("ddim", 5)
    for key in ("latency_ms", "images_per_s"):
        t = old["time"][key]
        t |= {"ci_low": 0.97 * t["median"], "ci_high": 1.03 * t["median"]}
    assert verdicts(tmp_path, old, old)["time"][0] == "same"


def test_the_interval_of_a_ratio_knows_that_images_matter_as_their_distance_does(tmp_path):
    """Equal influences: the smaller distance feels them more, so the ratio is not certain though the difference is."""
    influence = {CELL: np.random.default_rng(0).normal(0, 20, 500)}
    folders = [
        write_run(tmp_path / name, [record("ddim", 5, fd=fd)], influence, images=False) for name, fd in (("a", 4.0), ("b", 4.2))
    ]
    (row,) = [r for r in compare_runs(*folders, 0.05).rows if r.quantity == "fd_mnist"]
    se = influence[CELL].std(ddof=1) / np.sqrt(500) * (1 / 4.0 - 1 / 4.2)
    assert row.data["low"] == pytest.approx(np.log(1.05) - 2.576 * se, rel=1e-3)
    assert row.data["high"] == pytest.approx(np.log(1.05) + 2.576 * se, rel=1e-3)


def test_a_metric_that_is_gone_or_was_never_there(tmp_path):
    old, new = record("ddim", 5), record("ddim", 5)
    del new["quality"]["fd_mnist"]
    assert verdicts(tmp_path, old, new)["fd_mnist"] == ("not comparable", "not measured in the second run")
    assert verdicts(tmp_path / "other", new, old)["quality"] == ("not comparable", "no Frechet distance in the first run")


def test_synchronisations_count_where_both_runs_counted_them(tmp_path):
    old, new = record("ddim", 5), record("ddim", 5)
    new["counted"]["synchronisations"] = 10
    assert "synchronisations" not in verdicts(tmp_path, old, new)
    old["counted"]["synchronisations"] = 0
    assert verdicts(tmp_path / "both", old, new)["synchronisations"] == ("more", "+10")
    told = verdicts(tmp_path / "gone", old, record("ddim", 5))["synchronisations"]
    assert told == ("not comparable", "not counted in the second run")


def test_few_repetitions_have_no_interval_and_no_verdict(tmp_path):
    old, new = record("ddim", 5), record("ddim", 5)
    new["time"]["latency_ms"] |= {"ci_low": None, "ci_high": None}
    assert verdicts(tmp_path, old, new)["time"][0] == "ambiguous"
    assert judge_stored(0.0, None, 0.05) == "ambiguous"


def test_more_work_is_told(tmp_path):
    new = record("ddim", 5)
    new["counted"] |= {"forwards": 6}
    assert verdicts(tmp_path, record("ddim", 5), new)["forwards"] == ("more", "+1")


def test_cells_that_failed_or_are_missing(tmp_path):
    a = write_run(tmp_path / "a", [record("ddim", 5), record("heun", 3), failed("unipc", 5, "NaN")], images=False)
    b = write_run(tmp_path / "b", [failed("ddim", 5, "out of memory"), record("unipc", 5), record("ddpm", 5)], images=False)
    found = {r.cell.partition("@")[0]: (r.verdict, r.note) for r in compare_runs(a, b, 0.05).rows}
    assert found == {
        "ddim": ("wrong", "out of memory"),
        "heun": ("not comparable", "not in the second run"),
        "unipc": ("skipped", "nothing to compare with"),
        "ddpm": ("skipped", "not in the first run"),
    }


def test_a_folder_without_records(tmp_path):
    with pytest.raises(UserError, match="no records at"):
        compare_runs(tmp_path, tmp_path, 0.05)


def test_cells_are_called_as_a_person_would_unless_that_is_not_enough(tmp_path):
    a = write_run(tmp_path / "a", [record("ddim", 5)], images=False)
    b = write_run(tmp_path / "b", [record("ddim", 5) | {"batch_size": 32}], images=False)
    assert {r.cell for r in compare_runs(a, a, 0.05).rows} == {"ddim@5"}
    assert len({r.cell for r in compare_runs(a, b, 0.05).rows}) == 1
    assert "b64" in compare_runs(a, b, 0.05).rows[0].cell


def test_what_is_true_of_all_stored_times_is_said_once(tmp_path):
    a = write_run(tmp_path / "a", [record("ddim", 5), record("heun", 5)], images=False)
    outcome = compare_runs(a, a, 0.05)
    assert outcome.remarks == ["Times were stored by two processes, which alone differ by up to 9%."]
    assert not any("process" in r.note for r in outcome.rows)
