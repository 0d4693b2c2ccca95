import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bench.records.store import Store, read_records
from bench.runs.cells import Cell
from bench.runs.plan import Plan
from samplers import UserError

CELL = Cell("ddim", 3, 4, "fp32")


def record(n: int) -> dict:
    return {"schema": 1, "cell": f"c{n}"}


def test_a_line_cut_short_by_a_kill_is_dropped_and_the_rest_kept(tmp_path: Path):
    Store(tmp_path, Plan().to_yaml(), {}).add(record(1))
    with open(tmp_path / "records.jsonl", "a") as f:
        f.write('{"schema": 1, "cell": "c2", "qual')
    assert read_records(tmp_path / "records.jsonl") == [record(1)]
    store = Store(tmp_path, Plan().to_yaml(), {})
    store.add(record(3))
    assert store.records() == [record(1), record(3)]


def test_a_full_disk_leaves_the_records_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path, Plan().to_yaml(), {})
    store.add(record(1))
    before = (tmp_path / "records.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*nothing already there is lost"):
        store.add(record(2))
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_a_line_that_a_full_disk_cuts_is_taken_back(tmp_path: Path):
    """The kernel cuts the write itself (a limit on the file's size), so nothing buffered may follow it."""
    program = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from bench.runs.plan import Plan
        from bench.records.store import Store
        from samplers import UserError

        store = Store(Path({str(tmp_path)!r}), Plan().to_yaml(), {{}})
        store.add({{"schema": 1, "cell": "x" * 1000}})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
        try:
            store.add({{"schema": 1, "cell": "y" * 9000}})
        except UserError as e:
            print("told:", e)
    """)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "nothing already there is lost" in told
    assert [r["cell"][0] for r in read_records(tmp_path / "records.jsonl")] == ["x"]


def test_a_run_with_other_weights_or_on_another_device_is_refused(tmp_path: Path):
    Store(tmp_path, Plan().to_yaml(), {"teacher": "a", "device": "cpu"})
    with pytest.raises(UserError, match="another teacher;"):
        Store(tmp_path, Plan().to_yaml(), {"teacher": "b", "device": "cpu"})


def test_a_folder_of_another_plan_is_refused(tmp_path: Path):
    Store(tmp_path, Plan(seed=1).to_yaml(), {})
    with pytest.raises(UserError, match="another plan"):
        Store(tmp_path, Plan(seed=2).to_yaml(), {})


def test_a_line_that_is_no_record_is_told_by_number(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(record(1)) + "\nhello\n")
    with pytest.raises(UserError, match="line 2 is not a record"):
        read_records(path)
    path.write_text('{"schema": 99}\n')
    with pytest.raises(UserError, match="schema 99"):
        read_records(path)


def test_parts_come_back_in_order_and_damaged_ones_are_made_again(tmp_path: Path):
    store = Store(tmp_path, Plan().to_yaml(), {})
    for k in (2, 0, 1):
        store.save_part(CELL.id, f"batch{k:05d}", {"x": np.full(3, k)})
    damaged = tmp_path / "partial" / CELL.id / "batch00001.npz"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert [int(p["x"][0]) for p in store.parts(CELL.id, "batch").values()] == [0, 2]
    store.forget_parts(CELL.id)
    store.close()
    assert not (tmp_path / "partial").exists()
