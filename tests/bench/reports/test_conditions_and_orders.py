"""The table of equal conditions, and the orders that trajectory errors show."""

from pathlib import Path

import pytest
from report_fixture import record, write_run

from bench.records.frame import load_records
from bench.reports.fairness import fairness_table
from bench.reports.orders import orders_table
from bench.reports.sections import Section, sections


def section(folder: Path, *records) -> Section:
    return sections(load_records([write_run(folder / "run", list(records), images=False)]))[0]


def test_what_all_rows_share_and_what_differs(tmp_path):
    records = record("ddim", 5), record("heun", 5, precision="bf16"), record("ddpm", 5)
    told = {row[0].text: (row[1].text, row[1].mark, row[2].text) for row in fairness_table(section(tmp_path, *records)).rows}
    assert told["teacher's weights"] == ("same", "", "aaaaaaaaaaaa")
    assert told["precision"] == ("differs", "heed", "fp32 (ddim, ddpm); bf16 (heun)")
    assert told["converged solution"] == ("same", "", "heun, 128 steps")  # ddpm has none
    assert told["last noise level"] == ("not known", "", "these records do not tell")
    assert told["extractor"] == ("same", "", "eeeeeeeeeeee")


def error(sampler: str, steps: int, value: float, share: float = 0.0) -> dict:
    """A record with this trajectory error, the ends of its interval so much of it away."""
    made = record(sampler, steps)
    ends = {"value": value, "ci_low": value * (1 - share), "ci_high": value * (1 + share)}
    made["quality"]["trajectory_error"] |= ends | {"reference_error": 1e-3}
    return made


def test_the_order_is_the_slope_above_the_reference_s_error(tmp_path):
    records = [error("unipc", n, v) for n, v in ((5, 0.4), (10, 0.1), (20, 0.0125), (40, 0.0025))]  # the last is below 3e-3
    (row,) = orders_table(section(tmp_path, *records)).rows
    assert row[2].value == pytest.approx(3.0)
    assert [c.text for c in row] == ["unipc", "3", "3.00 [3.00, 3.00]", "10 to 20", "0.0125"]


def test_the_range_of_an_order_is_what_the_intervals_allow(tmp_path):
    (row,) = orders_table(section(tmp_path, error("ddim", 10, 0.2, 0.2), error("ddim", 20, 0.1, 0.2))).rows
    assert row[2].text == "1.00 [0.42, 1.58]"  # log2(2 * 0.8 / 1.2), log2(2 * 1.2 / 0.8)


def test_noisy_samplers_and_single_points_have_no_order(tmp_path):
    assert orders_table(section(tmp_path, record("ddpm", 5), record("ddpm", 10), error("ddim", 5, 0.1))) is None
