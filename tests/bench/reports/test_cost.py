"""What cells of many images cost, from the rates of a run."""

import json
from pathlib import Path

import pytest
from report_fixture import record, spread

import bench
from bench.presentation.document import Paragraph, Table
from bench.reports.cost import cost
from samplers import UserError
from samplers.files import read_rows


def test_a_cell_is_its_images_at_the_best_rate_and_what_else_each_takes(tmp_path: Path):
    slow = record("ddim", 10)
    slow["time"] |= {"images_per_s": spread(100.0)}
    swept = record("heun", 5)
    points = [{"batch_size": 256, "images_per_s": spread(500.0), "peak_bytes": None, "conditions": None}]
    swept["time"] |= {"images_per_s": spread(200.0), "sweep": points}
    untimed = record("ddim", 5, time=None)
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in (slow, swept, untimed)))
    row = {"features_images": 100, "features_s": 2.0, "rest_images": 50, "rest_s": 0.5, "metrics_cells": 1, "metrics_s": 30.0}
    rows = [row, row | {"metrics_cells": 2, "metrics_s": 0.0}, {"cells_asked": 3}]  # of an older version
    (tmp_path / "sessions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    _, told, table = cost(tmp_path, 1000)
    assert isinstance(table, Table)
    ends = [[c.value for c in line] for line in table.rows]
    assert ends[0] == ["ddim", 10, 10, 64, 100.0, 1000.0, 10.0, 20.0, 10.0, pytest.approx((10 + 20 + 10 + 10) / 3600)]
    assert ends[1] == ["heun", 5, 9, 256, 500.0, 4500.0, 2.0, 20.0, 10.0, pytest.approx((2 + 20 + 10 + 10) / 3600)]
    assert len(ends) == 2
    assert isinstance(told, Paragraph)
    assert "2 cells of 1,000 images: 0.0256 hours" in told.text
    assert "features 50.0 images/s, the rest 100 images/s, metrics 10.0 s a cell" in told.text
    (tmp_path / "records.jsonl").write_text(json.dumps(untimed) + "\n")
    with pytest.raises(UserError, match=r"no cell in .* was timed"):
        cost(tmp_path, 1000)


def test_a_run_tells_what_its_images_took_besides_the_sampling(one: dict, tmp_path: Path):
    bench.run(out=tmp_path / "run", quiet=True, **one)
    [row] = read_rows(tmp_path / "run" / "sessions.jsonl")
    assert (row["features_images"], row["metrics_cells"]) == (50, 1)
    assert 0 < row["rest_images"] <= 50  # those that timing has not made
    assert all(0 < row[k] < row["wall_s"] for k in ("features_s", "rest_s", "metrics_s"))
    assert len(cost(tmp_path / "run", 50)[2].rows) == 1
