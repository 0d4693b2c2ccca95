"""What an interrupted cell resumes from: whole rows and whole batches, whatever a power cut left."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bench.records.scratch import Scratch

CELL = "ddim_n3_b4_fp32_eager"


class Row(BaseModel):
    n: int


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "partial")


def test_rows_come_back_in_order(scratch: Scratch):
    for n in (2, 0, 1):
        scratch.append(CELL, "timing", Row(n=n))
    assert [r.n for r in scratch.rows(CELL, "timing", Row)] == [2, 0, 1]
    assert scratch.rows(CELL, "sweep", Row) == scratch.rows("another", "timing", Row) == []


@given(cut=st.integers(0, 30), junk=st.binary(max_size=20))
def test_whatever_follows_a_damaged_row_is_made_again(tmp_path_factory, cut: int, junk: bytes):
    scratch = Scratch(tmp_path_factory.mktemp("run") / "partial")
    for n in range(3):
        scratch.append(CELL, "timing", Row(n=n))
    path = scratch.folder / CELL / "timing.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + junk)
    kept = scratch.rows(CELL, "timing", Row)
    intact = [r.n for r in kept][: whole[:cut].count(b"\n")]
    assert intact == list(range(whole[:cut].count(b"\n")))
    scratch.append(CELL, "timing", Row(n=9))
    assert scratch.rows(CELL, "timing", Row) == [*kept, Row(n=9)]


def test_a_row_that_was_altered_is_made_again(scratch: Scratch):
    for n in (1, 2, 3):
        scratch.append(CELL, "timing", Row(n=n))
    path = scratch.folder / CELL / "timing.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":7'))
    assert scratch.rows(CELL, "timing", Row) == [Row(n=1)]
    assert path.read_bytes().count(b"\n") == 1


def test_damaged_batches_are_none_and_gone(scratch: Scratch):
    for k in (2, 0, 1):
        scratch.save_batch(CELL, k, {"x": np.full(3, k)})
    damaged = scratch.folder / CELL / "batch-00001.npz"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert [scratch.has_batch(CELL, k) for k in range(4)] == [True, True, True, False]
    found = [scratch.batch(CELL, k) for k in range(4)]
    assert [None if b is None else int(b["x"][0]) for b in found] == [0, None, 2, None]
    assert not damaged.exists()


def test_arrays_of_a_batch_by_their_names(scratch: Scratch):
    scratch.save_batch(CELL, 0, {"x": np.zeros(3), "y": np.ones(2)})
    assert {name: len(v) for name, v in (scratch.batch(CELL, 0, {"y", "z"}) or {}).items()} == {"y": 2}


def test_nothing_is_left_of_a_run_that_is_done(scratch: Scratch):
    scratch.append(CELL, "timing", Row(n=1))
    scratch.close()
    assert scratch.folder.exists()
    scratch.forget(CELL)
    scratch.close()
    assert not scratch.folder.exists()
