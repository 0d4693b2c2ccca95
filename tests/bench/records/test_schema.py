"""The record's types: every committed record reads back as it is, and whatever is no record is told in one line."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import record

from bench.records.columns import COLUMNS, is_number
from bench.records.versions import HASH, plain, upgrade
from samplers import UserError

RESULTS = sorted((Path(__file__).parents[3] / "results").glob("*/records.jsonl"))
JUNK = [None, True, -1, 1.5, float("nan"), float("inf"), "", "a\nb", "x" * 10_000_000, [], [1], {}, {"a": {"b": []}}, 2**80]


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.parent.name)
def test_committed_records_are_what_they_were(path: Path):
    for line in path.read_text().splitlines():
        assert plain(upgrade(json.loads(line))) == {k: v for k, v in json.loads(line).items() if k != HASH}


def leaves(values: Any, at: tuple = ()) -> list[tuple]:
    """Every place in a record, objects and lists too."""
    found = [at] if at else []
    if isinstance(values, dict):
        found += [p for k, v in values.items() for p in leaves(v, (*at, k))]
    return found


def said(values: Any) -> str:
    """What is said of values that are no record; nothing of those that are."""
    try:
        upgrade(values)
    except UserError as e:
        return str(e)
    return ""


def test_whatever_stands_in_a_key_s_place_it_reads_or_is_one_line():
    whole = record("ddim", 5)
    for at in leaves(whole):
        for junk in JUNK:
            spoilt = copy.deepcopy(whole)
            place = spoilt
            for key in at[:-1]:
                place = place[key]
            place[at[-1]] = junk
            told = said(spoilt)
            assert "\n" not in told, at
            assert len(told) < 400, at


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_any_json_is_a_record_or_one_line(values: Any):
    with pytest.raises(UserError) as e:
        upgrade(values)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("key", ["run_id", "sampler", "teacher", "counted", "status", "environment"])
def test_a_lacking_key_is_named(key: str):
    values = record("ddim", 5)
    del values[key]
    with pytest.raises(UserError, match=key):
        upgrade(values)


@pytest.mark.parametrize("change", [{"order": 10**400}, {"environment": {"a": {"b": [1]}}}, {"environment": {"a": [1]}}])
def test_what_no_table_can_show_is_refused(change: dict[str, Any]):
    assert next(iter(change)) in said(record("ddim", 5) | change)


def test_another_version_is_told():
    with pytest.raises(UserError, match="has schema 99, this version reads 1"):
        upgrade({"schema": 99})


def test_columns_follow_the_schema():
    assert COLUMNS[:4] == ["run_id", "cell", "sampler", "family"]
    assert {"time.latency_ms.median", "quality.trajectory_error.reference_error", "memory.peak_bytes"} <= {*COLUMNS}
    assert not {"time.raw.latency_ms", "energy.counter", "environment.python"} & {*COLUMNS}
    assert all(is_number(c) for c in ("steps", "time.latency_ms.ci_low", "quality.fd_mnist.value", "training.cost.seconds"))
    assert not any(is_number(c) for c in ("cell", "deterministic", "environment.cores", "quality.fd_x.extractor_sha256"))
