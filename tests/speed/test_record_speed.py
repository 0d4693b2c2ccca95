"""Writing a record, which waits for the disk: a real one, of the reference results."""

from pathlib import Path

import pytest

from bench.records.store import Store, read_records
from bench.runs.plan import Plan

RECORDS = Path(__file__).parents[2] / "results" / "mnist32-cpu" / "records.jsonl"


@pytest.mark.benchmark(group="record")
def test_record_writing(benchmark, tmp_path):
    record, store = read_records(RECORDS)[0], Store(tmp_path / "run", Plan().to_yaml(), {})
    benchmark.extra_info.update(calls=0, forwards=0, batch=record.batch_size)
    benchmark.pedantic(store.add, args=(record,), rounds=50, warmup_rounds=3)
    assert store.records()[-1] == record
