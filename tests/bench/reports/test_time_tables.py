from pathlib import Path

import pandas as pd
import pytest
from report_fixture import record, spread, write_run

from bench.presentation import markdown
from bench.records.frame import load_records
from bench.reports.report import write_report
from bench.reports.sections import Section, sections
from bench.reports.tables import main_tables
from bench.reports.time_tables import cost_table, sweep_table, time_caveats


def timed(sampler: str, steps: int, **times) -> dict:
    """A record with further fields of `time`."""
    made = record(sampler, steps)
    made["time"] |= times
    return made


def section(folder: Path, *records: dict) -> Section:
    (only,) = sections(load_records([write_run(folder, list(records), images=False)]))
    return only


BAD = {"valid": False, "reasons": ["3 of 10 repetitions dropped: heat", "others"], "dropped": 3}
GOOD = {"valid": True, "reasons": ["1 of 10 repetitions dropped: heat"], "dropped": 1}
UNKNOWN = {"valid": None, "reasons": [], "dropped": 0}


def test_a_row_with_invalid_times_is_marked_with_the_reason(tmp_path: Path):
    rows = section(
        tmp_path / "run",
        timed("ddim", 10, conditions=BAD),
        timed("heun", 5, conditions=GOOD),
        timed("euler", 10, conditions=UNKNOWN),
        timed("unipc", 10, conditions=None),
        record("deis", 10),
    )
    lines = markdown.render(main_tables(rows)).splitlines()
    assert lines[2].endswith("| overhead | times not valid, because |")
    (marked,) = [line for line in lines if line.endswith("| 3 of 10 repetitions dropped: heat; others |")]
    assert marked.startswith("| ddim |")
    assert sum(line.endswith("|  |") for line in lines) == 4
    assert time_caveats(rows)[0].startswith("The times of 1 of 5 rows are not valid")
    quiet = section(tmp_path / "quiet", timed("heun", 5, conditions=GOOD))
    assert "not valid" not in markdown.render(main_tables(quiet))
    assert time_caveats(quiet) == []


def test_a_row_with_invalid_times_is_never_the_fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())
    fast, slow = timed("ddim", 10, conditions=BAD), timed("euler", 10)
    for made, ms in ((fast, 1.0), (slow, 50.0)):
        made["time"]["latency_ms"]["median"] = ms
        made["quality"]["fd_mnist"]["value"] = 3.0
    text = write_report([write_run(tmp_path / "a", [fast, slow])]).read_text()
    assert "best quality: euler** (10 calls, 10 teacher-equivalents), 50.0 ms for one image" in text
    assert "The times of 1 of 2 rows are not valid" in text
    slow["time"]["conditions"] = BAD
    text = write_report([write_run(tmp_path / "b", [fast, slow])]).read_text()
    assert "none is called the fastest" in text
    assert "**Quality against time**: no figure, because the times of all rows are not valid." in text


def test_what_is_less_precise_than_asked_for_is_told(tmp_path: Path):
    rows = section(
        tmp_path / "run",
        timed("ddim", 5, precision_asked=0.02, precision_reached=0.03),
        timed("ddim", 10, precision_asked=0.02, precision_reached=0.02),
        timed("heun", 5, precision_asked=0.02, precision_reached=None),
        timed("euler", 5, precision_asked=None, precision_reached=None),
    )
    (told,) = time_caveats(rows)
    assert told.startswith("The times of 2 of 4 rows are less precise than asked for")


def point(size: int, rate: float, conditions: dict | None = None) -> dict:
    return {"batch_size": size, "images_per_s": spread(rate), "peak_bytes": 1, "conditions": conditions}


def test_sweeps_stand_beside_one_another(tmp_path: Path):
    rows = section(
        tmp_path / "run",
        timed("ddim", 5, sweep=[point(1, 10.0), point(8, 32.5)], sweep_stopped="out of memory at batch 16"),
        timed("heun", 3, sweep=[point(1, 20.0, GOOD), point(8, 25.0, BAD), point(16, 4.0)], sweep_stopped="it was slower"),
        record("euler", 5),
    )
    found = sweep_table(rows)
    assert found
    assert markdown.render([found]).splitlines() == [
        "| sampler | steps | batch 1 | batch 8 | batch 16 | ended because |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        "| ddim | 5 | 10.0 | **32.5** |  | out of memory at batch 16 |",
        "| heun | 3 | **20.0** | 25.0 (not valid) | 4.00 | it was slower |",
    ]
    assert sweep_table(section(tmp_path / "old", record("euler", 5))) is None


def test_a_batch_size_that_is_not_told_from_the_best_is_tied_with_it(tmp_path: Path):
    """Intervals of 2 %: 9.8 meets 10, 9.0 does not; a size alone is the best of nothing."""
    several = timed(
        "ddim", 5, sweep=[point(1, 9.0), point(8, 9.8), point(16, 10.0), point(32, 10.1, BAD)], sweep_stopped="slow"
    )
    alone = timed("heun", 3, sweep=[point(1, 20.0), point(8, 30.0, BAD)], sweep_stopped="slow")
    found = sweep_table(section(tmp_path / "run", several, alone))
    assert found
    assert [[cell.mark for cell in row[2:6]] for row in found.rows] == [["", "tie", "best", ""], [""] * 4]


def test_cold_start_and_energy_have_the_columns_that_were_measured(tmp_path: Path):
    cold = {"load": 2.0, "compile": None, "first_image": 0.5, "total": 2.5}
    warm = record("heun", 3, energy={"joules_per_image": 0.25, "images": 64, "seconds": 2.0, "counter": "nvml"})
    rows = section(tmp_path / "run", timed("ddim", 5, cold_start_s=cold), warm, record("euler", 5))
    found = cost_table(rows)
    assert found
    assert markdown.render([found]).splitlines() == [
        "| sampler | steps | load, s | first image, s | cold start, s | joules an image |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| ddim | 5 | 2.00 | 0.500 | 2.50 |  |",
        "| heun | 3 |  |  |  | 0.250 |",
    ]
    assert cost_table(section(tmp_path / "old", record("euler", 5))) is None


def test_the_report_has_these_tables_and_the_csv_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.presentation.looks.save", lambda figure, path: path.touch())
    cold = {"load": 2.0, "compile": 1.0, "first_image": 0.5, "total": 3.5}
    swept = timed("ddim", 5, sweep=[point(1, 10.0)], sweep_stopped="every size was measured", cold_start_s=cold, conditions=BAD)
    text = write_report([write_run(tmp_path / "run", [swept, record("heun", 3)])]).read_text()
    assert "### Throughput by batch size" in text
    assert "### Cold start and energy" in text
    table = pd.read_csv(tmp_path / "run" / "report" / "results.csv").set_index("sampler")
    assert table.loc["ddim", "time.cold_start_s.total"] == 3.5
    assert table.loc["ddim", "time.conditions.reasons"] == "3 of 10 repetitions dropped: heat; others"
    assert "time.sweep" not in table
    old = write_report([write_run(tmp_path / "old", [record("ddim", 5)])]).read_text()
    assert "Throughput by batch" not in old
    assert "Cold start and" not in old
